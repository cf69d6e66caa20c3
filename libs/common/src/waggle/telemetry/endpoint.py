"""`/metrics`, `/livez` and `/readyz` of a service that has no HTTP server of its own."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any, Final

import prometheus_client
import uvicorn
from prometheus_client.exposition import choose_encoder

from waggle import forked, pinned

UVICORN: Final = "0.54.0"

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

    server = EndpointServer(uvicorn.Config(page, lifespan="off", log_config=None, access_log=False, date_header=False, timeout_graceful_shutdown=1))
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
