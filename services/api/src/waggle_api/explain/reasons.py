"""Why a task does not run now, as a table of rules: the first that fits is the reason. Pure; `looking` finds the facts."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import msgspec

from waggle.task import AttemptOutcome


class ReasonCode(StrEnum):
    """Why a task waits, runs, or ended as it did."""

    # it waits, and is not due
    WAITS_FOR_TIME = "waits_for_time"
    BACKOFF = "backoff"
    RATE_LIMITED = "rate_limited"
    BREAKER_OPEN = "breaker_open"
    OTHER_VERSION = "other_version"
    SNOOZED = "snoozed"
    SUSPECT = "suspect"
    GIVEN_BACK = "given_back"
    # it is due
    DEADLINE_PASSED = "deadline_passed"
    QUEUE_PAUSED = "queue_paused"
    QUEUE_NOT_SERVED = "queue_not_served"
    TYPE_NOT_SERVED = "type_not_served"
    PAYLOAD_DOES_NOT_FIT = "payload_does_not_fit"
    NATS_AWAY = "nats_away"
    NOT_RUNG = "not_rung"
    DOORBELL_LOST = "doorbell_lost"
    IN_LANE = "in_lane"
    # it runs
    RUNNING = "running"
    WORKER_LOST = "worker_lost"
    # it has ended
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    DEAD_LETTER = "dead_letter"


class Waiting(msgspec.Struct, frozen=True):
    """What decides why a pending task waits. `outcome` is that of its last attempt, `breaker` the circuit breaker that this one met;
    `limited`: it met the rate limit of what it called; `misfit`: its worker could not read the payload, and another one can.

    `later`: it is not due. `served` and `known`: a live worker serves its queue, and one of those its type. `lost`: it was lost with a worker.
    `fits`: its payload, as far as is known. `doorbell`: whether its lane still holds its doorbell, as far as is known.
    """

    later: bool
    is_new: bool
    outcome: AttemptOutcome | None
    breaker: str | None
    lost: bool
    overdue: bool
    paused: bool
    served: bool
    known: bool
    rung: bool
    nats: bool
    fits: bool = True
    doorbell: bool = True
    limited: bool = False
    misfit: bool = False


_LATER: Final[Mapping[AttemptOutcome | None, ReasonCode]] = MappingProxyType(
    {
        AttemptOutcome.FAILED: ReasonCode.BACKOFF,
        AttemptOutcome.SNOOZED: ReasonCode.SNOOZED,
        AttemptOutcome.GIVEN_BACK: ReasonCode.GIVEN_BACK,
    }
)


def of_waiting(task: Waiting) -> ReasonCode:
    """The one reason."""
    if task.overdue:
        return ReasonCode.DEADLINE_PASSED
    return _of_later(task) if task.later else _of_due(task)


def _of_later(task: Waiting) -> ReasonCode:
    if task.is_new:
        return ReasonCode.WAITS_FOR_TIME
    if task.outcome is AttemptOutcome.SNOOZED and task.breaker is not None:
        return ReasonCode.BREAKER_OPEN
    if task.outcome is AttemptOutcome.SNOOZED and task.served and not task.known:  # a worker without its handler put it off
        return ReasonCode.TYPE_NOT_SERVED
    if task.outcome is AttemptOutcome.SNOOZED and task.misfit:
        return ReasonCode.OTHER_VERSION
    if task.lost and task.outcome is AttemptOutcome.LOST:  # lost tasks run again at once, unless they may have killed their worker
        return ReasonCode.SUSPECT
    if task.outcome is AttemptOutcome.FAILED and task.limited:
        return ReasonCode.RATE_LIMITED
    return _LATER.get(task.outcome, ReasonCode.WAITS_FOR_TIME)


def _of_due(task: Waiting) -> ReasonCode:
    rules = (
        (task.paused, ReasonCode.QUEUE_PAUSED),
        (not task.served, ReasonCode.QUEUE_NOT_SERVED),
        (not task.known, ReasonCode.TYPE_NOT_SERVED),
        (not task.fits, ReasonCode.PAYLOAD_DOES_NOT_FIT),
        (not task.rung and not task.nats, ReasonCode.NATS_AWAY),
        (not task.rung, ReasonCode.NOT_RUNG),
        (not task.doorbell, ReasonCode.DOORBELL_LOST),
    )
    return next((code for applies, code in rules if applies), ReasonCode.IN_LANE)


ADVICE: Final[Mapping[ReasonCode, str]] = MappingProxyType(
    {
        ReasonCode.WAITS_FOR_TIME: "nothing to do: it runs at its time",
        ReasonCode.BACKOFF: "nothing to do: it is tried again; `waggle tasks logs` shows what its handler said",
        ReasonCode.RATE_LIMITED: "nothing to do: it is tried again when the service that it calls takes more; fewer workers for its queue call less often",
        ReasonCode.BREAKER_OPEN: "repair the service behind the breaker; `waggle breakers reset` ends the wait at once",
        ReasonCode.OTHER_VERSION: "nothing to do while workers are replaced; `waggle types show` lists the versions of the type and who serves them",
        ReasonCode.SNOOZED: "nothing to do: its handler asked for the wait",
        ReasonCode.SUSPECT: "its worker died while it ran: look at the worker's exit code and memory",
        ReasonCode.GIVEN_BACK: "its worker stopped, or had no free process: nothing to do while others run",
        ReasonCode.DEADLINE_PASSED: "a scheduler fails it within a second: see that one runs",
        ReasonCode.QUEUE_PAUSED: "`waggle queues resume` lets its tasks run",
        ReasonCode.QUEUE_NOT_SERVED: "start a worker with this queue (WAGGLE_QUEUES)",
        ReasonCode.TYPE_NOT_SERVED: "start a worker with a handler of this type (WAGGLE_APP)",
        ReasonCode.PAYLOAD_DOES_NOT_FIT: "start a worker whose handler takes this payload, or cancel the task",
        ReasonCode.NATS_AWAY: "start NATS or repair the network: `waggle doctor`; the task is safe in Postgres",
        ReasonCode.NOT_RUNG: "a scheduler rings it within a second: see that one runs (`waggle doctor`)",
        ReasonCode.DOORBELL_LOST: "a scheduler rings it again within seconds: see that one runs",
        ReasonCode.IN_LANE: "nothing to do, or start more workers",
        ReasonCode.RUNNING: "nothing to do",
        ReasonCode.WORKER_LOST: "a scheduler takes it back within two seconds: see that one runs",
        ReasonCode.COMPLETED: "nothing to do",
        ReasonCode.FAILED: "submit it again if it is still wanted",
        ReasonCode.CANCELLED: "submit it again if it is still wanted",
        ReasonCode.DEAD_LETTER: "repair the cause, then `waggle dlq retry`",
    }
)
