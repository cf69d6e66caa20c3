"""Services by fork: most of a service's start is the import of its code, which a nursery does once for all tests of this process.

`python -m support.nursery SERVICE` imports the service and waits. For each line of stdin, `{"environ": {…}, "log": "…", "ignored": […]}`, it forks one,
which is a process with a session, settings, logs, an event loop and connections of its own. On stdout it writes `{"ready": true}` once, then
`{"pid": N}` for each process that began and `{"ended": N, "code": C}` for each that ended.
"""

import contextlib
import importlib
import json
import os
import random
import runpy
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from waggle import machine

TESTS = Path(__file__).parent.parent
PIDFD = sys.platform == "linux"


@dataclass
class Forked:
    """A process of a nursery, with the part of `subprocess.Popen` that tests use."""

    pid: int
    nursery: "Nursery" = field(repr=False)
    returncode: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives."""
        if self.returncode is None:
            self.returncode = self.nursery.code(self.pid, 0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until it has ended. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            self.returncode = self.nursery.code(self.pid, timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """Forks processes of one service."""

    def __init__(self, service: str) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("WAGGLE_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.nursery", service],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={**environ, "PYTHONPATH": str(TESTS)},
            start_new_session=True,
            preexec_fn=machine.parent_death_hook(signal.SIGKILL),  # noqa: PLW1509  # system calls only
        )
        self._ready = False
        self._unread = b""
        self._begun: list[int] = []
        self._codes: dict[int, int] = {}

    @property
    def is_ready(self) -> bool:
        """Whether the service is imported. Fails when it could not be."""
        self._read(0.0)
        return self._ready

    def fork(self, environ: Mapping[str, str], log: Path) -> Forked:
        """Start a process that appends to `log`."""
        assert self._process.stdin
        log.touch(mode=0o600)
        ignored = [number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN]  # which a child inherits
        self._process.stdin.write(json.dumps({"environ": dict(environ), "log": str(log), "ignored": ignored}).encode() + b"\n")
        while not self._begun:
            self._read(None)
        return Forked(self._begun.pop(), self)

    def code(self, pid: int, timeout: float | None) -> int | None:
        """The exit code of a process; None when it lives on after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while pid not in self._codes:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            if not self._read(left):
                return None
        return self._codes[pid]

    def close(self) -> None:
        """End it, and with it its processes."""
        with self._process as process:
            process.kill()

    def _read(self, timeout: float | None) -> bool:
        """Read what it has written; False when that is nothing within `timeout` seconds."""
        assert self._process.stdout
        if not select.select([self._process.stdout], [], [], timeout)[0]:
            return False
        more = self._process.stdout.read(1 << 16)
        assert more, f"the nursery has ended with code {self._process.wait()}"
        *lines, self._unread = (self._unread + more).split(b"\n")
        for line in lines:
            news = json.loads(line)
            self._ready = self._ready or "ready" in news
            if "pid" in news:
                self._begun.append(news["pid"])
            if "ended" in news:
                self._codes[news["ended"]] = news["code"]
        return True


_nurseries: dict[str, Nursery] = {}


def forked(service: str, environ: Mapping[str, str], log: Path) -> Forked | None:
    """A new process of this service; None while its nursery still imports it, and where the system cannot watch processes as this needs it."""
    if not PIDFD:
        return None
    if service not in _nurseries:
        _nurseries[service] = Nursery(service)
    nursery = _nurseries[service]
    return nursery.fork(environ, log) if nursery.is_ready else None


def close() -> None:
    """End all nurseries."""
    while _nurseries:
        _nurseries.popitem()[1].close()


def _main(service: str) -> None:
    importlib.import_module(f"waggle_{service}.__main__")
    del sys.modules[f"waggle_{service}.__main__"]  # each process runs it as its own `__main__`
    with_us = machine.parent_death_hook(signal.SIGKILL)
    assert with_us
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # each order says what is ignored
    living: dict[int, int] = {}  # pids by their pidfds
    poll = select.poll()
    poll.register(0, select.POLLIN)
    unread = b""
    _tell(ready=True)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == 0:
                more = os.read(0, 1 << 16)
                if not more:
                    return
                *orders, unread = (unread + more).split(b"\n")
                for order in orders:
                    pid = os.fork()
                    if pid == 0:
                        with_us()
                        _become(service, json.loads(order), list(living))
                    _tell(pid=pid)
                    pidfd = os.pidfd_open(pid)
                    living[pidfd] = pid
                    poll.register(pidfd, select.POLLIN)
            else:
                poll.unregister(descriptor)
                os.close(descriptor)
                pid = living.pop(descriptor)
                _tell(ended=pid, code=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _tell(**news: Any) -> None:
    os.write(1, json.dumps(news).encode() + b"\n")


def _become(service: str, order: dict[str, Any], inherited: list[int]) -> NoReturn:
    """Become the service for the rest of this process."""
    os.setsid()
    for descriptor in inherited:
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(order["environ"])
    for number in order["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    nothing, output = os.open(os.devnull, os.O_RDONLY), os.open(order["log"], os.O_WRONLY | os.O_APPEND)
    for descriptor, own in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(descriptor, own)
    os.close(nothing)
    os.close(output)
    random.seed()  # a fork inherits the state of its parent
    sys.argv = [f"waggle_{service}"]
    runpy.run_module(f"waggle_{service}", run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    _main(sys.argv[1])
