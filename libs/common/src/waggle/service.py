"""How every service starts, drains and stops: settings, logs, signals, named loops, the ready file.

Exit codes: 0 after a graceful stop by a signal, 1 when an exception escapes a loop, 2 for invalid settings.
"""

import asyncio
import atexit
import json
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

import structlog
from prometheus_client import disable_created_metrics

from waggle import failpoint, forked, machine
from waggle.settings.environment import AnySettings, read
from waggle.settings.shared import SettingsError
from waggle.telemetry import endpoint, logs, process
from waggle.telemetry.traces import SWITCH

log = structlog.get_logger()
T = TypeVar("T")

CANCEL_SECONDS = 5.0  # that a cancelled loop has to end
LAST_SECONDS = 2.0  # for functions that were registered with `atexit`, and for output
CANCEL_LIMIT = 6  # cancellations of one loop


class StoppedEarly(Exception):
    """Leaves the block of `running` when a signal arrives during the start."""


class Service(Generic[AnySettings]):
    """A running service. At the stop its loops end first, then its resources close in reverse order."""

    def __init__(self, name: str, settings: AnySettings, stack: AsyncExitStack) -> None:
        self.name, self.settings = name, settings
        self.stopping = asyncio.Event()
        self.is_ready = False
        self._stack = stack
        self._group = asyncio.TaskGroup()
        self._loops: list[asyncio.Task[None]] = []

    async def enter(self, resource: AbstractAsyncContextManager[T]) -> T:
        """Open a resource; the service closes it at its stop."""
        return await self._stack.enter_async_context(resource)

    async def until(self, started: Coroutine[Any, Any, T]) -> T:
        """Wait for something that the start needs. A stop signal ends the wait and the service."""
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
        """Run a loop until the service stops. An exception that escapes the loop stops the service."""
        self._loops.append(self._group.create_task(loop, name=name))

    def ready(self, **addresses: str) -> None:
        """Report that the service works from now on: `/readyz` answers 200, and the ready file appears with the pid and addresses."""
        self.is_ready = True
        machine.freeze_garbage()
        log.info("ready", pid=os.getpid(), **addresses)
        if self.settings.ready_file:
            path = Path(self.settings.ready_file)
            machine.write_private(path, json.dumps({"pid": os.getpid(), **addresses}))
            self._stack.callback(path.unlink, missing_ok=True)

    async def stopped(self) -> None:
        """Wait for a stop signal."""
        await self.stopping.wait()
        self.is_ready = False
        log.info("stopping", grace=self.settings.grace)

    async def _end_loops(self) -> None:
        """Cancel the loops, repeatedly: a library may swallow a cancellation. (In Python 3.11 a task group does not pass a second cancellation on to its
        tasks.) Loops that do not end at all end with the process, code 1.
        """
        going = [loop for loop in self._loops if not loop.done()]
        for _ in range(CANCEL_LIMIT):
            if not going:
                return
            for loop in going:
                loop.cancel()
            await asyncio.wait(going, timeout=CANCEL_SECONDS)
            going = [loop for loop in going if not loop.done()]
            if going:
                log.warning("loops ignore cancellation, retrying", loops=[loop.get_name() for loop in going])
        if going:
            log.error("loops ignore cancellation, exiting", loops=[loop.get_name() for loop in going])
            leave(1)


@asynccontextmanager
async def running(name: str, settings: AnySettings) -> AsyncIterator[Service[AnySettings]]:
    """The life of a service: open resources, start loops, call `ready()`, wait for `stopped()`, drain. Leaving the block stops loops and resources."""
    async with AsyncExitStack() as stack:
        service = Service(name, settings, stack)
        machine.on_stop_signal(service.stopping.set)
        forked.guard()
        async with service._group:
            service.start("process", process.watch())
            if settings.otlp_endpoint:
                await _record(service)
            try:
                yield service
            except StoppedEarly:
                log.info("stopped before ready")
            finally:
                await service._end_loops()
    log.info("stopped")


async def _record(service: Service[Any]) -> None:
    """Send traces, metrics and exceptions to a collector."""
    SWITCH.handlers_trace = "opentelemetry.trace" in sys.modules  # the user's module is imported already
    from waggle.telemetry.otlp import Collector

    logs.keep_own()
    settings = service.settings
    headers = dict(header.split("=", 1) for header in settings.otlp_headers)
    collector = Collector(service.name, settings.otlp_endpoint, headers)
    SWITCH.recorder, SWITCH.ratio = collector, settings.trace_ratio
    forked.first_in_child(SWITCH.off)
    service._stack.push_async_callback(collector.stop)
    if settings.otlp_metrics_interval:
        service.start("otlp metrics", collector.send_metrics(settings.otlp_metrics_interval))


@asynccontextmanager
async def metrics_endpoint(service: Service[Any], host: str, port: int) -> AsyncIterator[str]:
    """Serve /metrics, /livez and /readyz of a service that has no HTTP server of its own. Yields the URL of the metrics."""
    listener = endpoint.listen(host, port)
    async with endpoint.serving(listener, lambda: service.is_ready):
        yield endpoint.address(listener) + "/metrics"


def main(name: str, kind: type[AnySettings], run: Callable[[AnySettings], Coroutine[Any, Any, None]]) -> NoReturn:
    """The body of a service's `__main__`: read its settings, configure the logs, run until it ends."""
    machine.leave_no_core_file()
    try:
        settings = read(kind, os.environ)
    except SettingsError as error:
        print(f"waggle {name}: invalid settings\n{error}", file=sys.stderr)
        sys.exit(2)
    logs.configure(name, settings.log_level, settings.log_format)
    if settings.failpoint:
        log.warning("failpoint armed, for tests only", failpoint=settings.failpoint)
        failpoint.arm(settings.failpoint)
    if (files := machine.raise_file_limit()) and files[0] < files[1]:
        log.info("limit of open files raised", before=files[0], now=files[1])
    machine.keep_freed_memory()
    disable_created_metrics()  # type: ignore[no-untyped-call]  # each counter would have a second series
    machine.run(_to_the_end(name, run(settings)))
    sys.exit(0)


async def _to_the_end(name: str, running: Coroutine[Any, Any, None]) -> None:
    """Ends the process itself: the end of the event loop, as that of Python, waits for threads that handlers left behind."""
    try:
        await running
    except BaseException as error:  # the process logs it and exits
        cause = _first(error)
        if isinstance(cause, KeyboardInterrupt):
            leave(130)
        if isinstance(cause, SettingsError):
            with suppress(OSError):
                print(f"waggle {name}: {cause}", file=sys.stderr)
            leave(2)
        log.error("crashed", error=repr(cause), exc_info=error)
        leave(1)
    leave(0)


def leave(code: int) -> NoReturn:
    """End this process, whatever its threads do. What Python does at its end, except to wait for threads, gets LAST_SECONDS."""
    logs.flush()

    def last() -> None:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # nobody reads it any more
                stream.flush()

    with suppress(RuntimeError):  # no further thread from the system
        ending = threading.Thread(target=last, name="end", daemon=True)
        ending.start()
        ending.join(LAST_SECONDS)
    os._exit(code)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
