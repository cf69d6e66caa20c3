"""Group commit: submissions that arrive together are committed together, answered after the commit, then rung together.

A submission that Postgres refuses fails alone. While Postgres does not answer, a group is retried with the same ids for COMMIT_RETRY_SECONDS. Large
submissions have queues of their own, so that small ones never wait for the statement of a large one.
"""

import asyncio
import collections
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Final

import asyncpg
import structlog

from waggle import failpoint
from waggle.bus import due, events
from waggle.bus.connection import Bus
from waggle.bus.events import TaskEvent
from waggle.bus.ring import Ringer
from waggle.store.client import PooledConnection
from waggle.store.idempotency import Key
from waggle.store.postgres import POSTGRES_OUTAGE, REFUSED
from waggle.store.tasks import NewTask
from waggle.task import Status
from waggle.telemetry.catalogue import OTHER
from waggle.telemetry.traces import SpanKind, SpanShape, record
from waggle_api import metrics
from waggle_api.connections import borrowed
from waggle_api.refusals import Unavailable
from waggle_api.submit.catalogue import Catalogue
from waggle_api.submit.gathering import Gathering, Pending
from waggle_api.submit.insertion import Accepted, Admitted, Written, insert_plain
from waggle_api.submit.keyed import insert_keyed

log = structlog.get_logger()

COMMIT_RETRY_SECONDS: Final = 5.0
PAUSE_SECONDS: Final = 0.05  # doubled after each try
PAUSE_LIMIT_SECONDS: Final = 0.5
COMMITS_IN_FLIGHT: Final = 2
LARGE_COMMITS_IN_FLIGHT: Final = 3
LARGE_BYTES: Final = 256 << 10  # of one submission
NO_ANSWER: Final = "the database does not answer; the task may or may not have been accepted"

OUTAGE_OR_BUSY: Final[tuple[type[Exception], ...]] = (Unavailable, *POSTGRES_OUTAGE)

COMMIT: Final = SpanShape("commit", SpanKind.CLIENT, {"db.system.name": "postgresql", "db.operation.name": "tasks/insert"})

Insert = Callable[[PooledConnection, Sequence[Admitted], bool], Awaitable[Written]]


class Committer:
    """Commits submissions. `run` is its loop; `drained` returns once everything that was accepted is committed and rung."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", bus: Bus, ringer: Ringer, catalogue: Catalogue) -> None:
        self._pool, self._bus, self._ringer, self._catalogue = pool, bus, ringer, catalogue
        in_flight = (COMMITS_IN_FLIGHT, LARGE_COMMITS_IN_FLIGHT)
        self._plain, self._large_plain = (Gathering(partial(self._commit_group, insert_plain), count) for count in in_flight)
        self._keyed, self._large_keyed = (Gathering(partial(self._commit_group, insert_keyed), count) for count in in_flight)

    async def commit(self, tasks: list[NewTask], key: Key | None) -> Accepted:
        """Commit these tasks, all or none. Raises a Refusal or one of REFUSED."""
        pending = Pending(Admitted(tasks, key))
        is_keyed = key is not None or any(new.unique_key is not None for new in tasks)
        small, large = (self._keyed, self._large_keyed) if is_keyed else (self._plain, self._large_plain)
        (large if pending.bytes > LARGE_BYTES else small).add(pending)
        return await pending.answer

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._plain.run(), name="plain submissions")
            group.create_task(self._keyed.run(), name="keyed submissions")
            group.create_task(self._large_plain.run(), name="large plain submissions")
            group.create_task(self._large_keyed.run(), name="large keyed submissions")

    async def drained(self) -> None:
        for gathering in (self._plain, self._keyed, self._large_plain, self._large_keyed):
            await gathering.drained()

    async def _commit_group(self, insert: Insert, group: list[Pending]) -> None:
        """Answer every submission of a group, then ring what is new."""
        try:
            written = await self._persist(insert, group)
        except REFUSED as error:
            await self._apart(insert, group, error)
        except Exception as error:  # it belongs to these callers: their requests answer and log it
            _answer_all(group, error)
        else:
            failpoint.passed("api.committed")
            self._count(written)
            for pending, outcome in zip(group, written.outcomes, strict=True):
                _answer(pending, outcome)
            await asyncio.sleep(0)  # the answers first
            failpoint.passed("api.answered")
            await self._ringer.ring(written.doorbells)
            if events.wants(self._bus, Status.PENDING):
                at = events.now()
                await events.tell(self._bus, (TaskEvent(new.id, new.type, new.queue, Status.PENDING, 0, at) for new in written.created))
            if (seconds := _until_due(written)) is not None:
                await due.announce(self._bus, seconds)
        finally:
            _answer_all(group, Unavailable(NO_ANSWER))  # for those left when this is cancelled

    async def _persist(self, insert: Insert, group: list[Pending]) -> Written:
        """Insert; retry with the same ids while Postgres is unavailable. Raises one of REFUSED, or Unavailable."""
        submissions = [pending.submission for pending in group]
        give_up, pause = group[0].arrived + COMMIT_RETRY_SECONDS, PAUSE_SECONDS
        while True:
            left = max(give_up - time.monotonic(), 1.0)
            try:
                began = time.time_ns()
                async with borrowed(self._pool, left) as connection:
                    written = await insert(connection, submissions, self._ringer.works)
                for pending in group:  # the commit of each, together with others
                    if pending.trace is not None and pending.trace.sampled:
                        record(COMMIT, pending.trace.child(), pending.trace, began, {"waggle.commit.tasks": len(written.created)})
                return written
            except REFUSED:
                raise
            except OUTAGE_OR_BUSY as error:
                if time.monotonic() + pause > give_up:
                    raise error if isinstance(error, Unavailable) else Unavailable(NO_ANSWER) from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, PAUSE_LIMIT_SECONDS)

    async def _apart(self, insert: Insert, group: list[Pending], error: Exception) -> None:
        """Halve a group that Postgres refused, until the submission to refuse is alone."""
        if len(group) == 1:
            log.info("submission refused by Postgres", tasks=len(group[0].submission.tasks), error=type(error).__name__)
            _answer_all(group, error)
            return
        log.info("group refused by Postgres, retrying its halves", submissions=len(group), error=type(error).__name__)
        half = len(group) // 2
        await self._commit_group(insert, group[:half])
        await self._commit_group(insert, group[half:])

    def _count(self, written: Written) -> None:
        metrics.COMMIT_BATCH.observe(len(written.created))
        known = self._catalogue.types
        if len(written.created) == 1:
            new = written.created[0]
            metrics.submitted(new.type if new.type in known else OTHER, new.queue).inc()
            return
        for (task_type, queue), count in collections.Counter([(new.type, new.queue) for new in written.created]).items():
            metrics.submitted(task_type if task_type in known else OTHER, queue).inc(count)


def _answer(pending: Pending, outcome: Accepted | Exception) -> None:
    if pending.answer.done():  # the caller has gone
        return
    if isinstance(outcome, Exception):
        pending.answer.set_exception(outcome)
    else:
        pending.answer.set_result(outcome)


def _answer_all(group: list[Pending], error: Exception) -> None:
    for pending in group:
        _answer(pending, error)


def _until_due(written: Written) -> float | None:
    """Seconds until the first of those tasks is due that have no doorbell; None when all have one."""
    if len(written.doorbells) == len(written.created):
        return None
    rung = {task_id for task_id, *_ in written.doorbells}
    later = [new for new in written.created if new.id not in rung]
    now = datetime.now(UTC)
    return min([new.delay if new.run_at is None else (new.run_at - now).total_seconds() for new in later], default=None)
