"""A service that handlers call, in the test process. It counts calls; a test can make it fail or keep callers waiting."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Called:
    """`calls` are the requests so far; `status` is the status of each answer; clear `going_on` to keep callers waiting. `answering` overrides the answer."""

    def __init__(self) -> None:
        self.calls: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.status = 200
        self.going_on = asyncio.Event()
        self.going_on.set()
        self.answering: Answering | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.calls.append(request)
        self.bodies.append(await request.read())
        await self.going_on.wait()
        if self.answering is not None:
            return await self.answering(request)
        return web.Response(status=self.status, text="hello")


@asynccontextmanager
async def called() -> AsyncIterator[Called]:
    """The service, on a free port of 127.0.0.1."""
    service = Called()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", service.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.port = runner.addresses[0][1]
    try:
        yield service
    finally:
        service.going_on.set()
        await runner.cleanup()
