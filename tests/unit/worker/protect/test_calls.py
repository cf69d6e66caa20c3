"""What leaves the block of a circuit breaker, and whether it counts; on a worker without NATS."""

import asyncio
import contextlib
import threading
from collections.abc import Callable

import pytest

from support.fleet import FleetSettings
from waggle import BreakerOpen, Reject, Retry, Snooze
from waggle.app import App
from waggle.bus.access import NatsAccess
from waggle.bus.breakers import State
from waggle.bus.connection import Bus
from waggle.context import Context, checked_breaker
from waggle.errors import ErrorCode, TaskError
from waggle.task import AttemptOutcome, Done, Failed, Snoozed
from waggle_worker import outcomes
from waggle_worker.protect.breaker import Breaker
from waggle_worker.protect.breakers import Breakers
from waggle_worker.protect.calls import BreakerCall

AGAIN = 0.05
Enter = Callable[..., BreakerCall]


@pytest.fixture
def breakers() -> Breakers:
    """Two failures open one; there is no fleet."""
    settings = FleetSettings(postgres_url="x", nats_url="x", breaker_threshold=2, breaker_reset=AGAIN, breaker_reset_max=AGAIN)
    return Breakers(Bus(NatsAccess(["nats://127.0.0.1:1"]), "nobody"), settings)


@pytest.fixture
async def guard(breakers: Breakers) -> Enter:
    loop = asyncio.get_running_loop()
    return lambda *ignore: BreakerCall(breakers, "smtp", ignore, loop, set())


MIXED = ExceptionGroup("some of it", [Snooze(1), ExceptionGroup("more", [ConnectionError("refused")])])
QUIET = ExceptionGroup("nothing of it", [Snooze(1), ExceptionGroup("more", [Reject("no"), LookupError("mine")])])


@pytest.fixture
def smtp(breakers: Breakers) -> Breaker:
    return breakers.of("smtp")


async def leave(guard: BreakerCall, error: BaseException | None = None) -> None:
    with contextlib.suppress(type(error) if error is not None else ()):
        async with guard:
            if error is not None:
                raise error


async def trip(guard: Enter) -> None:
    for _ in range(2):
        await leave(guard(), ConnectionError("refused"))


@pytest.mark.parametrize("error", [ConnectionError("refused"), TimeoutError(), Retry(reason="it said no"), KeyError("x"), MIXED])
async def test_an_exception_is_a_failure_and_goes_on_as_it_is(guard: Enter, smtp: Breaker, error: Exception) -> None:
    for _ in range(2):
        await leave(guard(), error)
    assert smtp.state is State.OPEN


@pytest.mark.parametrize("error", [Snooze(1), Reject("no"), BreakerOpen("other", 1, "x"), asyncio.CancelledError(), SystemExit(1), LookupError("mine"), QUIET])
async def test_what_the_service_has_nothing_to_do_with_says_nothing(guard: Enter, smtp: Breaker, error: BaseException) -> None:
    await leave(guard(), ConnectionError("refused"))
    for _ in range(5):
        await leave(guard(LookupError), error)
    assert smtp.state is State.CLOSED
    await leave(guard(), ConnectionError("refused"))
    assert smtp.state is State.OPEN, "what says nothing is no success either"


async def test_while_it_is_open_the_block_is_not_entered_and_the_task_waits_without_a_try(guard: Enter) -> None:
    await trip(guard)
    with pytest.raises(BreakerOpen) as caught:
        await guard().__aenter__()
    outcome = outcomes.of_exception(caught.value)
    assert isinstance(outcome, Snoozed)
    assert 0 < outcome.delay <= AGAIN
    message = "waiting for the circuit breaker smtp: ConnectionError: refused"
    assert (outcome.ended, outcome.error) == (
        AttemptOutcome.SNOOZED,
        TaskError(ErrorCode.SERVICE_UNAVAILABLE, message, retryable=True, details={"breaker": "smtp"}),
    )


async def test_without_nats_one_probes_all_the_same_and_a_cancelled_one_leaves_it_to_the_next(guard: Enter, smtp: Breaker) -> None:
    await trip(guard)
    await asyncio.sleep(AGAIN)
    await leave(guard(), asyncio.CancelledError())
    probe = guard()
    async with probe:
        with pytest.raises(BreakerOpen, match="a probe is under way"):
            await guard().__aenter__()
    assert smtp.state is State.CLOSED


async def test_a_call_that_began_before_it_opened_says_nothing_new_even_after_it_closed_again(guard: Enter, smtp: Breaker) -> None:
    old = [guard(), guard()]
    for one in old:
        await one.enter()
    await trip(guard)
    smtp.becomes(State.CLOSED, 0.0)
    for one in old:
        one.exited(ConnectionError("refused"))
    assert smtp.state is State.CLOSED


async def test_a_timeout_counts_when_it_happens_and_not_again_when_the_handler_ends(guard: Enter, smtp: Breaker) -> None:
    hanging = guard()
    await hanging.__aenter__()
    hanging.timed_out(3.0)
    hanging.exited(asyncio.CancelledError())
    await leave(guard(), ConnectionError("refused"))
    assert (smtp.state, smtp.failures) == (State.OPEN, 2)


async def test_a_thread_uses_it_with_a_plain_with(guard: Enter, smtp: Breaker) -> None:
    def handler() -> None:
        with guard():
            assert threading.current_thread() is not threading.main_thread()
            raise ConnectionError("refused")

    for _ in range(2):
        with pytest.raises(ConnectionError):
            await asyncio.to_thread(handler)
    await asyncio.sleep(0)
    assert smtp.state is State.OPEN
    with pytest.raises(BreakerOpen):
        await asyncio.to_thread(handler)


async def test_a_plain_with_on_the_event_loop_is_refused(guard: Enter) -> None:
    with pytest.raises(TypeError, match=r'use `async with ctx\.breaker\("smtp"\)`'), guard():
        pass


async def test_one_use_is_entered_once_at_a_time(guard: Enter) -> None:
    one = guard()
    async with one:
        with pytest.raises(RuntimeError, match="has begun already"):
            await one.__aenter__()


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Failed(TaskError(ErrorCode.TASK_EXECUTION_FAILED, "no", retryable=True)), State.OPEN),
        (Failed(TaskError(ErrorCode.TASK_EXECUTION_FAILED, "rejected", retryable=False)), State.CLOSED),
        (Snoozed(1.0), State.CLOSED),
        (Done(None), State.CLOSED),
    ],
)
async def test_a_whole_run_is_judged_by_what_it_came_to(guard: Enter, smtp: Breaker, outcome: Done | Failed | Snoozed, state: State) -> None:
    for _ in range(2):
        gate = guard()
        assert gate.enter_now()
        gate.ended(outcome)
    assert smtp.state is state


@pytest.mark.parametrize("name", ["", "SMTP", "1smtp", "a b", "smtp\n", "a" * 129, "ä", "a*", None])
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="circuit breaker name"):
        checked_breaker(name)
    if name is not None:
        with pytest.raises(ValueError, match="circuit breaker name"):
            App().task("a.type", breaker=name)(test_a_name_that_cannot_be_one_is_refused)


def test_a_handler_in_a_process_of_its_own_is_told_where_its_breaker_belongs() -> None:
    ctx = Context.__new__(Context)
    ctx._breakers = None
    with pytest.raises(RuntimeError, match=r"use @app\.task\(…, breaker='smtp'\)"):
        ctx.breaker("smtp")
