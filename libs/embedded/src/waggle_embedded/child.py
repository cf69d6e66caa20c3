"""ServerProcess processes that end with their parent. Each has its own session, so that Ctrl-C in the terminal reaches only the parent."""

import contextlib
import os
import signal
import subprocess
import threading
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

from waggle import machine

LOG_BYTES: Final = 10 << 20


class ServerError(Exception):
    """A server or service could not start; the message is for people."""


class Busy(ServerError):
    """Another process still holds what the server needs; a later try can succeed."""


class ChildExited(ServerError):
    """A child has ended unexpectedly; `code` is its exit code, negative for a signal."""

    def __init__(self, how: str, code: int, log: Path, lines: str) -> None:
        super().__init__(f"{how}; the end of {log}:\n{lines}" if lines else f"{how}; {log} is empty")
        self.how, self.code, self.log, self.lines = how, code, log, lines


@dataclass(frozen=True)
class Account:
    """The system account that a child runs as."""

    uid: int
    gid: int

    @property
    def options(self) -> dict[str, Any]:
        """The arguments for `subprocess` that change to this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def spawn(
    argv: Sequence[str | Path],
    *,
    log: Path | None,
    at_parents_death: signal.Signals = signal.SIGKILL,
    account: Account | None = None,
    env: Mapping[str, str] | None = None,
    umask: int = -1,
) -> subprocess.Popen[bytes]:
    """Start a child that appends to `log`; without a log it inherits our output, and with -1 our umask.

    The kernel signals it when this thread ends (Linux), so only the main thread may start one.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("start servers and services from the main thread: a child ends with the thread that started it")
    with open(log, "ab", opener=_private) if log else contextlib.nullcontext() as output, warnings.catch_warnings():
        # Python 3.12 warns when other threads run; between fork and exec there is one system call, and no lock.
        warnings.simplefilter("ignore", DeprecationWarning)
        return subprocess.Popen(  # noqa: S603  # our own binaries and modules, no shell
            [str(part) for part in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if log else None,
            env=env,
            cwd="/" if account else None,  # the other account may not be able to reach our folder
            start_new_session=True,
            umask=umask,
            preexec_fn=machine.parent_death_hook(at_parents_death),  # noqa: PLW1509  # see above; it runs after the change of account, which would undo it
            **(account.options if account else {}),
        )


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)  # logs may hold statements with their values, and output of handlers


@dataclass(kw_only=True)
class ServerProcess(ABC):
    """A started process; `ready()` says when it does its work."""

    title: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    hurry_signal: ClassVar[signal.Signals] = signal.SIGKILL
    misconfigured: ClassVar[int | None] = None
    """The exit code that means: another start cannot help."""

    process: subprocess.Popen[bytes] = field(repr=False)
    log: Path
    log_start: int = 0

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def called(self) -> str:
        """Its name in messages."""
        return self.title

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def ready(self) -> bool:
        """Whether it does its work. Raises ChildExited, with the end of its log, if it has ended."""
        self.check_alive()
        return self.answers()

    @abstractmethod
    def answers(self) -> bool:
        """Whether it answers; only asked while it is alive."""

    def check_alive(self) -> None:
        code = self.process.poll()
        if code is not None:
            how = f"ended with code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
            raise ChildExited(f"{self.called} {how}", code, self.log, last_lines(self.log, self.log_start))

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def stop(self, grace: float = 20.0) -> None:
        """Stop gracefully; after `grace` seconds send the hurry signal, five seconds later SIGKILL."""
        for number, seconds in ((self.stop_signal, grace), (self.hurry_signal, 5.0)):
            self.send(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
                return
        self.kill()

    def kill(self) -> None:
        """Send SIGKILL and wait until it has ended."""
        self.process.kill()
        self.process.wait()


def until(fact: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll a fact every 5 ms until it holds. Raises ServerError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            raise ServerError(f"{what} took longer than {seconds:.0f} s")
        time.sleep(0.005)


def rotate(log: Path) -> int:
    """Start a new log if this one is large (one old one is kept); returns its size now."""
    log.parent.mkdir(parents=True, exist_ok=True)
    size = log.stat().st_size if log.exists() else 0
    if size <= LOG_BYTES:
        return size
    log.replace(log.with_name(log.name + ".1"))
    return 0


def last_lines(log: Path, since: int = 0, count: int = 15) -> str:
    """The last lines of a log that were written after the offset `since`."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(since, size - 64_000))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])
    return ""
