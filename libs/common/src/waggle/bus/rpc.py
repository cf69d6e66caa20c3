"""Requests to a service over NATS micro services, with typed refusals; several processes of a service share the requests (queue group).

An endpoint of nats-py runs one handler at a time (findings/nats-py-micro-endpoint-runs-one-request-at-a-time.sh);
here each request runs in its own task, up to REQUESTS_IN_FLIGHT, and `close` waits for them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

import nats.errors
import nats.micro
import structlog
from nats.micro.request import ERROR_CODE_HEADER, ERROR_HEADER, Request
from nats.micro.service import Service

from waggle.bus.client import NatsClient, expects_reply
from waggle.bus.connection import NATS_OUTAGE, Bus
from waggle.bus.dlq_commands import CommandRefused, RefusalCode
from waggle.pinned import WAGGLE_VERSION

log = structlog.get_logger()

MESSAGE_BYTES: Final = 3 << 20  # under the max_payload of the server: a larger message closes the connection
REQUESTS_IN_FLIGHT: Final = 8
DRAIN_SECONDS: Final = 10.0

Handler = Callable[[bytes], Awaitable[bytes]]


class RpcReply(NamedTuple):
    """A reply with headers; `error` is the code and the description of a refusal, as NATS micro services have them."""

    data: bytes
    headers: dict[str, str]
    error: tuple[str, str] | None = None


Serve = Callable[[bytes, Mapping[str, str]], Awaitable[RpcReply]]


class NoResponders(Exception):
    """No service listens, or NATS is not connected: nothing was done."""


class NoReply(Exception):
    """No reply came: the request may have been done, or may still be done."""


async def request(bus: Bus, subject: str, data: bytes, seconds: float) -> bytes:
    """Send a request to a service and wait for its reply. Raises CommandRefused, NoResponders or NoReply."""
    if len(data) > MESSAGE_BYTES:
        raise CommandRefused(RefusalCode.UNREADABLE, f"the request has {len(data)} bytes; the limit is {MESSAGE_BYTES}")
    if not bus.connected:
        raise NoResponders("NATS is not connected")
    try:
        answer = await bus.request(subject, data, seconds)
    except nats.errors.NoRespondersError:
        raise NoResponders("no service listens") from None
    except nats.errors.MaxPayloadError:
        raise NoResponders("the request is larger than the max_payload of NATS") from None
    except NATS_OUTAGE as error:
        raise NoReply(str(error) or type(error).__name__) from error
    headers = answer.headers or {}
    code = headers.get(ERROR_CODE_HEADER)
    if code is not None:
        known = code in list(RefusalCode)
        raise CommandRefused(RefusalCode(code) if known else RefusalCode.UNKNOWN, answer.data.decode(errors="replace") or headers.get(ERROR_HEADER, code))
    return answer.data


class Endpoints:
    """The endpoints of a service, by their subjects, registered on each connection of the bus. Each handler is a Handler; of a Gateway, a Serve."""

    def __init__(self, bus: Bus, name: str, handlers: Mapping[str, Any], in_flight: int = REQUESTS_IN_FLIGHT) -> None:
        self._bus, self._name, self._handlers = bus, name, handlers
        self._client: NatsClient | None = None
        self._service: Service | None = None
        self._going: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(in_flight)

    async def open(self) -> None:
        """Register the endpoints, now and on each reconnect; works without NATS."""
        await self._bus.attach(self._serve)

    async def close(self) -> None:
        """Accept no more requests and finish those in progress."""
        service, self._service = self._service, None
        if service is not None and self._bus.connected:
            try:
                async with asyncio.timeout(1):
                    await service.stop()
            except NATS_OUTAGE as error:
                log.warning("closing the RPC endpoints failed", error=str(error) or type(error).__name__)
        if self._going:
            await asyncio.wait(self._going, timeout=DRAIN_SECONDS)

    async def _serve(self, client: NatsClient) -> None:
        if client is self._client:
            return
        self._client = client
        self._service = await nats.micro.add_service(client, name=self._name, version=WAGGLE_VERSION, description="Waggle")
        for subject, handler in self._handlers.items():
            await self._service.add_endpoint(name=subject.rpartition(".")[2], subject=subject, handler=self._taking(handler))

    def _taking(self, handler: Any) -> Callable[[Request], Awaitable[None]]:
        async def take(request: Request) -> None:
            if not expects_reply(request):
                log.warning("request without a reply subject ignored", subject=request.subject)
                return
            await self._slots.acquire()
            task = asyncio.create_task(self._answer(handler, request), name=request.subject)
            self._going.add(task)
            task.add_done_callback(self._done)

        return take

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._going.discard(task)
        self._slots.release()

    async def _answer(self, handler: Any, request: Request) -> None:
        """Answer one request; its failure affects no other."""
        try:
            answer = await handler(request.data)
            if len(answer) > MESSAGE_BYTES:
                raise CommandRefused(RefusalCode.UNKNOWN, "the command was done, but its reply is too large to send")
            await request.respond(answer)
        except CommandRefused as refused:
            await self._refuse(request, refused)
        except NATS_OUTAGE as error:
            log.warning("reply not sent", subject=request.subject, error=str(error) or type(error).__name__)
        except Exception as error:
            log.error("request crashed", subject=request.subject, exc_info=error)
            await self._refuse(request, CommandRefused(RefusalCode.UNKNOWN, "the service failed; see its log"))

    async def _refuse(self, request: Request, refused: CommandRefused) -> None:
        try:
            await request.respond_error(refused.refusal, refused.refusal, refused.detail.encode())
        except NATS_OUTAGE as error:
            log.warning("reply not sent", subject=request.subject, error=str(error) or type(error).__name__)


class Gateway(Endpoints):
    """Endpoints whose handlers know the headers of a request, and answer every request themselves."""

    async def _answer(self, handler: Serve, request: Request) -> None:
        try:
            reply = await handler(request.data, request.headers or {})
            if len(reply.data) > MESSAGE_BYTES:
                reply = RpcReply(b"", {}, ("500", "it was done, but its reply is too large to send"))
            if reply.error is None:
                await request.respond(reply.data, reply.headers)
            else:
                await request.respond_error(*reply.error, reply.data, reply.headers)
        except NATS_OUTAGE as error:
            log.warning("reply not sent", subject=request.subject, error=str(error) or type(error).__name__)
        except Exception as error:
            log.error("request crashed", subject=request.subject, exc_info=error)
