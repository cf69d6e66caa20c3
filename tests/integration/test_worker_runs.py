"""The runs of a worker: each one ends, whatever its handler does and whenever it is stopped, and gives its slot free."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

import pytest

from support.facts import until
from waggle import App, Reject
from waggle.task import Claimed, Ended, Fence, Step
from waggle_worker.runs import Runs
from waggle_worker.settler import Settler

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


@app.task("patient")
async def patient() -> None:
    await asyncio.Event().wait()


@app.task("stuck")
def stuck() -> None:
    _stuck_until.wait()


@pytest.fixture
def let_go() -> Iterator[None]:
    """Threads that are stuck end with the test."""
    _stuck_until.clear()
    yield
    _stuck_until.set()


class Settled:
    """In the settler's place: what the runs came to."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def add(self, fence: Fence, step: Step, task_type: str) -> None:  # noqa: ARG002  # the settler's shape
        self.steps.append(step)


def runs_into(settled: Settled) -> Runs:
    return Runs(app.handlers, cast("Settler", settled), 10, lambda: None)


def claimed(task_type: str, **fields: Any) -> Claimed:
    now = datetime.now(UTC)
    values: dict[str, Any] = {
        "id": uuid4(), "attempt": 1, "started_at": now, "type": task_type, "payload": "{}", "timeout": 30.0, "retry_count": 0, "max_retries": 3,
        "lost_count": 0, "queue": "default", "priority": 1, "description": "", "metadata": "{}", "created": now, "run_at": now, "deadline": None,
        "unique_key": None, "traceparent": None,
    }  # fmt: skip
    return Claimed(**{**values, **fields})


@pytest.mark.parametrize("task_type", ["wordless.async", "wordless.thread", "wordless.reject"])
async def test_a_run_ends_although_nobody_can_say_what_its_exception_says(task_type: str) -> None:
    settled = Settled()
    runs = runs_into(settled)
    runs.start(claimed(task_type), "w1")
    await until(lambda: not runs.running, 1.0)
    assert [step.ended for step in settled.steps] == [Ended.FAILED]


async def test_a_run_that_is_stopped_before_its_first_step_gives_its_slot_free() -> None:
    runs = runs_into(Settled())
    runs.start(claimed("patient"), "w1")
    runs.stop(runs.attempts, "cancelled")
    await until(lambda: not runs.running, 1.0)


async def test_a_run_that_is_given_back_before_its_first_step_is_settled_at_once() -> None:
    settled = Settled()
    runs = runs_into(settled)
    runs.start(claimed("patient"), "w1")
    runs.give_back()
    await until(lambda: not runs.running, 1.0)
    assert [step.ended for step in settled.steps] == [Ended.GIVEN_BACK]


async def test_a_claim_that_is_answered_after_the_grace_time_is_given_back_without_a_start() -> None:
    settled = Settled()
    runs = runs_into(settled)
    runs.give_back()
    runs.start(claimed("patient"), "w1")
    assert (runs.running, [step.ended for step in settled.steps]) == (0, [Ended.GIVEN_BACK])


async def test_a_suspect_whose_thread_never_ends_does_not_keep_the_other_suspects_waiting(let_go: None) -> None:
    settled = Settled()
    runs = runs_into(settled)
    runs.start(claimed("stuck", lost_count=1, timeout=0.01), "w1")
    await until(lambda: settled.steps, 1.0)
    runs.start(claimed("patient", lost_count=1), "w1")
    assert (runs.running, [step.ended for step in settled.steps]) == (2, [Ended.FAILED])
    runs.stop(runs.attempts, "the end of the test")
