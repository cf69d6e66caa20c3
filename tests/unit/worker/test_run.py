"""A run's states: every event in every state goes where the table says, and settles what it should."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import MappingProxyType
from uuid import uuid4

import pytest

from waggle.app import App, Handler
from waggle.bus.access import NatsAccess
from waggle.bus.connection import Bus
from waggle.errors import ErrorCode
from waggle.settings.services import WorkerSettings
from waggle.task import Claimed, Done, Failed, Outcome, Snoozed
from waggle_worker.outcomes import GIVEN_BACK
from waggle_worker.protect.breakers import Breakers
from waggle_worker.run import NEXT, OPEN, Run, RunState

S = RunState
DONE, FAILURE = Done('"result"'), Snoozed(3.0)
TIMEOUT = "a timeout"
app = App()


@app.task("some")
async def some() -> None: ...


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@pytest.fixture
def handler() -> Handler:
    return app.handlers["some"]


@pytest.fixture
def run(handler: Handler, loop: asyncio.AbstractEventLoop) -> Run:
    now = datetime.now(UTC)
    claimed = Claimed(uuid4(), 1, now, "some", "{}", 30.0, 0, 3, 0, "default", 1, "", "{}", now, now, None, None, None, None)
    return Run(claimed, handler, "w1", Breakers(Bus(NatsAccess([]), "nobody"), WorkerSettings(postgres_url="x", nats_url="x")), loop)


REACH: dict[RunState, list[Callable[[Run], object]]] = {
    S.WAITING: [],
    S.RUNNING: [Run.begin],
    S.TIMED_OUT: [Run.begin, Run.time_out],
    S.GOING_BACK: [Run.begin, Run.go_back],
    S.LET_GO: [Run.begin, Run.stop],
    S.ENDED: [Run.begin, lambda run: run.end(DONE)],
}
EVENTS: dict[str, Callable[[Run], Outcome | None]] = {
    "begin": Run.begin,
    "time_out": Run.time_out,
    "go_back": Run.go_back,
    "stop": Run.stop,
    "let_go": Run.let_go,
    "end": lambda run: run.end(FAILURE),
}  # fmt: skip
LEADS_TO = MappingProxyType(
    {  # columns: begin, time_out, go_back, stop, let_go, end; None: it cannot happen there
        S.WAITING: (S.RUNNING, None, S.GOING_BACK, S.LET_GO, None, S.ENDED),
        S.RUNNING: (None, S.TIMED_OUT, S.GOING_BACK, S.LET_GO, None, S.ENDED),
        S.GOING_BACK: (S.GOING_BACK, S.TIMED_OUT, S.GOING_BACK, S.LET_GO, S.LET_GO, S.ENDED),
        S.TIMED_OUT: (None, None, S.TIMED_OUT, S.LET_GO, S.LET_GO, S.ENDED),
        S.LET_GO: (S.LET_GO, S.LET_GO, S.LET_GO, None, None, S.ENDED),
        S.ENDED: (None,) * 6,
    }
)  # fmt: skip


def in_state(run: Run, state: RunState) -> Run:
    for event in REACH[state]:
        event(run)
    assert run.state is state
    return run


@pytest.mark.parametrize(("state", "event", "to"), [(state, event, to) for state, row in LEADS_TO.items() for event, to in zip(EVENTS, row, strict=True) if to])
def test_an_event_leads_where_it_should(run: Run, state: RunState, event: str, to: RunState) -> None:
    EVENTS[event](in_state(run, state))
    assert run.state is to


def test_the_table_holds_these_ways_and_no_other() -> None:
    walked = {state: {to for to in row if to is not None and to is not state} for state, row in LEADS_TO.items()}
    assert walked == {state: set(to) for state, to in NEXT.items()}


@pytest.mark.parametrize(("event", "state"), [("end", S.ENDED), ("stop", S.ENDED), ("let_go", S.ENDED), ("stop", S.LET_GO)])
def test_what_the_table_does_not_hold_is_an_error(run: Run, event: str, state: RunState) -> None:
    with pytest.raises(RuntimeError, match=f"a run that is {state} cannot become"):
        EVENTS[event](in_state(run, state))


@pytest.mark.parametrize(
    ("state", "returned", "settled"),
    [
        (S.WAITING, FAILURE, FAILURE),
        (S.RUNNING, DONE, DONE),
        (S.RUNNING, FAILURE, FAILURE),
        (S.TIMED_OUT, DONE, TIMEOUT),
        (S.TIMED_OUT, FAILURE, TIMEOUT),
        (S.GOING_BACK, DONE, DONE),
        (S.GOING_BACK, FAILURE, GIVEN_BACK),
        (S.LET_GO, DONE, None),
        (S.LET_GO, FAILURE, None),
    ],
)
def test_what_it_comes_to_depends_on_where_it_stands(run: Run, state: RunState, returned: Outcome, settled: Outcome | str | None) -> None:
    outcome = in_state(run, state).end(returned)
    if settled == TIMEOUT:
        assert isinstance(outcome, Failed)
        assert outcome.error.code is ErrorCode.TASK_TIMEOUT
    else:
        assert outcome == settled


def test_a_run_that_goes_on_without_its_handler_is_settled_once(run: Run) -> None:
    assert in_state(run, S.GOING_BACK).let_go() == GIVEN_BACK
    assert run.end(DONE) is None


def test_its_handler_hears_of_a_stop_in_every_state_but_the_wanted_ones(run: Run) -> None:
    heard = []
    for event in (Run.begin, Run.go_back, Run.time_out, Run.let_go):
        heard.append(run.context().cancelled)
        event(run)
    assert heard == [False, False, True, True]
    assert run.context().cancelled
    assert {S.WAITING, S.RUNNING, S.GOING_BACK, S.TIMED_OUT} == OPEN
