"""Rings orphans: claimable tasks whose doorbell is lost. The orphan rule, invariant 7 of the design.

Lanes are first in, first out, and a doorbell stays in the stream until it is acked. So a task that was rung before the oldest doorbell of its
lane, and before that doorbell was asked for, has lost its own.
"""

from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import structlog

from waggle.bus import lane_head
from waggle.bus.connection import NATS_OUTAGE, Bus
from waggle.bus.ring import Ringer
from waggle.store import waiting
from waggle.store.client import Connection

log = structlog.get_logger()

ORPHAN_GRACE: Final = timedelta(seconds=5)  # for doorbells that are on their way

NOTHING_KNOWN: Final = datetime(1970, 1, 1, tzinfo=UTC)

Lane = tuple[str, int]


class Rung(NamedTuple):
    """The number of doorbells rung again, and why the stream refused some of them (None: it took them all).

    `until`: no orphan is left that was rung before this time; None if that is not known.
    """

    number: int
    refused: str | None = None
    until: datetime | None = None


async def ring_lane(connection: Connection, bus: Bus, ringer: Ringer, lane: Lane, most: int, since: datetime | None = None) -> Rung:
    """Ring up to `most` orphans of a lane, as far as the lane has room. None if the stream does not say what the lane holds, or stores nothing.

    Those rung before `since` are left out: the caller knows that there are none.
    """
    asked = await waiting.now(connection)
    try:
        before = limit(await lane_head.oldest_rung_at(bus, *lane), asked)
    except NATS_OUTAGE as error:
        log.debug("head of the lane unknown", queue=lane[0], priority=lane[1], error=str(error) or type(error).__name__)
        return Rung(0)
    if not await waiting.has_orphans(connection, lane, before, since):
        return Rung(0, until=before)
    if (reason := await ringer.storing.check()) is not None:
        return Rung(0, reason)
    bells = await waiting.mark_orphans(connection, lane, before, await _room(bus, lane, most), since)
    return Rung(len(bells), await ringer.ring_confirmed(bells)) if bells else Rung(0)


async def _room(bus: Bus, lane: Lane, most: int) -> int:
    """How many doorbells may be rung now; 0 if the stream does not say."""
    try:
        return min(await lane_head.room(bus, *lane), most)
    except NATS_OUTAGE:
        return 0


def limit(head: datetime | None, asked: datetime) -> datetime:
    """A task that was rung before this time, and still waits, has lost its doorbell.

    `head` is when the lane's oldest doorbell was rung, None for an empty lane; `asked` is a time before it was requested. A head from the future was rung
    before the database's clock was set back: until it has left the lane, nothing is known.
    """
    if head is not None and head > asked + ORPHAN_GRACE:
        return NOTHING_KNOWN
    return (asked if head is None else min(head, asked)) - ORPHAN_GRACE
