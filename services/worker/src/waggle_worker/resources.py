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
    """Leaving the block closes what was opened, the last one first; errors of that are logged."""

    def __init__(self, handlers: Handlers) -> None:
        self._handlers = handlers
        self._wanted = in_order(resource for handler in handlers.values() for resource in handler.resources.values())
        self._yielded: dict[int, Any] = {}
        self._closing = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._life = asyncio.create_task(self._live(), name="resources")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._closing.set()
        if not self._opened.done():
            self._life.cancel()
        await asyncio.wait([self._life])

    async def handlers(self) -> Handlers:
        """The handlers with their resources as arguments, once all of these are open. Raises what a resource raises."""
        await asyncio.shield(self._opened)
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
                    self._opened.set_exception(error)
                    return
            self._opened.set_result(None)
            await self._closing.wait()

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
