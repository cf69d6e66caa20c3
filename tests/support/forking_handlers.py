"""Handlers that start processes of their own (`WAGGLE_APP=support.forking_handlers:app`), in each of the places where a handler runs."""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from waggle import App, Context

app = App()


def wrote(text: object) -> None:
    with Path(os.environ["EFFECTS"]).open("a") as file:
        file.write(f"{text}\n")


def ended() -> int | None:
    """A child by `fork` that is asked to end: its exit code."""
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    time.sleep(0.3)
    child.terminate()
    child.join(5)
    return child.exitcode


def status_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def comes_back(how: str) -> Any:
    """A child by `os.fork` that leaves the handler as its parent does: by its return, by an exception, by `sys.exit`."""
    if (pid := os.fork()) == 0:
        if how == "raise":
            raise RuntimeError("in the child")
        if how == "exit":
            sys.exit(7)
        return "the child's"
    return status_of(pid)


def killed_at_once() -> list[int]:
    """Programs that get a signal while they start."""
    codes = []
    for _ in range(50):
        program = subprocess.Popen(["sleep", "60"])
        program.terminate()
        codes.append(program.wait())
    return sorted(set(codes))


def does(what: str) -> Any:
    match what:
        case "ended":
            return ended()
        case "killed at once":
            return killed_at_once()
        case "leaves":
            leaves_behind()
            return None
        case how:
            return comes_back(how)


def leaves_behind() -> None:
    """Two processes that go on: a fork and a program."""
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
    child.start()
    wrote(child.pid)
    wrote(subprocess.Popen(["sleep", "600"]).pid)


@app.task("child.thread")
def in_a_thread(what: str) -> Any:
    return does(what)


@app.task("child.async")
async def on_the_loop(what: str) -> Any:
    if what == "await":
        if (pid := os.fork()) == 0:
            await asyncio.sleep(0.01)
            wrote("went on")
        return await asyncio.to_thread(status_of, pid)
    return does(what)


@app.task("child.process", process=True)
def in_a_process(what: str, seconds: float = 0.0) -> Any:
    found = does(what)
    time.sleep(seconds)
    return found


@app.task("child.hears")
def hears_sigint() -> int:
    """A child by `fork` keeps what a fresh process would do at Ctrl-C."""
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    assert child.pid is not None
    time.sleep(0.3)
    os.kill(child.pid, signal.SIGINT)
    child.join(5)
    return child.exitcode or 0


def sockets() -> set[str]:
    """The sockets that this process has open, as the kernel names them."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one with which the folder is read
            found.add(str(descriptor.readlink()))
    return found


@app.task("child.holds")
def holds() -> int:
    """How many TCP sockets of its worker a child by `fork` holds."""
    parent, child = multiprocessing.get_context("fork").Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=lambda: child.send(len(tcp_sockets())))
    process.start()
    found: int = parent.recv()
    process.join()
    return found


def tcp_sockets() -> set[str]:
    """Those of TCP."""
    inodes = {line.split()[9] for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]}
    return sockets() & {f"socket:[{inode}]" for inode in inodes}


_kept: list[bytes] = []


@app.task("child.pid", process=True)
def pid(mebibytes: int = 0) -> int:
    """The process it runs in, which then keeps so much memory."""
    _kept.append(b"x" * (mebibytes << 20))
    return os.getpid()


@app.task("child.last_words", process=True)
def last_words(ctx: Context) -> None:
    ctx.log.warning("last words")
    os._exit(3)


@app.task("child.pool", process=True)
def pool() -> int:
    """multiprocessing keeps a process of its own for this one."""
    with multiprocessing.get_context("spawn").Pool(1) as workers:
        workers.apply(os.getpid)
    return os.getpid()
