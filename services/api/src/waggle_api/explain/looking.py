"""Finds the facts about a task, or about everything that waits, and says why."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import msgspec

from waggle import errors
from waggle.bus import lane_head
from waggle.bus.connection import NATS_OUTAGE, Bus
from waggle.errors import ErrorCode
from waggle.repair import orphans
from waggle.store import catalogue, explanations, leases, queues, tasks
from waggle.store.client import PooledConnection
from waggle.task import AttemptOutcome, Status
from waggle_api.explain.reasons import ADVICE, ReasonCode, Waiting, of_waiting
from waggle_api.explain.sentences import Facts, Reason, reason
from waggle_api.submit.catalogue import Catalogue

RATE_SECONDS: Final = 300.0  # over which the rate of a queue is taken
ENDED: Final = {
    Status.COMPLETED: ReasonCode.COMPLETED,
    Status.FAILED: ReasonCode.FAILED,
    Status.CANCELLED: ReasonCode.CANCELLED,
    Status.DEAD_LETTER: ReasonCode.DEAD_LETTER,
}
OURS: Final = frozenset({"breaker", "by", "reader", "version"})  # details of errors that Waggle writes
HOLD_IT_THEN: Final = (ReasonCode.QUEUE_PAUSED, ReasonCode.QUEUE_NOT_SERVED, ReasonCode.TYPE_NOT_SERVED)


class Explanation(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Why a task does not run now, or ended as it did. The first reason is the answer; the others would hold the task next."""

    task_id: UUID
    status: Status
    summary: str
    reasons: list[Reason]


class WaitingGroup(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Tasks of a queue and type that wait for the same reason; `first` is when the first of them was or is due."""

    code: ReasonCode
    queue: str
    type: str
    tasks: int
    first: datetime
    advice: str
    breaker: str | None = None


class Explainer:
    """`nats_works`: whether doorbells are stored, as far as this API knows."""

    def __init__(self, bus: Bus, types: Catalogue, nats_works: Callable[[], bool]) -> None:
        self._bus, self._types, self._nats_works = bus, types, nats_works

    async def task(self, connection: PooledConnection, task_id: UUID, hide: str | None) -> tuple[Facts, Explanation] | None:
        """The row and the explanation; None if there is no such task. `hide` stands for the words of errors, None shows them."""
        found = await explanations.task(connection, task_id)
        if found is None:
            return None
        row = dict(found) if hide is None else {**found, **{name: _without_words(found[name], hide) for name in ("error", "last_error")}}
        reasons = await self._reasons(connection, row)
        return row, Explanation(task_id=task_id, status=Status(row["status"]), summary=reasons[0].text, reasons=reasons)

    async def everything(self, connection: PooledConnection) -> list[WaitingGroup]:
        """What waits, by reason, queue and type, the most tasks first."""
        live = [row for row in await leases.workers(connection) if row["alive"] and not row["draining"]]
        paused = {name for name, is_paused in (await catalogue.queues(connection)).items() if is_paused}
        found: dict[tuple[ReasonCode, str, str, str | None], tuple[int, datetime]] = {}
        for row in await explanations.waiting(connection):
            serving = [worker for worker in live if row["queue"] in worker["queues"]]
            code = of_waiting(
                Waiting(
                    later=row["later"],
                    is_new=row["is_new"],
                    outcome=_outcome(row["outcome"]),
                    breaker=row["breaker"],
                    lost=row["lost"],
                    limited=row["code"] == ErrorCode.RATE_LIMIT_EXCEEDED,
                    misfit=row["code"] == ErrorCode.VALIDATION_ERROR,
                    overdue=row["overdue"],
                    paused=row["queue"] in paused,
                    served=bool(serving),
                    known=any(row["type"] in worker["types"] for worker in serving),
                    rung=row["rung"],
                    nats=self._nats_works(),
                )
            )
            key = (code, row["queue"], row["type"], row["breaker"] if code is ReasonCode.BREAKER_OPEN else None)
            count, first = found.get(key, (0, row["first"]))
            found[key] = (count + row["tasks"], min(first, row["first"]))
        groups = [
            WaitingGroup(code=code, queue=queue, type=kind, tasks=count, first=first, advice=ADVICE[code], breaker=breaker)
            for (code, queue, kind, breaker), (count, first) in found.items()
        ]
        return sorted(groups, key=lambda group: (-group.tasks, group.code, group.queue, group.type))

    async def _reasons(self, connection: PooledConnection, row: Facts) -> list[Reason]:
        status = Status(row["status"])
        if status in ENDED:
            return [reason(ENDED[status], row, **_canceller(row, status))]
        if status is Status.RUNNING:
            return [reason(ReasonCode.RUNNING if row["holder_lives"] else ReasonCode.WORKER_LOST, row)]
        waiting = await self._waiting(connection, row)
        first = of_waiting(waiting)
        found = [reason(first, row, **await self._facts(connection, row, waiting, first))]
        if waiting.later:
            now_due = msgspec.structs.replace(waiting, later=False)
            if (then := of_waiting(now_due)) in HOLD_IT_THEN and then is not first:
                found.append(reason(then, row))
        return found

    async def _waiting(self, connection: PooledConnection, row: Facts) -> Waiting:
        serving = [worker for worker in await leases.workers(connection) if worker["alive"] and not worker["draining"] and row["queue"] in worker["queues"]]
        later = row["run_at"] > row["now"]
        return Waiting(
            later=later,
            is_new=row["attempt"] == 0,
            outcome=_outcome(row["last_outcome"]),
            breaker=_breaker(row["last_error"]),
            lost=row["lost_count"] > 0,
            limited=_code(row["last_error"]) is ErrorCode.RATE_LIMIT_EXCEEDED,
            misfit=_code(row["last_error"]) is ErrorCode.VALIDATION_ERROR,
            overdue=row["deadline"] is not None and row["deadline"] <= row["now"],
            paused=row["paused"],
            served=bool(serving),
            known=any(row["type"] in worker["types"] for worker in serving),
            rung=row["rung_at"] is not None,
            nats=self._nats_works(),
            fits=later or await self._fits(connection, row),
            doorbell=later or row["rung_at"] is None or await self._has_doorbell(row),
        )

    async def _fits(self, connection: PooledConnection, row: Facts) -> bool:
        known, task = self._types.types.get(row["type"]), await tasks.get(connection, row["id"])
        if known is None or task is None or task.payload is None:
            return True
        try:
            return known.payload.fits(msgspec.json.decode(task.payload), task.payload)
        except (msgspec.DecodeError, RecursionError):  # only SQL inserts what is nested so deeply
            return False

    async def _has_doorbell(self, row: Facts) -> bool:
        """By the orphan rule: a task that was rung before the oldest doorbell of its lane has lost its own. True if the stream does not say."""
        try:
            head = await lane_head.oldest_rung_at(self._bus, row["queue"], row["priority"])
        except NATS_OUTAGE:
            return True
        limit: datetime = orphans.limit(head, row["now"])
        return bool(row["rung_at"] >= limit)

    async def _facts(self, connection: PooledConnection, row: Facts, waiting: Waiting, code: ReasonCode) -> dict[str, Any]:
        match code:
            case ReasonCode.BREAKER_OPEN:
                return {"breaker": waiting.breaker}
            case ReasonCode.DOORBELL_LOST:
                return {"until": row["now"] + timedelta(seconds=2)}
            case ReasonCode.IN_LANE:
                place = await explanations.place(connection, row["queue"], row["priority"], row["rung_at"])
                stats = await queues.stats(connection, row["queue"], RATE_SECONDS)
                rate = (stats["tasks_completed"] + stats["tasks_failed"]) / max(stats["window"], 1.0)
                return {"place": place, **({"rate": round(rate, 3), "estimate": round(place / rate, 1)} if rate else {})}
            case _:
                return {}


def _without_words(stored: str | None, hide: str) -> str | None:
    """An error without what a handler may have written into it; whose breaker it met, and who cancelled, stays."""
    if stored is None:
        return None
    error = errors.stored(stored)
    kept = {name: value for name, value in (error.details or {}).items() if name in OURS}
    return tasks.as_text(msgspec.structs.replace(error, message=hide, details=kept or None))


def _outcome(text: str | None) -> AttemptOutcome | None:
    return None if text is None else AttemptOutcome(text)


def _breaker(error: str | None) -> str | None:
    """The circuit breaker that an attempt met."""
    details = None if error is None else errors.stored(error).details
    name = (details or {}).get("breaker")
    return name if isinstance(name, str) else None


def _code(error: str | None) -> ErrorCode | None:
    return None if error is None else errors.stored(error).code


def _canceller(row: Facts, status: Status) -> dict[str, Any]:
    by = (errors.stored(row["error"]).details or {}).get("by") if status is Status.CANCELLED and row["error"] is not None else None
    return {"by": by} if isinstance(by, str) else {}
