"""The reason of a task as a sentence, with the facts behind it."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from waggle import errors
from waggle.errors import ShownError
from waggle.task import Priority
from waggle_api.explain.reasons import ADVICE, ReasonCode

Facts = Mapping[str, Any]


class Reason(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Why a task does not run now, or how it ended. Absent fields do not apply; times are the database's.

    `until`: when it goes on, as far as that is known. `place`: tasks before it in its lane; `rate`: tasks of its queue that ended a second of late;
    `estimate`: seconds until its turn by these two.
    """

    code: ReasonCode
    text: str
    advice: str
    since: datetime | None = None
    until: datetime | None = None
    by: str | None = None
    queue: str | None = None
    breaker: str | None = None
    worker_id: str | None = None
    last_seen: datetime | None = None
    place: int | None = None
    rate: float | None = None
    estimate: float | None = None
    error: ShownError | None = None


_UNTIL: Final = {"until": "run_at"}
_COLUMNS: Final[Mapping[ReasonCode, Mapping[str, str]]] = {  # fields of a reason, and the columns that they come from
    ReasonCode.WAITS_FOR_TIME: _UNTIL,
    ReasonCode.OTHER_VERSION: _UNTIL,
    ReasonCode.SNOOZED: _UNTIL,
    ReasonCode.SUSPECT: _UNTIL,
    ReasonCode.GIVEN_BACK: _UNTIL,
    ReasonCode.BACKOFF: {"until": "run_at", "since": "last_ended", "error": "last_error"},
    ReasonCode.RATE_LIMITED: {"until": "run_at", "since": "last_ended", "error": "last_error"},
    ReasonCode.BREAKER_OPEN: {"until": "run_at", "since": "last_ended"},
    ReasonCode.QUEUE_PAUSED: {"queue": "queue", "since": "paused_since", "by": "paused_by"},
    ReasonCode.QUEUE_NOT_SERVED: {"queue": "queue"},
    ReasonCode.TYPE_NOT_SERVED: {"queue": "queue"},
    ReasonCode.RUNNING: {"since": "started_at", "worker_id": "worker_id", "last_seen": "last_seen"},
    ReasonCode.WORKER_LOST: {"since": "started_at", "worker_id": "worker_id", "last_seen": "last_seen"},
    ReasonCode.NATS_AWAY: {"since": "run_at"},
    ReasonCode.NOT_RUNG: {"since": "run_at"},
    ReasonCode.DOORBELL_LOST: {"since": "rung_at", "queue": "queue"},
    ReasonCode.IN_LANE: {"since": "rung_at", "queue": "queue"},
    ReasonCode.DEADLINE_PASSED: {"since": "deadline"},
    ReasonCode.COMPLETED: {"since": "completed_at"},
    ReasonCode.CANCELLED: {"since": "completed_at"},
    ReasonCode.FAILED: {"since": "completed_at", "error": "error"},
    ReasonCode.DEAD_LETTER: {"since": "updated", "error": "error"},
}


def reason(code: ReasonCode, row: Facts, **facts: Any) -> Reason:
    """A reason of a task; `row` is what `store.explanations.task` found, `facts` the fields of the reason that are known."""
    columns = {field: _error(row[column]) if field == "error" else row[column] for field, column in _COLUMNS.get(code, {}).items()}
    made = Reason(code=code, text="", advice=ADVICE[code], **{**columns, **facts})
    return msgspec.structs.replace(made, text=_text(made, row))


def _error(stored: str | None) -> ShownError | None:
    return None if stored is None else errors.stored(stored).shown()


def _text(of: Reason, row: Facts) -> str:  # noqa: PLR0912  # a sentence for each reason
    now, lane = row["now"], f"{row['queue']}/{Priority(row['priority']).name.lower()}"
    tries = f"{row['attempt']} attempt{'s' * (row['attempt'] != 1)}"
    match of.code:
        case ReasonCode.WAITS_FOR_TIME:
            return f"It waits for its time, {at(of.until)} (in {span(of.until, now)})."
        case ReasonCode.BACKOFF | ReasonCode.RATE_LIMITED:
            left = f"retry {row['retry_count']} of {row['max_retries']}"
            if of.code is ReasonCode.RATE_LIMITED:
                return f"What it calls limits the rate of calls{_of_error(of)}; {left} comes {at(of.until)} (in {span(of.until, now)})."
            return f"Its last attempt failed{_of_error(of)}; {left} comes {at(of.until)} (in {span(of.until, now)})."
        case ReasonCode.BREAKER_OPEN:
            return f"The circuit breaker {of.breaker} was open; it tries again {at(of.until)} (in {span(of.until, now)})."
        case ReasonCode.OTHER_VERSION:
            return f"A worker with another version of {row['type']} could not read its payload; it is offered again {at(of.until)} (in {span(of.until, now)})."
        case ReasonCode.SNOOZED:
            return f"Its handler asked to run again {at(of.until)} (in {span(of.until, now)})."
        case ReasonCode.SUSPECT:
            turn = f" {at(of.until)}" if of.until and of.until > now else ""
            return f"It was lost with {_workers(row['lost_count'])} that may have died of it: few such tasks run at once, its turn comes{turn}."
        case ReasonCode.GIVEN_BACK:
            return f"A worker gave it back without a try; it runs again {at(of.until)} (in {span(of.until, now)})."
        case ReasonCode.DEADLINE_PASSED:
            return f"Its deadline passed {at(of.since)}: it fails at the next look of a scheduler."
        case ReasonCode.QUEUE_PAUSED:
            return f"The queue {of.queue} is paused since {when(of.since)}{f' by {of.by}' if of.by else ''}."
        case ReasonCode.QUEUE_NOT_SERVED:
            return f"No live worker serves the queue {of.queue}."
        case ReasonCode.TYPE_NOT_SERVED:
            return f"No live worker of the queue {of.queue} has a handler for {row['type']}."
        case ReasonCode.PAYLOAD_DOES_NOT_FIT:
            return f"Its payload does not fit the handler of {row['type']} that the live workers have."
        case ReasonCode.NATS_AWAY:
            return "It is due, and nobody can ring its doorbell: NATS is not connected, or stores nothing."
        case ReasonCode.NOT_RUNG:
            return f"It is due since {when(of.since)} and has no doorbell yet."
        case ReasonCode.DOORBELL_LOST:
            return f"Its doorbell, rung {at(of.since)}, is lost."
        case ReasonCode.IN_LANE:
            return f"It waits in its lane {lane}: {_place(of)}."
        case ReasonCode.RUNNING:
            return f"It runs on {of.worker_id} since {when(of.since)} ({span(now, of.since)}); the worker was last seen {span(now, of.last_seen)} ago."
        case ReasonCode.WORKER_LOST:
            seen = f", last seen {span(now, of.last_seen)} ago" if of.last_seen else ""
            return f"It was held by {of.worker_id}, whose lease is over{seen}: it is about to be taken back."
        case ReasonCode.COMPLETED:
            return f"It completed {at(of.since)} after {tries}."
        case ReasonCode.CANCELLED:
            return f"It was cancelled {at(of.since)}{f' by {of.by}' if of.by else ''}."
        case ReasonCode.FAILED:
            return f"It failed for good {at(of.since)} after {tries}{_of_error(of)}."
        case ReasonCode.DEAD_LETTER:
            return f"It is a dead letter since {when(of.since)}, after {tries}{_of_error(of)}."


def _workers(lost: int) -> str:
    return "a worker" if lost == 1 else f"{lost} workers"


def _of_error(of: Reason) -> str:
    return f": {of.error.code}: {of.error.message}" if of.error else ""


def _place(of: Reason) -> str:
    assert of.place is not None
    before = "it is the next" if of.place == 0 else f"{of.place} task{'s' * (of.place != 1)} before it"
    if of.estimate is None:
        return f"{before}; none of its queue has ended of late"
    return f"{before}; {of.rate:.3g} a second end of late, so its turn comes in about {_seconds(of.estimate)}"


def when(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}Z"


def at(moment: datetime | None) -> str:
    return f"at {when(moment)}"


def span(later: datetime | None, earlier: datetime | None) -> str:
    """The time between two moments, in words."""
    return "" if later is None or earlier is None else _seconds(max(0.0, (later - earlier).total_seconds()))


def _seconds(seconds: float) -> str:
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
