"""The circuit breakers as the fleet shares them: one record a name in the KV bucket `waggle_breakers`, changed by compare-and-set on its revision.

The times in a record are those of the bucket's server: whoever reads or writes one learns that clock with `look()`, so no machine's own clock counts.
"""

import base64
from collections.abc import AsyncIterator
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple

import msgspec
from nats.js.errors import APIError

from waggle.bus import subjects
from waggle.bus.connection import Bus, UnexpectedReply
from waggle.bus.jetstream import NO_MESSAGE, ask

PATIENCE: Final = 1.0  # seconds; a handler may wait for this
WRONG_REVISION: Final = 10071
ERROR_LENGTH: Final = 500


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the bucket holds of a breaker. `failures` and `error` are those that opened it; `again` counts failed probes, each doubles the wait.

    `probe` names the one probe of a half-open breaker; after `probe_until` its holder is taken for dead, and another may probe.
    `closed_at` is when a probe succeeded or somebody reset it: a closed record without it says only that nobody had heard of a failure.
    """

    name: str
    state: State
    failures: int = 0
    trips: int = 0
    again: int = 0
    opened_at: datetime | None = None
    retry_at: datetime | None = None
    error: str | None = None
    probe: str | None = None
    probe_until: datetime | None = None
    closed_at: datetime | None = None


class Entry(NamedTuple):
    """A record with its revision, and when that was written."""

    record: Record
    revision: int
    updated: datetime


class Look(NamedTuple):
    """The bucket at one moment of its server's clock. Another `made` means that it is another bucket, with revisions of its own."""

    now: datetime
    made: str
    last: int


class Changed(Exception):
    """Somebody else has changed the record: read it again."""


async def look(bus: Bus) -> Look:
    """The bucket's clock and last revision. Raises one of OUTAGE, such as UnexpectedReply while there is no bucket."""
    answer = await ask(bus, subjects.BREAKERS_INFO)
    try:
        return Look(msgspec.convert(answer["ts"], datetime), answer["created"], answer["state"]["last_seq"])
    except (KeyError, TypeError, msgspec.ValidationError):
        raise UnexpectedReply(str(answer.get("error") or "the bucket's state cannot be read")) from None


async def entry(bus: Bus, name: str) -> Entry | None:
    """One breaker's entry. Raises one of OUTAGE."""
    return (await newest(bus, name))[0]


async def newest(bus: Bus, name: str) -> tuple[Entry | None, int]:
    """What is under a name, and its revision, which a deleted key and what is no record have as well (0: there is nothing). Raises as `entry`."""
    message = await _message(bus, {"last_by_subj": subjects.breaker(name)})
    return _entry(message), 0 if message is None else int(message["seq"])


async def entries(bus: Bus, after: int = 0) -> AsyncIterator[Entry]:
    """What was written after a revision, the newest entry of each breaker, in the order of the revisions. Raises one of OUTAGE."""
    while (message := await _message(bus, {"seq": after + 1, "next_by_subj": subjects.BREAKERS_ALL})) is not None:
        after = message["seq"]
        found = _entry(message)
        if found is not None:
            yield found


async def put(bus: Bus, record: Record, revision: int | None) -> int:
    """Write over this revision (0: there is none yet; None: over any); the new one. Raises Changed when there is another one, or one of bus.OUTAGE."""
    headers = None if revision is None else {"Nats-Expected-Last-Subject-Sequence": str(revision)}
    try:
        ack = await bus.jetstream().publish(subjects.breaker(record.name), msgspec.json.encode(record), timeout=PATIENCE, headers=headers)
    except APIError as error:
        if error.err_code == WRONG_REVISION:
            raise Changed from error
        raise
    return ack.seq


async def reset(bus: Bus, name: str) -> Entry | None:
    """Close a breaker for the whole fleet, whoever writes at the same time; None when there is none of this name. Raises one of OUTAGE."""
    found = await entry(bus, name)
    if found is None:
        return None
    await put(bus, Record(name, State.CLOSED, trips=found.record.trips, closed_at=(await look(bus)).now), None)
    return await entry(bus, name)


async def _message(bus: Bus, query: dict[str, Any]) -> dict[str, Any] | None:
    answer = await ask(bus, subjects.BREAKERS_GET, query)
    if "error" in answer:
        if answer["error"].get("err_code") == NO_MESSAGE:
            return None
        raise UnexpectedReply(str(answer["error"]))
    message: dict[str, Any] = answer["message"]
    return message


def _entry(message: dict[str, Any] | None) -> Entry | None:
    """None for a deleted key, and for what is no record: somebody else wrote it."""
    if message is None:
        return None
    try:
        record = msgspec.json.decode(base64.b64decode(message.get("data", "")), type=Record)
        return Entry(record, message["seq"], msgspec.convert(message["time"], datetime))
    except (ValueError, KeyError):
        return None
