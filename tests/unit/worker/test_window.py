"""The window of suspects: who may run beside whom, and how long the others wait. Time is in the test's hands."""

import random
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast
from uuid import UUID, uuid4

import pytest

from waggle.store.tasks import PassedOver
from waggle.task import Fence
from waggle_worker.run import ENDED, RUNNING, Run
from waggle_worker.window import CLOSES_AFTER_SECONDS, GATHER_SECONDS, LONGEST_WAIT_SECONDS, TRIAL_SECONDS, Window

START = datetime(2026, 1, 1, tzinfo=UTC)
RETRIES = 3


class Worker:
    """One process: its window, and the suspects that run in it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.unsettled: set[Fence] = set()
        self.running: dict[UUID, Run] = {}
        self.window = Window(self.unsettled.__contains__, lambda: self.now)

    def ask(self, *suspects: PassedOver) -> tuple[list[UUID], dict[UUID, float]]:
        """Those that are admitted start."""
        admitted, waits = self.window.admit(suspects)
        for task_id in admitted:
            self.window.claimed(fence(task_id))
            run = cast("Run", SimpleNamespace(claimed=SimpleNamespace(id=task_id), state=RUNNING, since=self.now, is_open=True))
            self.running[task_id] = run
            self.window.add(run)
        return admitted, waits

    def end(self, task_id: UUID, *, settled: bool = True) -> None:
        run = self.running.pop(task_id)
        self.window.ended(run)
        run.state, vars(run)["is_open"] = ENDED, False
        if not settled:
            self.unsettled.add(fence(task_id))


def fence(task_id: UUID) -> Fence:
    return Fence(task_id, 2, "w1", START)


def suspect(lost_count: int = 1, *, last_try: bool = False, started: float = 0.0) -> PassedOver:
    return PassedOver(uuid4(), "demo.echo", lost_count, last_try, START + timedelta(seconds=started))


@pytest.fixture
def worker() -> Worker:
    """Its window is open: a first suspect has come and gone."""
    made = Worker()
    made.ask(suspect())
    made.now += GATHER_SECONDS + 0.5
    return made


def test_the_first_suspects_wait_a_moment_for_those_that_were_lost_with_them() -> None:
    worker = Worker()
    one = suspect()
    admitted, waits = worker.ask(one)
    assert admitted == []
    assert GATHER_SECONDS <= waits[one.id] < 2 * GATHER_SECONDS


def test_one_runs_first_and_two_when_it_has_ended(worker: Worker) -> None:
    some = [suspect() for _ in range(5)]
    [first], waits = worker.ask(*some)
    assert len(waits) == 4
    worker.end(first)
    worker.now += 0.5
    admitted, _ = worker.ask(*(one for one in some if one.id != first))
    assert len(admitted) == 2


def test_one_that_has_run_for_its_trial_counts_as_one_that_ended(worker: Worker) -> None:
    [first], _ = worker.ask(suspect())
    worker.now += TRIAL_SECONDS - 0.01
    assert worker.ask(suspect())[0] == []
    worker.now += 1.0
    assert len(worker.ask(suspect(), suspect(), suspect())[0]) == 2
    assert first in worker.running


def test_a_trial_is_twice_as_long_after_each_loss_and_one_lost_less_often_proves_nothing_for_it(worker: Worker) -> None:
    for _ in range(3):
        [first], _ = worker.ask(suspect(1))
        worker.end(first)
        worker.now += 3.0
    assert len(worker.ask(suspect(2), suspect(2))[0]) == 1
    worker.now += 1.9 * TRIAL_SECONDS
    assert worker.ask(suspect(2))[0] == []


def test_those_that_were_lost_least_often_come_first_and_of_these_the_one_that_started_last(worker: Worker) -> None:
    early, late, twice = suspect(started=1.0), suspect(started=2.0), suspect(2, started=3.0)
    assert worker.ask(twice, early, late)[0] == [late.id]


def test_one_that_was_lost_more_often_waits_for_those_that_wait(worker: Worker) -> None:
    [first], _ = worker.ask(suspect(1), suspect(1))
    worker.end(first)
    assert worker.ask(suspect(2))[0] == []


def test_one_on_its_last_try_runs_alone(worker: Worker) -> None:
    [other], _ = worker.ask(suspect())
    worker.now += 1.0  # there is room for a second one
    last = suspect(3, last_try=True)
    admitted, waits = worker.ask(last)
    assert admitted == []
    worker.end(other)
    worker.now += waits[last.id]
    assert worker.ask(last)[0] == [last.id]
    assert worker.ask(suspect())[0] == []
    worker.now += 1000.0
    assert worker.ask(suspect())[0] == [], "the trial of one on its last try ends with it"


def test_a_suspect_is_here_until_its_outcome_is_settled(worker: Worker) -> None:
    [first], _ = worker.ask(suspect())
    worker.end(first, settled=False)
    last = suspect(3, last_try=True)
    admitted, waits = worker.ask(last)
    assert admitted == []
    worker.unsettled.clear()
    worker.now += waits[last.id]
    assert worker.ask(last)[0] == [last.id]


def test_a_suspect_that_was_not_claimed_after_all_leaves(worker: Worker) -> None:
    [gone], _ = worker.window.admit([suspect(3, last_try=True)])
    worker.window.release([gone])
    assert len(worker.ask(suspect())[0]) == 1


def test_the_window_is_small_again_after_a_time_without_suspects(worker: Worker) -> None:
    for one in worker.ask(suspect())[0]:
        worker.end(one)
    both, _ = worker.ask(suspect(), suspect())
    assert len(both) == 2
    for one in both:
        worker.end(one)
    worker.now += CLOSES_AFTER_SECONDS + 1.0
    assert worker.ask(suspect())[0] == []
    worker.now += 1.0
    assert len(worker.ask(suspect(), suspect())[0]) == 1


def test_ten_thousand_that_wait_look_seldom(worker: Worker) -> None:
    _, waits = worker.ask(*(suspect() for _ in range(10_000)))
    assert max(waits.values()) <= LONGEST_WAIT_SECONDS
    assert sum(wait <= 1.0 for wait in waits.values()) < 300


@pytest.mark.parametrize("seed", range(20))
def test_several_poisons_among_hundreds_cost_no_neighbour_its_last_try(seed: int) -> None:
    """A process is started again at once, poisons kill it within three seconds; no neighbour on its last try dies with them, and all is done soon."""
    dice = random.Random(seed)  # noqa: S311  # repeatable, not secret
    poisons = {uuid4() for _ in range(dice.randint(1, 4))}
    lost = dict.fromkeys([*poisons, *(uuid4() for _ in range(300))], 1)
    seconds = {task_id: dice.choice([0.02, 0.3, 3.0]) for task_id in lost}
    worker, due, began = Worker(), dict.fromkeys(lost, 0.0), 0.0
    while due or worker.running:
        worker.now, began = worker.now + 0.02, began + 0.02
        ready = [PassedOver(one, "t", lost[one], lost[one] >= RETRIES, START) for one, at in due.items() if at <= worker.now]
        admitted, waits = worker.ask(*ready)
        for one in admitted:
            del due[one]
        due.update({one: worker.now + wait for one, wait in waits.items()})
        over = [one for one, run in worker.running.items() if worker.now - run.since >= seconds[one]]
        killer = next((one for one in over if one in poisons), None)
        if killer is None:
            for one in over:
                worker.end(one)
            continue
        for one in worker.running:
            assert lost[one] < RETRIES or one == killer, "a neighbour on its last try"
            if lost[one] < RETRIES:
                lost[one] += 1
                due[one] = worker.now
        again = Worker()
        again.now = worker.now
        worker = again
    assert began < 600
