"""What a process asks of its machine, and the substitute where a system does not have it. The rest of the code does not ask what system it runs on.

| what | where it exists | elsewhere |
|---|---|---|
| the cores that this process may use | Linux | all cores of the machine |
| keeping freed memory (`mallopt`) | Linux with glibc | the allocator's own policy: large payloads cost more CPU |
| the kernel ends a handler's process with its worker (`prctl`) | Linux | the process looks once a second whether its worker lives |
| the kernel ends the children of a killed `waggle up` (`prctl`) | Linux | they go on; the next `waggle up` names those in its way |
| the folder in which another process works (`/proc`) | Linux | unknown: `None` |
| the first port that the system gives away by itself (`/proc`) | Linux | 32768, Linux's own default |
| the processes that this one started (`/proc`) | Linux | none are known |
| the memory of this process now (`/proc`) | Linux | the most that it ever had |
| no core file of a crash (`setrlimit`) | everywhere but Windows | the system's own setting |
| as many open files as the system allows (`setrlimit`) | everywhere but Windows | the system's own limit |
| uvloop | everywhere but Windows | asyncio's own event loop, which is slower |
| signal handlers of the event loop | everywhere but Windows | Python's own signal handlers |
"""

import asyncio
import contextlib
import ctypes
import gc
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

GC_THRESHOLDS: Final = (20_000, 20, 50)  # a batch makes thousands of objects that die without the collector
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
KEPT_BYTES: Final = 16 << 20
MOST_FILES: Final = 1 << 20
PR_SET_PDEATHSIG: Final = 1  # of linux/prctl.h
PARENT_POLL_SECONDS: Final = 1.0


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run the main coroutine of a service until it ends, on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


def stop_signals() -> list[signal.Signals]:
    """Those that ask a process to stop: SIGTERM, SIGINT, and SIGHUP, which comes when its terminal is closed, unless `nohup` has switched that off."""
    hangup: signal.Signals | None = getattr(signal, "SIGHUP", None)  # not on Windows
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        return [signal.SIGTERM, signal.SIGINT]
    return [signal.SIGTERM, signal.SIGINT, hangup]


def on_stop_signal(callback: Callable[[], None]) -> None:
    """Call this back in the running event loop when one of `stop_signals` arrives."""
    loop = asyncio.get_running_loop()
    for number in stop_signals():
        try:
            loop.add_signal_handler(number, callback)
        except NotImplementedError:
            signal.signal(number, lambda _number, _frame: loop.call_soon_threadsafe(callback))


def freeze_garbage() -> None:
    """Call once after the start. What the start created stays, so the collector skips it from now on (15 % of a busy worker's time)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


def keep_freed_memory() -> None:
    """Keep up to 16 MiB of freed memory in this process.

    By default glibc returns each large payload to the kernel when it is freed, and the next one faults its pages in again: hundreds of page faults per
    payload instead of ten.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)


def leave_no_core_file() -> None:
    """A crash writes no memory to the disk: it holds passwords and payloads. `prlimit --core=unlimited --pid PID` allows it for one process."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def parent_death_hook(number: signal.Signals) -> Callable[[], None] | None:
    """For `preexec_fn`: the kernel sends this signal to the child when the thread that started it ends. None where the kernel cannot.

    What it returns makes system calls only, so it may run between fork and exec while other threads hold locks.
    """
    if sys.platform != "linux":
        return None
    prctl, parent = ctypes.CDLL(None, use_errno=True).prctl, os.getpid()

    def arm() -> None:
        prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:  # it died before the call: no signal would come
            os._exit(1)

    return arm


def end_with_parent(parent: int) -> None:
    """From now on this process dies when its parent does, whatever it is doing: at once on Linux, within a second elsewhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    else:
        threading.Thread(target=_watch, args=(parent,), name="parent", daemon=True).start()
    if os.getppid() != parent:  # it died before the call: no signal would come
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_SECONDS)
    os._exit(1)


def raise_file_limit() -> tuple[int, int] | None:
    """Allow this process as many open files and connections as its hard limit says, MOST_FILES at most. Returns the limit before and now."""
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # a system may allow less than its hard limit says
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    now = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return (soft, MOST_FILES if now == resource.RLIM_INFINITY else now)


def write_private(path: Path, text: str) -> None:
    """Replace a file at once by one that only its owner can read, whatever the umask."""
    number, fresh = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(number, "w") as file:
            file.write(text)
        Path(fresh).replace(path)
    except BaseException:
        Path(fresh).unlink(missing_ok=True)
        raise


def working_folder(pid: int) -> Path | None:
    """The folder in which another process works; None where that cannot be known. Raises ProcessLookupError when there is no such process."""
    try:
        return Path(f"/proc/{pid}/cwd").resolve(strict=True)
    except FileNotFoundError:
        if Path("/proc/self").exists():
            raise ProcessLookupError(pid) from None
        return None


def first_ephemeral_port() -> int:
    """The first of the ports that the system gives to connections by itself; a server takes one below it."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32_768


def resident_bytes() -> int:
    """Memory of this process that is in RAM; where the system does not tell, the most that it ever had."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        import resource  # not on Windows

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


def children() -> set[int]:
    """The processes that this one started and that have not ended; empty where the system does not tell."""
    found: set[int] = set()
    for listed in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that has ended
            found.update(int(pid) for pid in listed.read_text().split() if not _has_ended(pid))
    return found


def _has_ended(pid: str) -> bool:
    """Also while nobody has asked for its exit code."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return True
