"""`waggle doctor` where everything runs and no work gets done: full workers, deaths and open breakers."""

from datetime import UTC, datetime

import asyncpg

from support import given
from support.examined import Doctor
from support.given_dead import many_dead
from waggle.bus import breakers
from waggle.bus.breakers import Record, State
from waggle.bus.connection import Bus

Pool = asyncpg.Pool
AGO = "run_at = now() - interval '2 minutes', created = now() - interval '2 minutes', rung_at = now() - interval '2 minutes'"


async def ready_for_long(pool: Pool, count: int = 3) -> None:
    await given.change(pool, await given.waiting(pool, count), AGO)


async def takes(pool: Pool, slots: int) -> None:
    """The only worker, of ten slots, says that so many are taken."""
    await pool.execute("UPDATE waggle.workers SET running = $1", slots)


async def test_slots_whose_tasks_have_ended_are_named(doctor: Doctor, servers: dict[str, str], pool: Pool) -> None:
    """As after handlers in threads that did not stop at their time-outs: each keeps its slot, and its task goes on elsewhere."""
    await given.alive(pool, "stuck")
    await takes(pool, 10)
    await ready_for_long(pool)
    examined = await doctor(**servers)
    said = examined.one("waiting tasks", "error")
    assert said.startswith("3 tasks ready for up to 12")
    assert "(demo.echo in default): 10 slots of stuck are held by runs whose tasks have ended → restart these workers" in said
    assert (examined.code, examined.status) == (1, "error")


async def test_free_workers_that_start_nothing_are_named(doctor: Doctor, servers: dict[str, str], pool: Pool) -> None:
    await given.alive(pool, "idle")
    await ready_for_long(pool, 1)
    said = (await doctor(**servers)).one("waiting tasks", "error")
    assert "their workers have free slots and start nothing (idle) → read the logs of the workers, and restart them" in said


async def test_workers_that_are_busy_are_only_a_warning(doctor: Doctor, servers: dict[str, str], pool: Pool) -> None:
    await given.alive(pool)
    tasks = await given.running(pool, 10)
    await takes(pool, 10)
    await ready_for_long(pool)
    assert "their workers are busy → start more workers" in (await doctor(**servers)).one("waiting tasks", "warning")
    await given.change(pool, [task.id for task in tasks], "started_at = now() - interval '2 minutes'")
    assert "all slots of their workers hold tasks that run for long" in (await doctor(**servers)).one("waiting tasks", "warning")


async def test_fresh_or_paused_or_unserved_tasks_are_no_problem_of_the_workers(doctor: Doctor, servers: dict[str, str], pool: Pool) -> None:
    await given.alive(pool, "stuck")
    await takes(pool, 10)
    await given.waiting(pool, 3)
    assert (await doctor(**servers)).one("waiting tasks", "ok")
    await given.change(pool, await given.waiting(pool, type="another"), AGO)
    assert (await doctor(**servers)).one("waiting tasks", "ok")
    await ready_for_long(pool)
    await pool.execute("UPDATE waggle.queues SET paused = true")
    assert (await doctor(**servers)).one("waiting tasks", "ok")


async def test_many_fresh_dead_letters_are_named_with_what_most_died_of(doctor: Doctor, servers: dict[str, str], pool: Pool) -> None:
    await many_dead(pool, 99)
    assert (await doctor(**servers)).one("dead letters", "ok").startswith("99 dead letters in the last 10 minutes")
    await many_dead(pool, 901)
    examined = await doctor(**servers)
    said = examined.one("dead letters", "error")
    assert said.startswith("1,000 tasks became dead letters in the last 10 minutes, 1,000 of them demo.echo (task_execution_failed) → waggle dlq groups")
    assert examined.code == 1
    await pool.execute("UPDATE waggle.tasks SET updated = now() - interval '11 minutes'")
    assert (await doctor(**servers)).one("dead letters", "ok")


async def test_an_open_breaker_is_named(doctor: Doctor, servers: dict[str, str], lanes: None, bus: Bus) -> None:
    now = datetime.now(UTC)
    await breakers.put(bus, Record("closed.example", State.CLOSED), 0)
    assert (await doctor(**servers)).one("open breakers", "ok")
    await breakers.put(bus, Record("smtp.example", State.OPEN, failures=5, trips=1, opened_at=now, retry_at=now, error="refused"), 0)
    examined = await doctor(**servers)
    said = examined.one("open breakers", "error")
    assert said.startswith("the circuit breaker smtp.example is open after 5 failures in a row: tasks wait for it and use up no try → ")
    assert "waggle breakers show smtp.example" in said
    assert examined.code == 1
