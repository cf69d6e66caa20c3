"""Rate limits with counters in a real NATS, which several APIs share: who is admitted, what the headers say, and when to come back."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from waggle.bus.access import NatsAccess
from waggle.bus.connection import Bus
from waggle_api.edge import rates
from waggle_api.edge.rates import Policy, Rates
from waggle_api.refusals import OverQuota, Unavailable

TEN = Policy("requests", 10)


_loops: list["asyncio.Task[None]"] = []


class At:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_790_000_040.0  # the first second of a minute

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def server(bus: Bus, lanes: None) -> AsyncIterator[Bus]:
    """A NATS with the stream of the counters."""
    yield bus
    for loop in _loops:
        loop.cancel()
    _loops.clear()


def made(bus: Bus, clock: At) -> Rates:
    """The limits of an API, whose loop runs until the test ends."""
    found = Rates(bus, clock)
    _loops.append(asyncio.create_task(found.run()))
    return found


async def admitted(limits: Rates, tries: int, policy: Policy = TEN, cost: int = 1) -> int:
    answers = await asyncio.gather(*(limits.admit(policy, "anna", cost) for _ in range(tries)), return_exceptions=True)
    assert all(isinstance(answer, OverQuota | rates.Rate) for answer in answers), answers
    return sum(isinstance(answer, rates.Rate) for answer in answers)


async def test_a_quota_holds_over_several_apis(server: Bus) -> None:
    clock = At()
    apis = [made(server, clock) for _ in range(4)]
    assert sum(await asyncio.gather(*(admitted(api, 25) for api in apis))) == 10


async def test_a_window_slides(server: Bus) -> None:
    clock = At()
    api = made(server, clock)
    assert await admitted(api, 20) == 10
    clock.now += 60  # all of the minute before still counts
    assert await admitted(api, 1) == 0
    clock.now += 30  # half of it does, and the one that was refused
    assert await admitted(api, 20) == 4
    clock.now += 300
    assert await admitted(api, 20) == 10


async def test_whoever_comes_back_when_told_is_admitted(server: Bus) -> None:
    clock = At()
    for spent in range(0, 60, 7):
        clock.now = 1_790_000_040.0 + spent * 600 + spent
        api = made(server, clock)
        assert await admitted(api, 10) == 10
        with pytest.raises(OverQuota) as refused:
            await api.admit(TEN, "anna")
        assert 1 <= refused.value.retry_after <= 67
        assert dict(refused.value.headers)[b"ratelimit"] == f'"requests";r=0;t={refused.value.retry_after}'.encode()
        clock.now += refused.value.retry_after
        assert await admitted(api, 1) == 1


async def test_the_headers_say_what_is_left(server: Bus) -> None:
    api = made(server, At())
    first = await api.admit(TEN, "anna")
    assert first is not None
    assert first.headers() == [(b"ratelimit-policy", b'"requests";q=10;w=60'), (b"ratelimit", b'"requests";r=9;t=60')]
    assert await api.admit(Policy("requests", 0), "anna") is None


async def test_clients_and_policies_do_not_disturb_each_other(server: Bus) -> None:
    api = made(server, At())
    assert await admitted(api, 20) == 10
    assert await api.admit(TEN, "berta") is not None
    assert await api.admit(Policy("tasks", 10), "anna") is not None


async def test_a_batch_costs_its_tasks_and_one_that_is_refused_costs_nothing(server: Bus) -> None:
    api, tasks = made(server, At()), Policy("tasks", 10)
    assert await admitted(api, 1, tasks, 8) == 1
    assert await admitted(api, 1, tasks, 5) == 0
    assert await admitted(api, 1, tasks, 2) == 1
    with pytest.raises(OverQuota, match="11 tasks at once; 10 are allowed"):
        await api.admit(tasks, "anna", 11)


async def test_without_nats_each_api_counts_by_itself_and_nobody_signs_in(server: Bus) -> None:
    clock = At()
    api = made(Bus(NatsAccess([]), "test"), clock)  # that one has no connection
    assert await admitted(api, 20) == 10
    clock.now += 60  # the window slides as with NATS
    assert await admitted(api, 1) == 0
    clock.now += 30
    assert await admitted(api, 20) == 4
    clock.now += 120
    assert await admitted(api, 20) == 10
    with pytest.raises(Unavailable, match="signing in is not possible while NATS"):
        await api.admit(Policy("logins", 10, closed=True), "203.0.113.7")
