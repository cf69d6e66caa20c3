"""Requests to a service over NATS micro services: a queue group, so that several services share the work, and typed refusals.

An endpoint of nats-py runs one handler at a time: here each request gets a task of its own, up to a number, and what stops the service waits for them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import nats.errors
import nats.micro
import structlog
from nats.micro.request import ERROR_CODE_HEADER, ERROR_HEADER, Request
from nats.micro.service import Service

from waggle.bus.client import NatsClient, expects_reply
from waggle.bus.connection import OUTAGE, Bus
from waggle.bus.dlq_commands import Refusal, Refused

log = structlog.get_logger()

VERSION: Final = "0.1.0"
MOST_BYTES: Final = 3 << 20  # a message over the server's max_payload makes the client close its connection for good
AT_ONCE: Final = 8
DRAIN_SECONDS: Final = 10.0

Handler = Callable[[bytes], Awaitable[bytes]]


class Nobody(Exception):
    """No service answers, or NATS is away: nothing was done."""


class Unanswered(Exception):
    """The answer did not come: what was asked may have been done, or may be done still."""


async def ask(bus: Bus, subject: str, data: bytes, seconds: float) -> bytes:
    """Ask a service and wait for its answer. Raises Refused, Nobody or Unanswered."""
    if len(data) > MOST_BYTES:
        raise Refused(Refusal.UNREADABLE, f"the request has {len(data)} bytes, {MOST_BYTES} are allowed")
    if not bus.connected:
        raise Nobody("NATS is away")
    try:
        answer = await bus.request(subject, data, seconds)
    except nats.errors.NoRespondersError:
        raise Nobody("no service answers") from None
    except nats.errors.MaxPayloadError:
        raise Nobody("the request is larger than the max_payload of NATS") from None
    except OUTAGE as error:
        raise Unanswered(str(error) or type(error).__name__) from error
    headers = answer.headers or {}
    code = headers.get(ERROR_CODE_HEADER)
    if code is not None:
        known = code in list(Refusal)
        raise Refused(Refusal(code) if known else Refusal.UNKNOWN, answer.data.decode(errors="replace") or headers.get(ERROR_HEADER, code))
    return answer.data


class Endpoints:
    """The endpoints of a service, by their subjects, on each connection of the bus."""

    def __init__(self, bus: Bus, name: str, handlers: Mapping[str, Handler]) -> None:
        self._bus, self._name, self._handlers = bus, name, handlers
        self._client: NatsClient | None = None
        self._service: Service | None = None
        self._going: set[asyncio.Task[None]] = set()
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def open(self) -> None:
        """Answer from now on, and over reconnects; NATS may be away."""
        await self._bus.attach(self._serve)

    async def close(self) -> None:
        """Take nothing more, and finish what was taken."""
        service, self._service = self._service, None
        if service is not None and self._bus.connected:
            try:
                async with asyncio.timeout(1):
                    await service.stop()
            except OUTAGE as error:
                log.warning("the endpoints could not be closed", error=str(error) or type(error).__name__)
        if self._going:
            await asyncio.wait(self._going, timeout=DRAIN_SECONDS)

    async def _serve(self, client: NatsClient) -> None:
        if client is self._client:
            return
        self._client = client
        self._service = await nats.micro.add_service(client, name=self._name, version=VERSION, description="Waggle")
        for subject, handler in self._handlers.items():
            await self._service.add_endpoint(name=subject.rpartition(".")[2], subject=subject, handler=self._taking(handler))

    def _taking(self, handler: Handler) -> Callable[[Request], Awaitable[None]]:
        async def take(request: Request) -> None:
            if not expects_reply(request):
                log.warning("a request without a reply subject was left alone", subject=request.subject)
                return
            await self._slots.acquire()
            task = asyncio.create_task(self._answer(handler, request), name=request.subject)
            self._going.add(task)
            task.add_done_callback(self._done)

        return take

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._going.discard(task)
        self._slots.release()

    async def _answer(self, handler: Handler, request: Request) -> None:
        """A request that fails, fails alone."""
        try:
            answer = await handler(request.data)
            if len(answer) > MOST_BYTES:
                raise Refused(Refusal.UNKNOWN, "it was done, but the answer is too large to be sent")
            await request.respond(answer)
        except Refused as refused:
            await self._refuse(request, refused)
        except OUTAGE as error:
            log.warning("an answer could not be sent", subject=request.subject, error=str(error) or type(error).__name__)
        except Exception as error:
            log.error("request crashed", subject=request.subject, exc_info=error)
            await self._refuse(request, Refused(Refusal.UNKNOWN, "the service failed at it; its log has the error"))

    async def _refuse(self, request: Request, refused: Refused) -> None:
        try:
            await request.respond_error(refused.refusal, refused.refusal, refused.detail.encode())
        except OUTAGE as error:
            log.warning("an answer could not be sent", subject=request.subject, error=str(error) or type(error).__name__)
