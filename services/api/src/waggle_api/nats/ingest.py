"""Tasks that publishers hand over become rows: together in the INSERTs of the API, acked after the commit. What cannot be accepted is kept, with the reason.

A message that comes again, because its ack was lost or its API died, is the same task: its id is made from its place in the stream.
"""

import asyncio
import hashlib
import time
from collections.abc import Sequence
from typing import Final

import asyncpg
import nats.errors
import structlog
from asyncpg.pgproto.pgproto import UUID
from nats.aio.msg import Msg

from waggle import failpoint
from waggle.bus import subjects
from waggle.bus.connection import NATS_OUTAGE, Bus
from waggle.bus.inlet import Inlet
from waggle.bus.subjects import StreamPlace
from waggle.store import tasks
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle.telemetry import traces
from waggle.telemetry.traces import SpanKind, SpanShape
from waggle_api import metrics
from waggle_api.connections import borrowed
from waggle_api.http import problems
from waggle_api.nats import messages, rejections
from waggle_api.nats.publishers import Publishers
from waggle_api.refusals import Unavailable
from waggle_api.submit.accept import Intake

log = structlog.get_logger()

OUTAGE: Final[tuple[type[Exception], ...]] = (Unavailable, *POSTGRES_OUTAGE)
NOT_KEPT: Final[tuple[type[Exception], ...]] = (*NATS_OUTAGE, *POSTGRES_OUTAGE, nats.errors.Error)  # also that it is larger than the server takes
PAUSE_SECONDS: Final = 1.0  # after Postgres did not answer
LOG_SECONDS: Final = 10.0
INGEST: Final = SpanShape("process waggle.submit", SpanKind.CONSUMER, {"messaging.system": "nats", "messaging.operation.name": "process"})


class Ingest:
    """What the loop of `run` does with each message."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", bus: Bus, intake: Intake, publishers: Publishers) -> None:
        self._pool, self._bus, self._intake, self._publishers = pool, bus, intake, publishers
        self._inlet = Inlet(bus, self._take)
        self._said = -LOG_SECONDS

    async def run(self, stopping: asyncio.Event) -> None:
        await self._inlet.run(stopping)

    async def _take(self, group: Sequence[Msg]) -> list[Msg]:
        done = await asyncio.gather(*(self._one(message) for message in group))
        failpoint.passed("api.ingested")
        later = [message for message, is_done in zip(group, done, strict=True) if not is_done]
        if later:
            self._inlet.pause(PAUSE_SECONDS)
            metrics.INGESTED_LATER.inc(len(later))
            await asyncio.sleep(PAUSE_SECONDS)
        return later

    async def _one(self, message: Msg) -> bool:
        """Whether it was taken care of; otherwise it comes again."""
        try:
            place = subjects.place(message.reply)
        except ValueError:  # somebody sent it to our inbox
            log.warning("message that is not of the stream ignored", subject=message.subject[:200])
            return True
        try:
            await self._accept(message, place)
        except OUTAGE as error:
            self._say("messages wait: Postgres does not answer", error)
            return False
        except Exception as error:
            return await self._rejected(message, place, error)
        metrics.INGESTED.inc()
        return True

    async def _rejected(self, message: Msg, place: StreamPlace, error: Exception) -> bool:
        """Whether the rejection is kept; otherwise the message comes again."""
        try:
            await self._reject(message, place, error)
        except NOT_KEPT as outage:
            self._say("a rejection cannot be kept: its message comes again", outage)
            return False
        except Exception as crash:
            self._say("keeping a rejection crashed: its message comes again", crash, is_crash=True)
            return False
        return True

    async def _accept(self, message: Msg, place: StreamPlace) -> None:
        """Raises what `Intake.accept` and `messages.read` raise."""
        received = messages.read(message.subject, message.data, message.headers or {})
        publisher, _ = subjects.read_submit(message.subject) or (subjects.NOBODY, "")
        caller = await self._publishers.caller(publisher)
        if received.trace is None and traces.SWITCH.recorder is None:
            await self._intake.accept(received.submission, caller, received.key, task_id(place))
            return
        context, began = traces.begin(received.trace), time.time_ns()
        with traces.inside(context):
            await self._intake.accept(received.submission, caller, received.key, task_id(place))
        traces.record(INGEST, context, received.trace, began, {"messaging.destination.name": message.subject})

    async def _reject(self, message: Msg, place: StreamPlace, error: Exception) -> None:
        """Raises one of NOT_KEPT, and what a reply that is not JetStream's leads to."""
        reason = rejections.why(message, place, error)
        if place.delivered > 1 and await self._is_accepted(place):
            return
        await rejections.keep(self._bus, reason, message.data)
        metrics.rejected(reason.code).inc()
        if reason.status >= problems.CRASH.status:
            log.error("submission crashed", subject=message.subject, exc_info=error)
        else:
            fields = [found.field for found in reason.errors[:5]]
            log.info(
                "submission rejected", publisher=reason.publisher, task_type=reason.type, code=reason.code.value, error=type(error).__name__, fields=fields
            )

    async def _is_accepted(self, place: StreamPlace) -> bool:
        """Whether it became a task when it was delivered before: what was right then need not be right now, such as a deadline."""
        async with borrowed(self._pool) as connection:
            return bool(await tasks.get_many(connection, [task_id(place)]))

    def _say(self, what: str, error: Exception, *, is_crash: bool = False) -> None:
        """A line for many messages: hundreds of them come again each second."""
        now = time.monotonic()
        if now - self._said < LOG_SECONDS:
            return
        self._said = now
        if is_crash:
            log.error(what, error=type(error).__name__, exc_info=error)
        else:
            log.warning(what, error=str(error) or type(error).__name__)


def task_id(place: StreamPlace) -> UUID:
    """A UUIDv7 (RFC 9562) of this place: when the message was stored, then what tells it from all others."""
    rest = int.from_bytes(hashlib.sha256(f"{place.number} {place.stored}".encode()).digest()[:10])
    number = (place.stored // 1_000_000) << 80 | 7 << 76 | (rest >> 64 & 0xFFF) << 64 | 2 << 62 | (rest & (1 << 62) - 1)
    return UUID(number.to_bytes(16))
