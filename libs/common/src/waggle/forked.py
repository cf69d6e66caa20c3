"""What a forked child of a service may not do: answer its parent's signals, hold its parent's connections, or go on as its parent.

A handler may fork, by `os.fork` or `multiprocessing`. The child is a copy of the whole service, and a process of its own. Each service calls `guard`.
"""

import os
import signal
import socket
import sys
import traceback
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from types import CoroutineType, coroutine
from typing import Any, Final, NoReturn, TypeVar
from weakref import WeakSet

R = TypeVar("R")

CANNOT_AWAIT: Final = "a process that was forked in an async handler cannot await: its event loop is that of its parent"
SIGNALS: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGCHLD")


class _State:
    """Whether this process is a forked child of a service, and what its parent keeps from it."""

    is_guarded = False
    is_child = False

    def __init__(self) -> None:
        self.private: WeakSet[Any] = WeakSet()
        self.first: list[Callable[[], None]] = []


STATE: Final = _State()


def guard() -> None:
    """Prepare for forks of this process."""
    if not STATE.is_guarded and hasattr(os, "register_at_fork"):
        STATE.is_guarded = True
        os.register_at_fork(after_in_child=_begin)


def private(owner: Any) -> None:
    """A child closes its copy of this socket, or of that below `owner.transport`. Else a port stays taken, and a server waits for a worker that is gone."""
    STATE.private.add(owner)


def first_in_child(callback: Callable[[], None]) -> None:
    """A child calls this before it goes on."""
    STATE.first.append(callback)


def _begin() -> None:
    STATE.is_child = True
    signal.set_wakeup_fd(-1)  # it wakes the event loop of the parent
    for name in SIGNALS:
        _reset(name)
    for owner in list(STATE.private):
        with suppress(OSError, ValueError):  # it has just been closed
            _close(owner)
    for callback in STATE.first:
        callback()


def _reset(name: str) -> None:
    """As in a fresh process; ignored signals stay so, as after `nohup`. An event loop's own handler of SIGCHLD is unknown to Python, and goes too."""
    number = getattr(signal, name, None)
    if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)


def _close(owner: Any) -> None:
    """The descriptor alone: closing the connection itself would tell the server."""
    if not isinstance(owner, socket.socket):
        transport = owner.transport
        if transport is None or transport.is_closing():
            return
        owner = transport.get_extra_info("socket") or transport.get_extra_info("pipe")
    if (number := owner.fileno()) >= 0:
        os.close(number)


def called(function: Callable[..., R], /, *args: Any, **kwargs: Any) -> R:
    """Call it. A child that is forked inside ends where it would leave, with the exit code that a program would have."""
    try:
        found = function(*args, **kwargs)
    except BaseException as error:
        if STATE.is_child:
            _leave(error)
        raise
    if STATE.is_child:
        _leave()
    return found


def guarded(awaitable: Awaitable[Any]) -> Awaitable[Any]:
    """Any awaitable. A child that is forked inside ends where it would leave, or wait: the event loop is its parent's."""
    return _guarded(awaitable if isinstance(awaitable, CoroutineType) else _awaiting(awaitable))


@coroutine
def _guarded(inner: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """What `await inner` does, with a look after each step. A generator costs half of what an object with `send` does."""
    step: Callable[[Any], Any] = inner.send
    value: Any = None
    while True:
        try:
            wanted = step(value)
        except StopIteration as ended:
            if STATE.is_child:
                _leave()
            return ended.value
        except BaseException as error:
            if STATE.is_child:
                _leave(error)
            raise
        if STATE.is_child:
            _leave(RuntimeError(CANNOT_AWAIT))
        try:
            step, value = inner.send, (yield wanted)
        except GeneratorExit:
            inner.close()
            raise
        except BaseException as error:
            step, value = inner.throw, error


async def _awaiting(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _leave(error: BaseException | None = None) -> NoReturn:
    match error:
        case None:
            code = 0
        case SystemExit(code=int(status)):
            code = status
        case SystemExit(code=None):
            code = 0
        case _:
            traceback.print_exception(error)
            code = 1
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)
