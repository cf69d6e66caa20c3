"""Child processes that end with their parent, each in a session of its own so that Ctrl-C in the terminal reaches only the parent."""

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

LOG_LIMIT: Final = 10 << 20


class ServerError(Exception):
    """A server or service could not start; the message is for people."""


class Busy(ServerError):
    """Another process still has what the server needs; a later try can succeed."""


class Ended(ServerError):
    """A child has ended though it should run; `code` is its exit code, negative for a signal."""

    def __init__(self, how: str, code: int, log: Path, lines: str) -> None:
        super().__init__(f"{how}; the end of {log}:\n{lines}" if lines else f"{how}; {log} says nothing")
        self.how, self.code, self.log, self.lines = how, code, log, lines


@dataclass(frozen=True)
class Account:
    """The system account that a child runs as."""

    uid: int
    gid: int

    @property
    def options(self) -> dict[str, Any]:
        """What `subprocess` wants in order to change to this account."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def spawn(
    argv: Sequence[str | Path],
    *,
    log: Path | None,
    at_parents_death: signal.Signals = signal.SIGKILL,
    account: Account | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a child that appends to `log`, or with None writes where we write.

    The kernel signals it when this thread ends, so only the main thread may start one.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("start servers and services from the main thread: a child ends with the thread that started it")
    with open(log, "ab", opener=_private) if log else contextlib.nullcontext() as output, warnings.catch_warnings():
        # Python 3.12 warns when other threads run; what runs between fork and exec is one system call without locks.
        warnings.simplefilter("ignore", DeprecationWarning)
        return subprocess.Popen(  # noqa: S603  # our own binaries and modules, no shell
            [str(part) for part in argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT if log else None,
            env=env,
            cwd="/" if account else None,  # another account need not reach where we are
            start_new_session=True,
            preexec_fn=machine.parent_death_hook(at_parents_death),  # noqa: PLW1509  # see above; it comes after the change of account, which would undo it
            **(account.options if account else {}),
        )


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)  # statements with their values, and what handlers print, are not for everybody


@dataclass(kw_only=True)
class Child(ABC):
    """A process that was started; `ready()` says when it does its work."""

    title: ClassVar[str]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    hurry_signal: ClassVar[signal.Signals] = signal.SIGKILL
    misconfigured: ClassVar[int | None] = None
    """The exit code that says: another start cannot help."""

    process: subprocess.Popen[bytes] = field(repr=False)
    log: Path
    log_start: int = 0

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def called(self) -> str:
        """What people call it."""
        return self.title

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def ready(self) -> bool:
        """Whether it does its work. Raises Ended, with the end of its log, when it is gone."""
        self.check_alive()
        return self.answers()

    @abstractmethod
    def answers(self) -> bool:
        """Whether it answers, as long as it lives."""

    def check_alive(self) -> None:
        code = self.process.poll()
        if code is not None:
            how = f"ended with code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
            raise Ended(f"{self.called} {how}", code, self.log, last_lines(self.log, self.log_start))

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def stop(self, patience: float = 20.0) -> None:
        """Gracefully; after `patience` seconds in a hurry, five seconds later kill -9."""
        for number, seconds in ((self.stop_signal, patience), (self.hurry_signal, 5.0)):
            self.send(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
                return
        self.kill()

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.process.kill()
        self.process.wait()


def until(fact: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a fact, looking every 5 ms. Raises ServerError when it takes too long."""
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            raise ServerError(f"{what} took longer than {seconds:.0f} s")
        time.sleep(0.005)


def rotate(log: Path) -> int:
    """Begin a log anew when it has grown large (one old one is kept); its size now."""
    log.parent.mkdir(parents=True, exist_ok=True)
    size = log.stat().st_size if log.exists() else 0
    if size <= LOG_LIMIT:
        return size
    log.replace(log.with_name(log.name + ".1"))
    return 0


def last_lines(log: Path, since: int = 0, count: int = 15) -> str:
    """The end of a log, as far as it was written after the offset `since`."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(since, size - 64_000))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])
    return ""
