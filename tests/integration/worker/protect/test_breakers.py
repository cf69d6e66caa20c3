"""Circuit breakers in workers: who fails is left alone, by the whole fleet; tasks wait and lose no try; one probe says that it works again."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest

from support import given
from support.called import Called, called
from support.facts import until
from support.processes import Process
from support.rest import at_rest
from support.servers import NatsServer
from support.system import Services
from waggle.bus import breakers as bucket
from waggle.bus.breakers import Entry, State
from waggle.bus.connection import NATS_OUTAGE, Bus

Pool = asyncpg.Pool
QUICK = {"app": "support.breaker_handlers:app", "breaker_threshold": 3, "breaker_reset": 0.4, "breaker_reset_max": 0.8, "lease": 2.0}
PATIENT = {**QUICK, "breaker_reset": 60.0, "breaker_reset_max": 60.0}


async def metrics(worker: Process) -> str:
    async with httpx2.AsyncClient(trust_env=False) as client:
        return (await client.get(worker.metrics_url)).text


@pytest.fixture
async def service() -> AsyncIterator[Called]:
    async with called() as made:
        yield made


@pytest.fixture
async def worker(start: Services) -> Process:
    """Of the queue `default`; a scheduler rings for it."""
    await start("scheduler")
    return await start("worker", queues=("default",), **QUICK)


async def submit(pool: Pool, service: Called, count: int = 1, type: str = "call.async", **fields: Any) -> list[UUID]:  # noqa: A002
    queue = "other" if type == "call.other" else "default"
    return await given.waiting(pool, count, ring=False, type=type, queue=queue, payload=json.dumps({"url": service.url}), **fields)


async def breaker(bus: Bus, state: State, name: str = "service") -> Entry:
    """The shared entry once it has this state."""

    async def there() -> Entry | None:
        found = await bucket.entry(bus, name)
        return found if found is not None and found.record.state is state else None

    return await until(there, what=f"the breaker {name} becomes {state}")


async def sent_away(pool: Pool, ids: list[UUID]) -> list[str]:
    """What the attempts say that did not call, because the breaker was open."""
    rows = await pool.fetch("SELECT error ->> 'message' FROM waggle.task_attempts WHERE task_id = ANY ($1) AND outcome = 'snoozed'", ids)
    return [row[0] for row in rows]


KINDS = {"call.async": "service", "call.thread": "thread", "call.whole": "whole", "call.process": "process"}


async def test_tasks_of_every_kind_wait_for_a_service_that_fails_and_lose_no_try(pool: Pool, bus: Bus, worker: Process, service: Called) -> None:
    service.status = 503
    for kind in KINDS:
        await submit(pool, service, 3, kind, max_retries=0)
    for name in KINDS.values():
        opened = (await breaker(bus, State.OPEN, name)).record
        assert (opened.failures, opened.trips, "503" in (opened.error or "")) == (3, 1, True)
    assert 'circuit_breaker_trips_total{breaker="whole"} 1.0' in await metrics(worker)
    assert 'waggle_breakers_open{breaker="whole",state="open"} 1.0' in await metrics(worker)

    service.status = 200
    service.going_on.clear()  # one probes and gets no answer yet, the others must wait
    waiting = {kind: await submit(pool, service, 3, kind, max_retries=0) for kind in KINDS}
    for kind, ids in waiting.items():
        [reason, *_] = await until(lambda ids=ids: sent_away(pool, ids), what=f"{kind} is sent away")
        assert reason.startswith(f"waiting for the circuit breaker {KINDS[kind]}: ")
    service.going_on.set()
    for task_id in [task_id for ids in waiting.values() for task_id in ids]:
        row = await at_rest(pool, task_id)
        assert (row["status"], row["retry_count"], row["outcomes"][-1], row["error"]) == ("completed", 0, "completed", None)
    for name in KINDS.values():
        assert (await breaker(bus, State.CLOSED, name)).record.trips == 1
        assert len(worker.logged("circuit breaker opened", breaker=name)) == len(worker.logged("circuit breaker closed", breaker=name)) == 1
    assert 'waggle_breakers_open{breaker="whole",state="open"} 0.0' in await metrics(worker)


async def test_each_failed_probe_doubles_the_wait_up_to_the_most(pool: Pool, worker: Process, service: Called) -> None:
    service.status = 500
    await submit(pool, service, 3, max_retries=0)
    await submit(pool, service, max_retries=100)
    lines = await until(lambda: (found := worker.logged("circuit breaker opened"))[2:] and found)
    assert [round(line["retry_in"], 1) for line in lines[:3]] == [0.4, 0.8, 0.8]
    assert [line["trips"] for line in lines] == [1] * len(lines)


async def test_a_trip_of_one_worker_protects_from_the_others(pool: Pool, bus: Bus, start: Services, service: Called) -> None:
    await start("scheduler")
    await start("worker", queues=("default",), **PATIENT)
    await start("worker", queues=("other",), **PATIENT)
    service.status = 503
    await submit(pool, service, 3, max_retries=0)
    await breaker(bus, State.OPEN)
    calls = len(service.calls)
    [elsewhere] = await submit(pool, service, type="call.other", max_retries=0)
    await until(lambda: sent_away(pool, [elsewhere]))
    assert len(service.calls) == calls


async def probes_will_hang(pool: Pool, bus: Bus, service: Called) -> None:
    """The breaker is open, and the next call of the service gets no answer."""
    service.status = 503
    await submit(pool, service, 3, max_retries=0)
    await breaker(bus, State.OPEN)
    service.going_on.clear()
    service.calls.clear()


async def test_one_probe_is_made_for_the_whole_fleet(pool: Pool, bus: Bus, worker: Process, start: Services, service: Called) -> None:
    await start("worker", queues=("other",), **QUICK)
    await probes_will_hang(pool, bus, service)
    here, elsewhere = await submit(pool, service, 5, max_retries=0), await submit(pool, service, 5, type="call.other", max_retries=0)

    async def both_were_sent_away_because_of_the_probe() -> bool:
        away = "SELECT count(DISTINCT worker_id) FROM waggle.task_attempts WHERE outcome = 'snoozed' AND error ->> 'message' LIKE '%a probe is under way'"
        return await pool.fetchval(away) == 2

    await until(both_were_sent_away_because_of_the_probe)
    assert len(service.calls) == 1
    service.status = 200
    service.going_on.set()
    for task_id in here + elsewhere:
        row = await at_rest(pool, task_id)
        assert (row["status"], row["retry_count"]) == ("completed", 0)


async def test_a_worker_that_is_killed_while_it_probes_is_followed_by_another(pool: Pool, bus: Bus, worker: Process, start: Services, service: Called) -> None:
    await probes_will_hang(pool, bus, service)
    [probing] = await submit(pool, service)
    await until(lambda: service.calls)
    await start("worker", queues=("default", "other"), **QUICK)
    elsewhere = await submit(pool, service, 3, type="call.other", max_retries=0)
    worker.kill()
    service.status = 200
    service.going_on.set()
    for task_id in [probing, *elsewhere]:
        assert (await at_rest(pool, task_id, 20.0))["status"] == "completed"


async def test_a_probe_that_is_cancelled_says_nothing_and_the_next_one_follows_at_once(pool: Pool, bus: Bus, worker: Process, service: Called) -> None:
    await probes_will_hang(pool, bus, service)
    [probing] = await submit(pool, service)
    await until(lambda: service.calls)
    await pool.execute("UPDATE waggle.tasks SET status = 'cancelled' WHERE id = $1", probing)  # the worker learns it with its next heartbeat
    await until(lambda: worker.logged("circuit breaker probe inconclusive"))
    service.status = 200
    service.going_on.set()
    [next_one] = await submit(pool, service, max_retries=0)
    assert (await at_rest(pool, next_one))["status"] == "completed"
    assert len(worker.logged("circuit breaker opened")) == 1


async def test_a_timeout_inside_counts_as_a_failure_of_the_service(pool: Pool, bus: Bus, worker: Process, service: Called) -> None:
    service.going_on.clear()
    await submit(pool, service, 2, timeout=2.0, max_retries=0)
    await given.waiting(pool, 1, ring=False, type="call.thread", payload=json.dumps({"url": service.url, "breaker": "service"}), timeout=2.0, max_retries=0)
    opened = (await breaker(bus, State.OPEN)).record
    assert opened.error == "no answer within the task's timeout of 2 s"


async def test_a_reset_is_seen_by_the_workers(pool: Pool, bus: Bus, start: Services, service: Called) -> None:
    await start("scheduler")
    worker = await start("worker", log_level="debug", **PATIENT)
    service.status = 503
    await submit(pool, service, 3, max_retries=0)
    await breaker(bus, State.OPEN)
    [waiting] = await submit(pool, service)
    await until(lambda: sent_away(pool, [waiting]))
    service.status = 200
    await bucket.reset(bus, "service")
    await until(lambda: worker.logged("circuit breaker follows the fleet", state="closed"))
    [next_one] = await submit(pool, service, max_retries=0)
    assert (await at_rest(pool, next_one))["outcomes"] == ["completed"]


async def test_a_wiped_store_does_not_open_what_was_shut_off(pool: Pool, bus: Bus, start: Services, service: Called, nats: NatsServer) -> None:
    await start("scheduler")
    await start("worker", **PATIENT)
    service.status = 503
    await submit(pool, service, 3, max_retries=0)
    await breaker(bus, State.OPEN)
    nats.wipe()

    async def told_again() -> bool:
        try:
            found = await bucket.entry(bus, "service")
        except NATS_OUTAGE:  # away, or not made yet
            return False
        return found is not None and found.record.state is State.OPEN

    await until(told_again, 20.0)
