"""Large answers to reads, compressed as the client likes: zstd or gzip.

The length of a compressed text tells whether what an attacker put into a request stands in the answer, too (BREACH). So answers to writes, which hold new keys,
passwords and tokens, stay as they are, and answers that set cookies or say `no-transform`. Browsers send the cookie of a session with no request of a foreign
page (SameSite=Strict). Streams of events are never held back.
"""

import asyncio
import gzip
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from litestar.types import ASGIApp, Receive, Scope, Send

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEAST_BYTES: Final = 1_024
USUAL_BYTES: Final = 200  # of an Accept-Encoding
THREAD_BYTES: Final = 64 << 10  # a larger answer is compressed beside the loop
LEVEL: Final = 3
VARY: Final = (b"vary", b"Accept-Encoding")
TEXTS: Final = (b"application/json", b"application/problem+json", b"text/html", b"text/javascript", b"text/plain")
CODINGS: Final[Mapping[str, Callable[[bytes], bytes]]] = {  # the first of those that the client likes best
    "zstd": lambda data: zstd.compress(data, LEVEL),
    "gzip": lambda data: gzip.compress(data, LEVEL, mtime=0),
}


class Compressing:
    """The ASGI application that compresses the answers of another one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request: Any = scope
        if request["method"] == "GET":
            send = _Answer(send, b",".join(value for name, value in request["headers"] if name == b"accept-encoding")).send
        await self._app(scope, receive, send)


class _Answer:
    """One answer: its start waits for its body, unless that comes in parts."""

    def __init__(self, send: Send, accepted: bytes) -> None:
        self._send, self._accepted = send, accepted
        self._start: Any = None

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start" and _may_be_compressed(message["headers"]):
            self._start = message
            return
        start, self._start = self._start, None
        if start is not None:
            if not message.get("more_body"):
                await self._compress(start, message)
            await self._send(start)
        await self._send(message)

    async def _compress(self, start: Any, message: Any) -> None:
        body: bytes = message.get("body", b"")
        if len(body) < LEAST_BYTES:
            return
        start["headers"] = [*start["headers"], VARY]
        coding = (chosen if len(self._accepted) <= USUAL_BYTES else chosen.__wrapped__)(self._accepted.decode("latin-1"))
        if coding is None:
            return
        body = CODINGS[coding](body) if len(body) < THREAD_BYTES else await asyncio.to_thread(CODINGS[coding], body)
        length, encoding = (b"content-length", b"%d" % len(body)), (b"content-encoding", coding.encode())
        start["headers"] = [*(header for header in start["headers"] if header[0] != b"content-length"), length, encoding]
        message["body"] = body


def _may_be_compressed(headers: Any) -> bool:
    given = dict(headers)
    return (
        given.get(b"content-type", b"").startswith(TEXTS)
        and b"content-encoding" not in given
        and b"set-cookie" not in given
        and b"no-transform" not in given.get(b"cache-control", b"")
    )


@lru_cache(256)  # of usual headers only: anybody may send others
def chosen(accepted: str) -> str | None:
    """The coding that this Accept-Encoding likes best (RFC 9110, 12.5.3); None: as it is."""
    weights: dict[str, float] = {}
    for part in accepted.lower().split(","):
        name, _, parameter = part.partition(";")
        name, weight = name.strip(), parameter.replace(" ", "").removeprefix("q=") if parameter else "1"
        try:
            weights[name] = float(weight)
        except ValueError:
            weights[name] = 0.0
    found = {coding: weights.get(coding, weights.get("*", 0.0)) for coding in CODINGS}
    best = max(found, key=found.__getitem__)
    return best if found[best] > 0 and found[best] >= weights.get("identity", 0.0) else None
