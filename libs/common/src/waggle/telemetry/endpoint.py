"""`/metrics`, `/livez` and `/readyz` of a service that has no HTTP server of its own."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any, ClassVar, Final

import prometheus_client
import structlog
import uvicorn
from prometheus_client.exposition import choose_encoder
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from waggle import forked, pinned

log = structlog.get_logger()

UVICORN: Final = "0.54.0"
CONNECTIONS: Final = 64
REQUEST_SECONDS: Final = 10.0
LOG_SECONDS: Final = 30.0  # between two lines about connections that are too many

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Raises OSError, with the address in its message, when the address is taken or not of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from error
    forked.private(listener)
    return listener


def address(listener: socket.socket, scheme: str = "http") -> str:
    """`http://host:port` of a bound socket."""
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def metrics_page(accept: str) -> tuple[bytes, str]:
    """The page of the metrics and its content type: in OpenMetrics, with exemplars, for who accepts that; else in the text format of Prometheus."""
    encode, content_type = choose_encoder(accept)
    return encode(prometheus_client.REGISTRY), content_type


class ScrapeProtocol(HttpToolsProtocol):
    """uvicorn's protocol for a few clients that ask for one page each: Prometheus, probes, people.

    There may be CONNECTIONS of them, and each request with its answer must be over within REQUEST_SECONDS, from the connection or from the answer before.
    uvicorn has no limit for either (Kludex/uvicorn#160), and connections that are never closed would take the files of the service.
    Guarded by tests/integration/telemetry/test_floods_of_the_pages.py.
    """

    _opened: ClassVar[int] = 0
    _said: ClassVar[float] = -LOG_SECONDS
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        ScrapeProtocol._opened += 1
        if ScrapeProtocol._opened > CONNECTIONS:
            self._refuse(transport)
        else:
            self._wait()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        ScrapeProtocol._opened -= 1
        if self._late is not None:
            self._late.cancel()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _refuse(self, transport: asyncio.Transport) -> None:
        transport.abort()
        now = time.monotonic()
        if now - ScrapeProtocol._said >= LOG_SECONDS:
            ScrapeProtocol._said = now
            log.warning("too many connections to the metrics page, closing more", open=CONNECTIONS, address=self.client[0] if self.client else "")


class EndpointServer(uvicorn.Server):
    """Sleeps until it is stopped. The loop of uvicorn wakes ten times a second for a Date header and limits that are not used here.

    No option turns off that loop or the signal handlers (Kludex/uvicorn#402, #526): both methods are overridden for version UVICORN.
    Guarded by tests/integration/api/http/test_protocol.py.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.stopping = asyncio.Event()

    async def main_loop(self) -> None:
        await self.stopping.wait()

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        """The service handles the signals; uvicorn must not."""
        return nullcontext()


@asynccontextmanager
async def serving(listener: socket.socket, ready: Callable[[], bool]) -> AsyncIterator[None]:
    """Serve the three pages until the block ends. `/readyz` answers 503 while `ready()` is false. Raises WrongVersion for another uvicorn."""
    pinned.require("uvicorn", UVICORN, "waggle.telemetry.endpoint overrides parts of it")

    async def page(scope: dict[str, Any], _: Receive, send: Send) -> None:
        match scope.get("path"):
            case "/metrics":
                accept = b", ".join(value for name, value in scope["headers"] if name == b"accept")
                await answer(send, 200, *metrics_page(accept.decode("latin-1")))
            case "/livez":
                await answer(send, 200, b"alive\n")
            case "/readyz" if ready():
                await answer(send, 200, b"ready\n")
            case "/readyz":
                await answer(send, 503, b"not ready\n")
            case _:
                await answer(send, 404, b"not found; this server has /metrics, /livez and /readyz\n")

    options: dict[str, Any] = {"lifespan": "off", "log_config": None, "access_log": False, "date_header": False, "timeout_graceful_shutdown": 1}
    server = EndpointServer(uvicorn.Config(page, http=ScrapeProtocol, **options))
    task = asyncio.create_task(server.serve(sockets=[listener]), name="endpoint")
    try:
        yield
    finally:
        server.stopping.set()
        await task


async def answer(send: Send, status: int, body: bytes, content_type: str = "text/plain; charset=utf-8") -> None:
    await send(
        {"type": "http.response.start", "status": status, "headers": [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]}
    )
    await send({"type": "http.response.body", "body": body})
