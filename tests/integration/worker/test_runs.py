"""The runs of a worker: each one ends, whatever its handler does and whenever it is stopped, and gives its slot free."""

import asyncio
import functools
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from support import given
from support.facts import until
from support.fleet import FleetSettings
from support.processes import TESTS
from waggle import App, Context, Reject
from waggle.bus.access import NatsAccess
from waggle.bus.breakers import State
from waggle.bus.connection import Bus
from waggle.store.client import Connection
from waggle.store.tasks import PassedOver
from waggle.task import AttemptOutcome, Claimed, Fence, Step
from waggle_worker.attempt_log import LogLimits
from waggle_worker.misfits import Misfits
from waggle_worker.processes.children import HandlerProcesses
from waggle_worker.protect.breakers import Breakers
from waggle_worker.runs import Runs
from waggle_worker.settler import Settler, Traced
from waggle_worker.window import Window

NOBODY = Bus(NatsAccess(["nats://127.0.0.1:1"]), "nobody")
SETTINGS = FleetSettings(postgres_url="", nats_url="", app="support.handlers:app")
app = App()
_stuck_until = threading.Event()


class WordlessError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@app.task("wordless.async")
async def wordless_async() -> None:
    raise WordlessError


@app.task("wordless.thread")
def wordless_thread() -> None:
    raise WordlessError


@app.task("wordless.reject")
async def wordless_reject() -> None:
    raise Reject(cast("str", ValueError("an exception, not a text")))


tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


@app.task("tenant")
async def sets_tenant(name: str) -> str:
    before = tenant.get()
    tenant.set(name)
    return before


@app.task("tenant.wrapped")
@functools.wraps(sets_tenant)
def sets_tenant_wrapped(*args: Any, **fields: Any) -> Any:
    return sets_tenant(*args, **fields)


@app.task("patient")
async def patient() -> None:
    await asyncio.Event().wait()


@app.task("process", process=True)
def in_a_process() -> None: ...


@app.task("behind", breaker="whole")
async def behind() -> None: ...


@app.task("leaks")
async def leaks(ctx: Context) -> None:
    await ctx.breaker("leaky").__aenter__()


@app.task("stuck")
def stuck() -> None:
    _stuck_until.wait()


@pytest.fixture
def let_go() -> Iterator[None]:
    """Threads that are stuck end with the test."""
    _stuck_until.clear()
    yield
    _stuck_until.set()


class Settled(Settler):
    """A settler that keeps what the runs came to."""

    def __init__(self) -> None:
        super().__init__(cast("Connection", None), NOBODY, {}, asyncio.Event())
        self.steps: list[Step] = []

    def holds(self, fence: Fence) -> bool:  # noqa: ARG002  # the settler's shape
        return False

    def add(self, fence: Fence, step: Step, task_type: str, queue: str, traced: Traced | None = None) -> None:  # noqa: ARG002  # the settler's shape
        self.steps.append(step)


def runs_into(
    settled: Settled,
    breakers: Breakers | None = None,
    may_start: Callable[[str], bool] = lambda _: True,
    processes: HandlerProcesses | None = None,
    slot_freed: Callable[[], object] = lambda: None,
) -> Runs:
    breakers, processes = breakers or Breakers(NOBODY, SETTINGS), processes or HandlerProcesses(SETTINGS)
    window = Window(settled.holds)
    misfits = Misfits(cast("Connection", None), settled, {})  # nobody reads it here
    return Runs(app.handlers, settled, misfits, 10, processes, breakers, window, may_start, slot_freed, asyncio.Event(), LogLimits(10, 1000))


def half_open(name: str) -> Breakers:
    """The breakers of a worker without NATS; the next call through this one is its probe."""
    breakers = Breakers(NOBODY, SETTINGS)
    breakers.of(name).becomes(State.OPEN, 0.0)
    return breakers


def claimed(task_type: str, **fields: Any) -> Claimed:
    now = datetime.now(UTC)
    values: dict[str, Any] = {
        "id": uuid4(), "attempt": 1, "started_at": now, "type": task_type, "payload": "{}", "timeout": 30.0, "retry_count": 0, "max_retries": 3,
        "lost_count": 0, "queue": "default", "priority": 1, "description": "", "metadata": "{}", "created": now, "run_at": now, "deadline": None,
        "unique_key": None, "traceparent": None, "tracestate": None,
    }  # fmt: skip
    return Claimed(**{**values, **fields})


def suspect(*, last_try: bool = False) -> PassedOver:
    return PassedOver(uuid4(), "stuck", 1, last_try, datetime.now(UTC))


async def admitted(runs: Runs, one: PassedOver) -> list[UUID]:
    """Ask until the window has opened."""
    return await until(lambda: runs.window.admit([one])[0])


@pytest.mark.parametrize("task_type", ["wordless.async", "wordless.thread", "wordless.reject"])
async def test_a_run_ends_although_nobody_can_say_what_its_exception_says(task_type: str) -> None:
    settled = Settled()
    runs = runs_into(settled)
    runs.start(claimed(task_type), "w1")
    await until(lambda: not runs.running)
    assert [step.ended for step in settled.steps] == [AttemptOutcome.FAILED]


async def test_a_run_that_starts_where_another_one_ends_has_nothing_of_its_context() -> None:
    waiting = [claimed(kind, payload=f'{{"name": "{name}"}}') for kind in ("tenant", "tenant.wrapped") for name in ("anna", "bert", "carl")]
    settled = Settled()
    runs = runs_into(settled, slot_freed=lambda: waiting and runs.start(waiting.pop(0), "w1"))
    runs.start(waiting.pop(0), "w1")
    await until(lambda: len(settled.steps) == 6, 5.0)
    assert [step.result for step in settled.steps] == ['"nobody"'] * 6


async def test_a_run_that_is_stopped_before_its_first_step_gives_its_slot_free() -> None:
    runs = runs_into(Settled())
    runs.start(claimed("patient"), "w1")
    runs.stop(runs.attempts, "cancelled")
    await until(lambda: not runs.running)


async def test_a_run_that_is_given_back_before_its_first_step_is_settled_at_once() -> None:
    settled = Settled()
    runs = runs_into(settled)
    runs.start(claimed("patient"), "w1")
    runs.give_back()
    await until(lambda: not runs.running)
    assert [step.ended for step in settled.steps] == [AttemptOutcome.GIVEN_BACK]


async def test_a_claim_that_is_answered_after_the_grace_time_is_given_back_without_a_start() -> None:
    settled = Settled()
    runs = runs_into(settled)
    runs.give_back()
    runs.start(claimed("patient"), "w1")
    assert (runs.running, [step.ended for step in settled.steps]) == (0, [AttemptOutcome.GIVEN_BACK])


async def test_a_suspect_whose_thread_never_ends_does_not_keep_the_other_suspects_waiting(let_go: None) -> None:
    settled = Settled()
    runs = runs_into(settled)
    last = suspect(last_try=True)
    assert await admitted(runs, last) == [last.id]
    task = claimed("stuck", id=last.id, lost_count=1, timeout=0.01)
    runs.window.claimed(given.fence(task))
    runs.start(task, "w1")
    other = suspect()
    assert runs.window.admit([other])[0] == []
    await until(lambda: settled.steps)
    assert await admitted(runs, other) == [other.id]
    assert runs.running == 1


@pytest.mark.parametrize("task_type", ["patient", "process"])
async def test_a_handler_does_not_start_once_its_lease_is_no_longer_believed_live(task_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TESTS)  # a process finds its module from there
    settled = Settled()
    processes = HandlerProcesses(SETTINGS)
    runs = runs_into(settled, may_start=lambda worker_id: worker_id != "w1", processes=processes)
    runs.start(claimed(task_type), "w1")
    await until(lambda: not runs.running, 20.0)
    await processes.close()
    assert [(step.ended, step.counted) for step in settled.steps] == [(AttemptOutcome.GIVEN_BACK, False)]


async def test_a_probe_does_not_start_once_its_lease_is_no_longer_believed_live_and_leaves_the_probe_to_others() -> None:
    settled, breakers = Settled(), half_open("whole")
    runs = runs_into(settled, breakers, may_start=lambda _: False)
    runs.start(claimed("behind"), "w1")
    await until(lambda: not runs.running)
    assert [step.ended for step in settled.steps] == [AttemptOutcome.GIVEN_BACK]
    assert breakers.of("whole").token is None


async def test_a_breaker_that_a_handler_entered_and_never_left_is_left_with_its_end() -> None:
    settled, breakers = Settled(), half_open("leaky")
    runs = runs_into(settled, breakers)
    runs.start(claimed("leaks"), "w1")
    await until(lambda: not runs.running)
    assert [step.ended for step in settled.steps] == [AttemptOutcome.COMPLETED]
    assert (breakers.of("leaky").state, breakers.of("leaky").token) == (State.OPEN, None)
