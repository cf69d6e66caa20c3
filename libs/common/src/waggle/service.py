"""How every service starts, drains and stops: settings, logs, signals, named loops, the ready file.

What escapes a loop stops the service loudly, with exit code 1; wrong settings are exit code 2; a signal is a graceful stop, exit code 0.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

import structlog
from prometheus_client import disable_created_metrics

from waggle import failpoint, machine
from waggle.settings.environment import AnySettings, read
from waggle.settings.shared import SettingsError
from waggle.telemetry import endpoint, logs

log = structlog.get_logger()
T = TypeVar("T")

AGAIN_SECONDS = 5.0  # until a loop that goes on is cancelled again
AGAIN_MOST = 6  # times; then the process ends without it


class StoppedEarly(Exception):
    """Leaves the block of `running` without a word."""


class Service(Generic[AnySettings]):
    """A running service: its resources are closed in reverse order after its loops have ended."""

    def __init__(self, name: str, settings: AnySettings, stack: AsyncExitStack) -> None:
        self.name, self.settings = name, settings
        self.stopping = asyncio.Event()
        self.is_ready = False
        self._stack = stack
        self._group = asyncio.TaskGroup()
        self._loops: list[asyncio.Task[None]] = []

    async def enter(self, resource: AbstractAsyncContextManager[T]) -> T:
        """Open a resource for the life of the service."""
        return await self._stack.enter_async_context(resource)

    async def until(self, started: Coroutine[Any, Any, T]) -> T:
        """Wait for something that the start needs; a stop signal ends the wait and the service."""
        work, stop = asyncio.ensure_future(started), asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait([work, stop], return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise StoppedEarly
            return work.result()
        finally:
            work.cancel()
            stop.cancel()

    def start(self, name: str, loop: Coroutine[Any, Any, None]) -> None:
        """Run a loop until the service stops; whatever it raises stops the service."""
        self._loops.append(self._group.create_task(loop, name=name))

    def ready(self, **addresses: str) -> None:
        """The service does its work from now on: `/readyz` says so, and the ready file appears, with its pid and addresses."""
        self.is_ready = True
        machine.freeze_garbage()
        log.info("ready", pid=os.getpid(), **addresses)
        if self.settings.ready_file:
            path = Path(self.settings.ready_file)
            fresh = path.with_suffix(".new")
            fresh.write_text(json.dumps({"pid": os.getpid(), **addresses}))
            fresh.replace(path)
            self._stack.callback(path.unlink, missing_ok=True)

    async def stopped(self) -> None:
        """Return when a signal asked the service to stop."""
        await self.stopping.wait()
        self.is_ready = False
        log.info("stopping", grace=self.settings.grace)

    async def _end_loops(self) -> None:
        """Cancel them, and again who goes on: a library may lose a cancellation, and the stop would never end. (Nor does a task group of 3.11 pass a
        second one on to its tasks: who still goes on then ends with the process.)
        """
        going = [loop for loop in self._loops if not loop.done()]
        for _ in range(AGAIN_MOST):
            if not going:
                return
            for loop in going:
                loop.cancel()
            await asyncio.wait(going, timeout=AGAIN_SECONDS)
            going = [loop for loop in going if not loop.done()]
            if going:
                log.warning("loops go on although they were cancelled, cancelling them again", loops=[loop.get_name() for loop in going])
        if going:
            log.error("loops do not end, the process ends without them", loops=[loop.get_name() for loop in going])
            os._exit(1)


@asynccontextmanager
async def running(name: str, settings: AnySettings) -> AsyncIterator[Service[AnySettings]]:
    """The life of a service: open resources, start loops, say `ready()`, wait for `stopped()`, drain; leaving the block stops the rest."""
    async with AsyncExitStack() as stack:
        service = Service(name, settings, stack)
        machine.on_stop_signal(service.stopping.set)
        async with service._group:
            try:
                yield service
            except StoppedEarly:
                log.info("stopped before it was ready")
            finally:
                await service._end_loops()
    log.info("stopped")


@asynccontextmanager
async def metrics_endpoint(service: Service[Any], host: str, port: int) -> AsyncIterator[str]:
    """The pages of a service that is no HTTP server itself. Yields the address of its metrics."""
    listener = endpoint.listen(host, port)
    async with endpoint.serving(listener, lambda: service.is_ready):
        yield endpoint.address(listener) + "/metrics"


def main(name: str, kind: type[AnySettings], run: Callable[[AnySettings], Coroutine[Any, Any, None]]) -> NoReturn:
    """The body of a service's `__main__`: read its settings, configure the logs, run until it ends."""
    try:
        settings = read(kind, os.environ)
    except SettingsError as error:
        print(f"waggle {name}: wrong settings\n{error}", file=sys.stderr)
        sys.exit(2)
    logs.configure(name, settings.log_level, settings.log_format)
    if settings.failpoint:
        log.warning("a failpoint is set: this process is made to die or to stand still", failpoint=settings.failpoint)
        failpoint.arm(settings.failpoint)
    machine.keep_freed_memory()
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which nobody reads
    try:
        machine.run(run(settings))
    except KeyboardInterrupt:
        sys.exit(130)
    except BaseException as error:  # the last line of the process: told, then ended
        cause = _first(error)
        if isinstance(cause, SettingsError):
            print(f"waggle {name}: {cause}", file=sys.stderr)
            sys.exit(2)
        log.error("crashed", error=repr(cause), exc_info=error)
        sys.stdout.flush()
        os._exit(1)  # an exit would wait for handlers in threads, for ever if need be, and nobody would start the service anew
    sys.exit(0)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
