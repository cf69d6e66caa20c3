"""Claims, settles, cancels, deadlines, time and lost workers in orders that hypothesis generates, some concurrent: the database against a small model.

Final statuses stay, attempts rise, one of several changes of a task wins, and every caller gets a true answer.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar
from uuid import UUID

import asyncpg
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule, run_state_machine_as_test

from support import given
from support.fleet import FleetSettings
from support.journal import check_journal, keep_journal
from support.scale import SEED, dice, figures, sized
from waggle.errors import ErrorCode, TaskError
from waggle.repair.reclaim import reclaim
from waggle.store import postgres as store
from waggle.store import tasks, waiting
from waggle.task import Done, Failed, Fence, Lost, Outcome, Snoozed, Status, Tries, decide

Pool = asyncpg.Pool
T = TypeVar("T")

EXAMPLES, STEPS = sized((60, 40), (1_000, 60))
ERROR = TaskError(ErrorCode.TASK_EXECUTION_FAILED, "it failed", retryable=True)
OUTCOMES: tuple[Outcome, ...] = (Done("1"), Failed(ERROR), Failed(ERROR, after=0.0), Snoozed(0.0), Snoozed(60.0))


@dataclass
class Row:
    """A task in the model."""

    max_retries: int
    status: Status = Status.PENDING
    attempt: int = 0
    retry_count: int = 0
    fence: Fence | None = None
    is_due: bool = True
    is_late: bool = False

    @property
    def is_claimable(self) -> bool:
        return self.status is Status.PENDING and self.is_due and not self.is_late

    def settle(self, outcome: Outcome) -> None:
        step = decide(outcome, Tries(self.retry_count, self.max_retries))
        self.status, self.fence, self.is_due = step.status, None, step.delay == 0
        self.retry_count += step.counted

    def end(self, status: Status) -> None:
        self.status, self.fence = status, None


class Store(RuleBasedStateMachine):
    """One worker id is one lease; fences stay in their bundle, so that stale ones are used as often as live ones."""

    runner: ClassVar[asyncio.Runner]
    pool: ClassVar[Pool]
    examples: ClassVar[int] = 0

    ids, workers, fences = Bundle("ids"), Bundle("workers"), Bundle("fences")

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)

    def __init__(self) -> None:
        super().__init__()
        type(self).examples += 1
        self.rows: dict[UUID, Row] = {}
        self.alive: dict[str, bool] = {}
        self.run(self.pool.execute("TRUNCATE waggle.tasks, waggle.task_attempts, waggle.workers"))

    @initialize(target=ids)
    def some_tasks(self) -> Any:
        return multiple(*(self.submit_one(1) for _ in range(3)))

    @initialize(target=workers)
    def two_workers(self) -> Any:
        return multiple(self.register(), self.register())

    @rule(target=ids, max_retries=st.integers(0, 2))
    def submit(self, max_retries: int) -> UUID:
        return self.submit_one(max_retries)

    def submit_one(self, max_retries: int) -> UUID:
        (task_id,) = self.run(given.waiting(self.pool, max_retries=max_retries))
        self.rows[task_id] = Row(max_retries)
        return task_id

    @rule(target=workers)
    def begin_worker(self) -> str:
        return self.register()

    def register(self) -> str:
        name = f"w{len(self.alive)}"
        self.run(given.alive(self.pool, name))
        self.alive[name] = True
        return name

    @rule(worker=workers)
    def lose_worker(self, worker: str) -> None:
        self.run(given.gone(self.pool, worker))
        self.alive[worker] = False

    @rule(target=fences, wanted=st.lists(ids, min_size=1, max_size=5, unique=True), worker=workers)
    def claim(self, wanted: list[UUID], worker: str) -> Any:
        expected = {task_id for task_id in wanted if self.rows[task_id].is_claimable} if self.alive[worker] else set()
        claimed = self.run(tasks.claim(self.pool, wanted, worker))
        assert {one.id for one in claimed} == expected
        for one in claimed:
            row = self.rows[one.id]
            assert (one.attempt, one.retry_count) == (row.attempt + 1, row.retry_count)
            row.status, row.attempt, row.fence = Status.RUNNING, one.attempt, given.fence(one, worker)
        return multiple(*(given.fence(one, worker) for one in claimed))

    @rule(fence=fences, outcome=st.sampled_from(OUTCOMES))
    def settle(self, fence: Fence, outcome: Outcome) -> None:
        row = self.rows[fence.id]
        step = decide(outcome, Tries(row.retry_count, row.max_retries))
        settled = self.run(tasks.settle(self.pool, [(fence, step)]))
        assert bool(settled) == (row.fence == fence)
        if settled:
            row.settle(outcome)

    @rule(task_id=ids)
    def cancel(self, task_id: UUID) -> None:
        row = self.rows[task_id]
        cancelled = self.run(tasks.cancel(self.pool, task_id))
        assert (cancelled.was if cancelled else None) == (row.status if row.status in (Status.PENDING, Status.RUNNING) else None)
        if cancelled:
            row.end(Status.CANCELLED)

    @rule(task_id=ids)
    def time_comes(self, task_id: UUID) -> None:
        self.run(given.change(self.pool, task_id, "run_at = now() - interval '1 s'"))
        self.rows[task_id].is_due = True

    @rule(task_id=ids)
    def deadline_passes(self, task_id: UUID) -> None:
        self.run(given.change(self.pool, task_id, "deadline = now() - interval '1 s'"))
        self.rows[task_id].is_late = True

    @rule()
    def fail_overdue(self) -> None:
        late = {task_id for task_id, row in self.rows.items() if row.is_late and row.status in (Status.PENDING, Status.RUNNING)}
        assert {one.id for one in self.run(waiting.fail_overdue(self.pool, 1000))} == late
        for task_id in late:
            self.rows[task_id].end(Status.FAILED)

    @rule()
    def take_back(self) -> None:
        lost = {row.fence for row in self.rows.values() if row.fence and not self.alive[row.fence.worker_id]}
        assert {task.fence for task in self.run(reclaim(self.pool, 100))} == lost
        for fence in lost:
            self.rows[fence.id].settle(Lost())

    @rule(fence=fences, outcome=st.sampled_from(OUTCOMES))
    def everybody_at_once(self, fence: Fence, outcome: Outcome) -> None:
        """The holder settles, a user cancels, the loops run: the answer to each must fit what happened."""
        row = self.rows[fence.id]
        held, had_ended = row.fence == fence, row.status not in (Status.PENDING, Status.RUNNING)
        step = decide(outcome, Tries(row.retry_count, row.max_retries))
        told = self.run(self._at_once(fence, step))
        settled, cancelled, overdue, taken = (bool(one) for one in told)
        found = self.run(given.row(self.pool, fence.id))
        became = Status(str(found["status"]))
        assert held or not settled
        assert settled + taken <= 1, "an attempt was both settled and reclaimed"
        assert (became is Status.CANCELLED) == (cancelled or (had_ended and row.status is Status.CANCELLED))
        assert not (had_ended and (settled or cancelled or overdue or taken)), "a task changed after its end"
        assert cancelled + overdue + (settled and step.status is Status.COMPLETED) <= 1, "two ended one task"
        self._look_again()

    async def _at_once(self, fence: Fence, step: Any) -> tuple[Any, ...]:
        async def overdue() -> bool:
            return fence.id in {one.id for one in await waiting.fail_overdue(self.pool, 1000)}

        async def taken() -> bool:
            return fence in {task.fence for task in await reclaim(self.pool, 100)}

        return await asyncio.gather(tasks.settle(self.pool, [(fence, step)]), tasks.cancel(self.pool, fence.id), overdue(), taken())

    def _look_again(self) -> None:
        """After a race the model takes the state of the database; the journal checks how it was reached."""
        for found in self.run(self.pool.fetch("SELECT id, status, retry_count, run_at <= now() AS is_due FROM waggle.tasks")):
            row = self.rows[found["id"]]
            row.status, row.retry_count, row.is_due = Status(found["status"]), found["retry_count"], found["is_due"]
            if row.status is not Status.RUNNING:
                row.fence = None

    @invariant()
    def the_database_says_what_the_model_says(self) -> None:
        found = self.run(self.pool.fetch("SELECT id, status, attempt, retry_count, worker_id, started_at FROM waggle.tasks"))
        assert {row["id"] for row in found} == self.rows.keys()
        for row in found:
            known = self.rows[row["id"]]
            assert (row["status"], row["attempt"], row["retry_count"]) == (known.status, known.attempt, known.retry_count)
            if known.fence:
                assert Fence(row["id"], row["attempt"], row["worker_id"], row["started_at"]) == known.fence


def test_whatever_comes_in_whatever_order(database: str) -> None:
    dice()
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            Store.runner = runner
            Store.pool = runner.run(stack.enter_async_context(store.pool(FleetSettings(postgres_url=database, nats_url="nats://not.used"), "test", 5)))
            runner.run(keep_journal(Store.pool))
            run_state_machine_as_test(
                seed(SEED)(Store),
                settings=settings(max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, database=None, suppress_health_check=list(HealthCheck)),
            )
            moves = runner.run(check_journal(Store.pool))
        finally:
            runner.run(stack.aclose())
    assert sum(moves.values()) > EXAMPLES
    figures("the store against its model", examples=Store.examples, moves=sum(moves.values()), kinds_of_moves=len(moves))
