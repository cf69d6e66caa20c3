"""The resources of a worker's handlers: opened before the first task, closed after the last handler (see `App.resource`)."""

import asyncio
import copy
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

import structlog

from waggle.app import Handler
from waggle.resources import Resource, in_order
from waggle_worker.handlers import Handlers

log = structlog.get_logger()

SLOW_SECONDS: Final = 10.0  # to open one: then a line says so
CLOSE_SECONDS: Final = 10.0  # to close one: then the stop goes on without it


class HandlerResources:
    """Leaving the block closes what was opened, the last one first; errors of that are logged.

    A resource may end while it is in use, when a task of its own fails: `has_failed` is true then, all are closed, and `failed` is called.
    """

    def __init__(self, handlers: Handlers, failed: Callable[[], None]) -> None:
        self._handlers, self._failed = handlers, failed
        self.has_failed = False
        self._wanted = in_order(resource for handler in handlers.values() for resource in handler.resources.values())
        self._yielded: dict[int, Any] = {}
        self._opened, self._closing = asyncio.Event(), asyncio.Event()

    async def __aenter__(self) -> Self:
        self._life = asyncio.create_task(self._live(), name="resources")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closing.set()
        if not self._opened.is_set():
            self._life.cancel()
        await asyncio.wait([self._life])

    async def handlers(self) -> Handlers:
        """The handlers with their resources as arguments, once all of these are open. Raises what a resource raises."""
        opened = asyncio.create_task(self._opened.wait())
        try:
            await asyncio.wait([self._life, opened], return_when=asyncio.FIRST_COMPLETED)
        finally:
            opened.cancel()
        if self._life.done():
            self._life.result()
        return {name: self._bound(handler) for name, handler in self._handlers.items()}

    def _bound(self, handler: Handler) -> Handler:
        if not handler.resources:
            return handler
        bound = copy.copy(handler)
        bound.function = partial(handler.function, **{parameter: self._yielded[id(resource)] for parameter, resource in handler.resources.items()})
        return bound

    async def _live(self) -> None:
        """Open them and close them in one task, as generators with task groups or cancel scopes of anyio need it."""
        async with AsyncExitStack() as stack:
            for resource in self._wanted:
                try:
                    await self._open(resource, stack)
                except Exception as error:
                    log.error("resource not opened", resource=resource.name, error=repr(error))
                    raise
            self._opened.set()
            try:
                await self._closing.wait()
            except asyncio.CancelledError:
                log.error("a resource ended while it was in use, this process ends")
                self.has_failed = True
                self._failed()
                raise

    async def _open(self, resource: Resource, stack: AsyncExitStack) -> None:
        slow = asyncio.get_running_loop().call_later(SLOW_SECONDS, partial(log.warning, "resource opens slowly", resource=resource.name))
        needs = {parameter: self._yielded[id(need)] for parameter, need in resource.needs.items()}
        try:
            if resource.is_async:
                block = asynccontextmanager(resource.function)(**needs)
                value = await block.__aenter__()
                close: Callable[[], Awaitable[Any]] = partial(block.__aexit__, None, None, None)
            else:
                plain = contextmanager(resource.function)(**needs)
                value = await asyncio.to_thread(plain.__enter__)
                close = partial(asyncio.to_thread, plain.__exit__, None, None, None)
        finally:
            slow.cancel()
        self._yielded[id(resource)] = value
        stack.push_async_callback(self._close, resource, close)
        log.info("resource opened", resource=resource.name)

    async def _close(self, resource: Resource, close: Callable[[], Awaitable[Any]]) -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await close()
        except Exception as error:
            log.error("resource not closed", resource=resource.name, error=repr(error))
