"""Checks new tasks against the catalogue and the clock, and fills in the defaults of their types.

A task of an unknown type is refused, or accepted with the built-in defaults when `WAGGLE_UNKNOWN_TYPES=accept` (for producers that deploy before
their workers). A queue must be known in any case: no worker would serve another one, and a misspelt name would wait forever. Before an unknown name is
refused, the catalogue is read again, so that a type can be used as soon as its worker has announced it.
"""

import time
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Final

import uuid_utils
from asyncpg.pgproto.pgproto import UUID
from msgspec import Raw

from waggle import payload_schema
from waggle.field_errors import NUL, FieldErrors, holds_nul
from waggle.store.tasks import NewTask
from waggle.submission import CreateTask, Submission, check_nul, check_type_name, check_url, may_hold_nul, read_metadata, read_priority, read_times
from waggle.task import DEFAULT_MAX_RETRIES, DEFAULT_QUEUE, DEFAULT_TIMEOUT
from waggle.telemetry.traces import TraceContext, current
from waggle_api.caller import Caller
from waggle_api.submit.catalogue import Catalogue, KnownType

LISTED_NAMES: Final = 10
CLOCK_TOLERANCE_SECONDS: Final = 1.0

UNKNOWN: Final = KnownType("", DEFAULT_QUEUE, DEFAULT_MAX_RETRIES, DEFAULT_TIMEOUT)


class Admission:
    """Turns submissions into tasks to insert. `accept_unknown` admits types that the catalogue does not have, `callbacks` those whose end is to be reported."""

    def __init__(self, catalogue: Catalogue, *, accept_unknown: bool, callbacks: bool) -> None:
        self._catalogue, self._accept_unknown, self._callbacks = catalogue, accept_unknown, callbacks

    async def admit(self, submission: Submission, caller: Caller) -> list[NewTask]:
        """The tasks of a submission. Raises Forbidden, Unreadable, Invalid with every error, or one of POSTGRES_OUTAGE."""
        errors, tasks = self._check(submission, caller)
        if errors.has_unknown_name:
            await self._catalogue.refresh()
            errors, tasks = self._check(submission, caller)
        errors.check()
        return tasks

    def secrets(self, task_type: str) -> dict[str, Any] | None:
        """The schema of a type that has fields whose values are hidden."""
        known = self._catalogue.types.get(task_type)
        return None if known is None else known.payload.secrets

    def secrets_of(self, task_types: Collection[str] | None) -> list[dict[str, Any]]:
        """As `secrets`, of these types; None: of all."""
        found = [known.payload.secrets for known in self._catalogue.types.values() if task_types is None or known.name in task_types]
        return [schema for schema in found if schema is not None]

    def check_payload(self, raw: Raw, task_type: str, errors: FieldErrors) -> None:
        """Check a new payload for an existing task. If its type is unknown, only the form is checked. Raises Unreadable."""
        payload_schema.read(raw, self._catalogue.types.get(task_type, UNKNOWN).payload, errors)
        if holds_nul(raw):
            errors.add("payload", NUL)

    def _check(self, submission: Submission, caller: Caller) -> tuple[FieldErrors, list[NewTask]]:
        errors, tasks = submission.field_errors(), []
        nul_possible = may_hold_nul(submission.text)
        now = self._catalogue.now()
        time_of_ids, trace = _time_of_ids(now), current()
        for index, task in enumerate(submission.tasks):
            if submission.is_batch:
                errors.prefix = f"tasks[{index}]."
            tasks.append(self._new_task(task, caller, now, time_of_ids, trace, errors))
            if nul_possible:
                check_nul(task, errors)
            if errors.full:
                break
        return errors, tasks

    def _new_task(self, task: CreateTask, caller: Caller, now: datetime, time_of_ids: int | None, trace: TraceContext | None, errors: FieldErrors) -> NewTask:
        if caller.is_limited:  # before anything else is said of a type or a queue
            self._check_limits(task, caller)
        known = self._catalogue.types.get(task.type) or self._unknown(task.type, caller, errors)
        if task.callback_url is not None:
            self._check_callback(task.callback_url, errors)
        run_at, deadline = (None, None) if task.run_at is None and task.deadline is None else _times(task, now, errors)
        return NewTask(
            id=UUID(uuid_utils.uuid7(nanoseconds=time_of_ids).bytes),  # this UUID is a uuid.UUID made in C
            type=task.type,
            queue=known.queue if task.queue is None else self._queue(task.queue, caller, errors),
            priority=read_priority(task.priority, errors),
            description=task.description or "",
            payload=payload_schema.read(task.payload, known.payload, errors),
            metadata=read_metadata(task.metadata, errors),
            run_at=run_at,
            delay=task.delay or 0.0,
            deadline=deadline,
            max_retries=known.max_retries if task.max_retries is None else task.max_retries,
            timeout=known.timeout if task.timeout is None else task.timeout,
            unique_key=task.unique_key,
            submitter=caller.name,
            door=caller.door,
            traceparent=None if trace is None else trace.parent,
            tracestate=None if trace is None else trace.state,
            callback_url=task.callback_url,
        )

    def _check_callback(self, url: str, errors: FieldErrors) -> None:
        if self._callbacks:
            check_url(url, errors)
        else:
            errors.add("callback_url", "no callbacks are sent: WAGGLE_CALLBACK_SECRETS is not set")

    def _check_limits(self, task: CreateTask, caller: Caller) -> None:
        """Raises Forbidden."""
        caller.check_type(task.type)
        known = self._catalogue.types.get(task.type)
        if task.queue is not None or known is not None or self._accept_unknown:  # otherwise the type is not known yet, and the catalogue is read again
            caller.check_queue(task.queue if task.queue is not None else (known or UNKNOWN).queue)

    def _unknown(self, name: str, caller: Caller, errors: FieldErrors) -> KnownType:
        if (name or not errors.has("type")) and check_type_name(name, errors) and not self._accept_unknown:
            errors.has_unknown_name = True
            errors.add(
                "type",
                "no worker has announced this type"
                + _hint(name, [known for known, of in self._catalogue.types.items() if caller.reaches(of.queue, known)], errors),
            )
        return UNKNOWN

    def _queue(self, name: str, caller: Caller, errors: FieldErrors) -> str:
        if name not in self._catalogue.queues:
            errors.has_unknown_name = True
            errors.add(
                "queue", "is not known" + _hint(name, [known for known in self._catalogue.queues if caller.queues is None or known in caller.queues], errors)
            )
        return name


def _time_of_ids(now: datetime) -> int | None:
    """The time for new ids in nanoseconds, so that a wrong clock on this machine does not misplace tasks in lists (see waggle.store.lists.SLACK).

    None if this machine's clock agrees with the database's: then ids also ascend within a millisecond.
    """
    database_time = now.timestamp()
    return None if abs(database_time - time.time()) < CLOCK_TOLERANCE_SECONDS else int(database_time * 1e9)


def _hint(name: str, known: Collection[str], errors: FieldErrors) -> str:
    """The most similar known name, and all of them if they are few."""
    return errors.propose(name, known) + (f"; known are {', '.join(sorted(known))}" if 0 < len(known) <= LISTED_NAMES else "")


def _times(task: CreateTask, now: datetime, errors: FieldErrors) -> tuple[datetime | None, datetime | None]:
    """`run_at` and `deadline`; the deadline must come after the earliest start by the database's clock."""
    run_at, deadline = read_times(task, errors)
    starts = max(now, run_at) if run_at is not None else now + timedelta(seconds=task.delay or 0.0)
    if deadline is not None and deadline <= now:
        errors.add("deadline", "must be in the future")
    elif deadline is not None and deadline <= starts:
        errors.add("deadline", "must be later than the time at which the task may run")
    return run_at, deadline
