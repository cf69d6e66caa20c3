"""`python -m waggle_worker.processes.child SOCKET PARENT`: the process of a worker's `process=True` handlers, one task at a time.

It imports the user's module itself, and ends when its worker does: with the socket, or by the kernel's signal while a handler runs.
"""

import asyncio
import contextlib
import faulthandler
import signal
import socket
import sys
from types import FrameType
from typing import Final, TypeVar

import msgspec

from waggle import forked, machine
from waggle.app import App
from waggle.context import Context
from waggle.settings.shared import SettingsError
from waggle.store.catalogue import version_of
from waggle.task import Claimed, Outcome
from waggle.telemetry import logs
from waggle.telemetry.traces import CURRENT
from waggle.user_app import find
from waggle_worker import layers, outcomes, tracing
from waggle_worker.attempt_log import AttemptLog
from waggle_worker.processes import frames
from waggle_worker.processes.frames import Began, Job, Leaves, OtherCode, Ready, Wrote

LAST_LINE_SECONDS: Final = 0.05  # that a line waits to be written: native code may end this process right after it

S = TypeVar("S", bound=msgspec.Struct)


def serve(connection: socket.socket) -> None:
    """Run tasks until the worker closes the connection, if the user's code is still what the worker announced.

    Raises SettingsError when the user's module cannot be loaded.
    """
    job = _next(connection, Job)
    if job is None:
        return
    logs.configure("worker", job.log_level, job.log_format, patience=LAST_LINE_SECONDS)
    app = find(job.app)
    if changed := [name for name, version in job.versions.items() if name not in app.handlers or version_of(app.handlers[name].schema_text) != version]:
        connection.sendall(frames.frame(OtherCode(changed)))
        return
    connection.sendall(frames.frame(Ready()))
    limits = Limits(job)
    while (claimed := _next(connection, Claimed)) is not None:
        connection.sendall(frames.frame(Began()))
        lines = AttemptLog(job.log_limits)
        outcome = _run(app, claimed, lines if job.log_limits.lines else None)
        if (written := lines.text()) is not None:
            connection.sendall(frames.frame(Wrote(written)))
        if (leaves := limits.passed()) is not None:
            connection.sendall(frames.frame(leaves))
        connection.sendall(frames.frame(outcome))


class Limits:
    """After which task this process ends: one that has run many, one that takes much memory, and one whose handler left processes behind."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._children = machine.children()  # what the user's module started is for all tasks
        self._tasks = 0

    def passed(self) -> Leaves | None:
        """Call this after each task."""
        self._tasks += 1
        memory, left = machine.resident_bytes(), len(machine.children() - self._children - _helpers())
        if left:
            return Leaves("children", self._tasks, memory, left)
        if 0 < self._job.max_memory <= memory:
            return Leaves("memory", self._tasks, memory, left)
        if 0 < self._job.max_tasks <= self._tasks:
            return Leaves("tasks", self._tasks, memory, left)
        return None


def _helpers() -> set[int | None]:
    """The processes that multiprocessing keeps for this one: they are for all tasks, and end with it."""
    found: set[int | None] = set()
    if (tracker := sys.modules.get("multiprocessing.resource_tracker")) is not None:
        found.add(tracker._resource_tracker._pid)
    if (server := sys.modules.get("multiprocessing.forkserver")) is not None:
        found.add(server._forkserver._forkserver_pid)
    return found


def _run(app: App, claimed: Claimed, lines: AttemptLog | None) -> Outcome:
    handler = app.handlers[claimed.type]
    CURRENT.set(tracing.submitted(claimed))
    try:
        arguments = handler.arguments(claimed.payload)
    except Exception as error:  # whatever a user's own type raises while it is made
        return outcomes.misfit(error)
    outcome = layers.called(handler, Context(claimed, _never, open_log=None if lines is None else lambda: lines), arguments)
    if not isinstance(outcome, layers.Unfinished):
        return outcome
    with asyncio.Runner() as runner:
        return runner.run(layers.finished(outcome.awaitable), context=outcome.context)


def _never() -> bool:
    """`ctx.cancelled` is never true here: a cancelled process is killed."""
    return False


def _next(connection: socket.socket, kind: type[S]) -> S | None:
    """The next message; None when the worker has gone."""
    head = _exactly(connection, frames.HEAD.size)
    if head is None:
        return None
    body = _exactly(connection, frames.HEAD.unpack(head)[0])
    return None if body is None else msgspec.msgpack.decode(body, type=kind)


def _exactly(connection: socket.socket, count: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(count - len(parts))
        if not part:
            return None
        parts += part
    return bytes(parts)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """A function, not SIG_IGN: programs that a handler starts would inherit that."""


def main() -> None:
    machine.end_with_parent(int(sys.argv[2]))
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):  # a stop is often sent to all processes at once; the worker lets this one finish
        signal.signal(number, _ignore)
    faulthandler.enable()  # a crash of native code says where
    connection = socket.socket(fileno=int(sys.argv[1]))
    connection.set_inheritable(False)  # a program that a handler starts must not keep it open
    forked.private(connection)
    forked.guard()
    with contextlib.suppress(OSError):  # the worker is gone
        try:
            serve(connection)
        except SettingsError as error:
            sys.exit(f"the process of a handler cannot start: {error}")


if __name__ == "__main__":
    main()
