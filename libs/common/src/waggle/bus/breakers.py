"""The circuit breakers that the workers share: one record per name in the KV bucket `waggle_breakers`, changed by compare-and-set on its revision.

Times in a record are by the clock of the NATS server, which `snapshot()` returns; clocks of other machines do not matter.
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
from waggle.bus.jetstream import NO_MESSAGE, api_request

BUCKET_TIMEOUT_SECONDS: Final = 1.0  # a handler may wait for it
WRONG_REVISION: Final = 10071
ERROR_LENGTH: Final = 500


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """A breaker in the bucket. `failures` and `error` opened it; `again` counts failed probes, each of which doubles the wait.

    `probe` names the only probe of a half-open breaker; after `probe_until` its worker counts as dead, and another one may probe.
    `closed_at` is when a probe succeeded or an operator reset it; a closed record without it only registers the name.
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
    """A record, its revision, and when that was written."""

    record: Record
    revision: int
    updated: datetime


class Snapshot(NamedTuple):
    """The bucket at `now` by the clock of its server. A different `made` means a different bucket, with its own revisions."""

    now: datetime
    made: str
    last: int


class Changed(Exception):
    """Another client changed the record: read it again."""


async def snapshot(bus: Bus) -> Snapshot:
    """The clock and last revision of the bucket. Raises one of NATS_OUTAGE, such as UnexpectedReply while there is no bucket."""
    answer = await api_request(bus, subjects.BREAKERS_INFO)
    try:
        return Snapshot(msgspec.convert(answer["ts"], datetime), answer["created"], answer["state"]["last_seq"])
    except (KeyError, TypeError, msgspec.ValidationError):
        raise UnexpectedReply(str(answer.get("error") or "the state of the bucket is unreadable")) from None


async def entry(bus: Bus, name: str) -> Entry | None:
    """The entry of a breaker, or None. Raises one of NATS_OUTAGE."""
    return (await newest(bus, name))[0]


async def newest(bus: Bus, name: str) -> tuple[Entry | None, int]:
    """The entry of a name, or None, and the last revision of its key, also when that was deleted or is unreadable (0: no such key). Raises as `entry`."""
    message = await _message(bus, {"last_by_subj": subjects.breaker(name)})
    return _entry(message), 0 if message is None else int(message["seq"])


async def entries(bus: Bus, after: int = 0) -> AsyncIterator[Entry]:
    """The newest entry of each breaker written after a revision, in the order of revisions. Raises one of NATS_OUTAGE."""
    while (message := await _message(bus, {"seq": after + 1, "next_by_subj": subjects.BREAKERS_ALL})) is not None:
        after = message["seq"]
        found = _entry(message)
        if found is not None:
            yield found


async def put(bus: Bus, record: Record, revision: int | None) -> int:
    """Replace this revision (0: create; None: replace any) and return the new one. Raises Changed when the revision is another one, or one of NATS_OUTAGE."""
    headers = None if revision is None else {"Nats-Expected-Last-Subject-Sequence": str(revision)}
    try:
        ack = await bus.jetstream().publish(subjects.breaker(record.name), msgspec.json.encode(record), timeout=BUCKET_TIMEOUT_SECONDS, headers=headers)
    except APIError as error:
        if error.err_code == WRONG_REVISION:
            raise Changed from error
        raise
    return ack.seq


async def reset(bus: Bus, name: str) -> Entry | None:
    """Close a breaker for all workers, overriding concurrent writes; None when the name is unknown. Raises one of NATS_OUTAGE."""
    found = await entry(bus, name)
    if found is None:
        return None
    await put(bus, Record(name, State.CLOSED, trips=found.record.trips, closed_at=(await snapshot(bus)).now), None)
    return await entry(bus, name)


async def _message(bus: Bus, query: dict[str, Any]) -> dict[str, Any] | None:
    answer = await api_request(bus, subjects.BREAKERS_GET, query)
    if "error" in answer:
        if answer["error"].get("err_code") == NO_MESSAGE:
            return None
        raise UnexpectedReply(str(answer["error"]))
    message: dict[str, Any] = answer["message"]
    return message


def _entry(message: dict[str, Any] | None) -> Entry | None:
    """None for a deleted key and for a value that is no record (written by another client)."""
    if message is None:
        return None
    try:
        record = msgspec.json.decode(base64.b64decode(message.get("data", "")), type=Record)
        return Entry(record, message["seq"], msgspec.convert(message["time"], datetime))
    except (ValueError, KeyError):
        return None
