"""Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html): an answer that goes on until its source or its reader ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

from litestar.types import Receive, Scope, Send

KEEP_ALIVE_SECONDS: Final = 15.0
MEDIA_TYPE: Final = b"text/event-stream"
RETRY: Final = b"retry: 2000\n\n"  # milliseconds before a browser connects again
KEEP_ALIVE: Final = b": keep-alive\n\n"


def event(data: bytes, identifier: str = "", name: str = "") -> bytes:
    """One event. `data` is JSON in one line."""
    lines = [b"id: " + identifier.encode() if identifier else b"", b"event: " + name.encode() if name else b"", b"data: " + data]
    return b"\n".join(line for line in lines if line) + b"\n\n"


class EventStream:
    """The answer, an ASGI application. `source` yields whole events, and b"" where there is nothing to say; when it ends, so does the answer."""

    def __init__(self, source: AsyncIterator[bytes]) -> None:
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # the shape of an ASGI application
        headers = [(b"content-type", MEDIA_TYPE), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await _send(send, RETRY)
        writing = asyncio.create_task(self._write(send), name="events")
        gone = asyncio.create_task(_gone(receive), name="reader of events")
        try:
            await asyncio.wait((writing, gone), return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                writing.result()
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            for task in (writing, gone):
                task.cancel()
            await asyncio.wait((writing, gone))

    async def _write(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        said = loop.time()
        async with contextlib.aclosing(self._source) as source:  # type: ignore[type-var]  # every source is a generator
            async for found in source:
                if found:
                    await _send(send, found)
                    said = loop.time()
                elif loop.time() - said >= KEEP_ALIVE_SECONDS:
                    await _send(send, KEEP_ALIVE)
                    said = loop.time()


async def _send(send: Send, data: bytes) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": True})


async def _gone(receive: Receive) -> None:
    message: Any = await receive()
    while message["type"] != "http.disconnect":
        message = await receive()
