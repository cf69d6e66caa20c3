"""Pages of tasks: whichever way they are found and however little a page looks at, all of them hold every task that fits once, the newest first."""

import json
import random
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from support import given
from support.scale import dice
from waggle.store import lists
from waggle.store.lists import Filters
from waggle.task import Status

Pool = asyncpg.Pool

DAYS = 10

WAYS = {
    "as it is": {},
    "too many unfinished tasks": {"UNFINISHED_ENOUGH": 3},
    "too many kinds": {"KINDS_ENOUGH": 3},
    "too many kinds to share what is looked at": {"KINDS_SHARED": 2},
    "little is looked at": {"EXAMINED": 15, "EXAMINED_METADATA": 15, "KINDS_SHARED": 1000},
    "too many kinds, and little is looked at": {"KINDS_ENOUGH": 3, "EXAMINED": 5, "EXAMINED_METADATA": 5},
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How the ids of a page are found."""
    for bound, value in WAYS[request.param].items():
        monkeypatch.setattr(lists, bound, value)
    return str(request.param)


async def every(pool: Pool, most: int, **filters: Any) -> list[UUID]:
    """The ids of all pages, as a client that turns them sees them."""
    seen: list[UUID] = []
    before: UUID | None = None
    async with pool.acquire() as connection:
        while True:
            page, before = await lists.page(connection, Filters(**filters), before, most)
            assert len(page) <= most
            seen += [task.id for task in page]
            if before is None:
                return seen


@pytest.fixture
async def mixed(pool: Pool) -> dict[str, list[UUID]]:
    """Waiting (rung, or not), running and finished tasks, one after the other in turns; ids by kind."""
    await given.alive(pool)
    found: dict[str, list[UUID]] = {"rung": [], "later": [], "running": [], "completed": [], "failed": []}
    for turn in range(8):
        queue = "default" if turn % 2 else "mail"
        found["rung"] += await given.waiting(pool, queue=queue, metadata=f'{{"turn": {turn}}}')
        found["later"] += await given.waiting(pool, queue=queue, delay=60.0, priority=3, type="demo.fail")
        found["running"] += [task.id for task in await given.running(pool, queue=queue)]
        for status in ("completed", "failed"):
            [ended] = await given.waiting(pool, queue=queue)
            await given.change(pool, ended, f"status = '{status}', completed_at = now()")
            found[status].append(ended)
    return found


async def test_a_status_narrows_them(pool: Pool, mixed: dict[str, list[UUID]], way: str) -> None:
    pending = sorted(mixed["rung"] + mixed["later"], reverse=True)
    for most in (1, 7, 16, 50):
        assert await every(pool, most, statuses=["pending"]) == pending
        assert await every(pool, most, statuses=["running"]) == mixed["running"][::-1]
        assert await every(pool, most, statuses=["running", "pending"]) == sorted(pending + mixed["running"], reverse=True)
        assert await every(pool, most, statuses=["pending", "failed"]) == sorted(pending + mixed["failed"], reverse=True)
        assert await every(pool, most) == sorted([task for kind in mixed.values() for task in kind], reverse=True)


async def test_other_filters_narrow_them(pool: Pool, mixed: dict[str, list[UUID]], way: str) -> None:
    waiting: dict[str, Any] = {"statuses": ["pending"]}
    assert await every(pool, 3, **waiting, queue="mail") == sorted(mixed["rung"][::2] + mixed["later"][::2], reverse=True)
    assert await every(pool, 3, **waiting, priority=3) == await every(pool, 3, **waiting, types=["demo.fail"]) == mixed["later"][::-1]
    assert await every(pool, 3, **waiting, metadata='{"turn": 4}') == [mixed["rung"][4]]
    created = (await given.row(pool, mixed["rung"][4]))["created"]
    assert await every(pool, 3, **waiting, created_to=created) == sorted(mixed["rung"][:4] + mixed["later"][:4], reverse=True)
    assert await every(pool, 3, **waiting, created_from=created) == sorted(mixed["rung"][4:] + mixed["later"][4:], reverse=True)
    assert await every(pool, 3, **waiting, queue="nobody") == []


async def test_any_filters_together_find_what_fits(pool: Pool, way: str) -> None:
    chance = dice()
    types, queues = ["a", "a.b", "z"], ["default", "x"]
    statuses = [*map(str, Status), "dead_letter", "dead_letter"]
    await pool.executemany(
        """INSERT INTO waggle.tasks (id, type, queue, status, priority, metadata, rung_at, created, attempt, worker_id, started_at)
           SELECT uuidv7(-age), $1, $2, $3, $4, $5, CASE WHEN $6 THEN now() END, now() - age, 1, 'w1', now() FROM (SELECT make_interval(secs => $7) AS age)""",
        [
            (
                chance.choice(types), chance.choice(queues), chance.choice(statuses), chance.randrange(4), json.dumps({"n": chance.randrange(3)}),
                chance.random() < 0.5, chance.uniform(0, DAYS * 86_400),
            )
            for _ in range(60)
        ],
    )  # fmt: skip
    rows = await pool.fetch("SELECT *, now() AS now FROM waggle.tasks ORDER BY id DESC")
    both: dict[str, Any] = {"statuses": ["completed", "failed", "cancelled", "dead_letter"]}  # two streams of which a page looks at a part
    for asked in (both, *(any_filters(chance, types, queues, rows[0]["now"]) for _ in range(15))):
        fitting = [row["id"] for row in rows if fits(row, Filters(**asked))]
        assert await every(pool, 50 if asked is both else chance.choice([1, 4, 50]), **asked) == fitting, asked


def any_filters(chance: random.Random, types: list[str], queues: list[str], now: datetime) -> dict[str, Any]:
    return {
        "statuses": chance.sample([*map(str, Status)], chance.randrange(1, 4)) if chance.random() < 0.5 else None,
        "types": chance.choices([*types, "none"], k=chance.randrange(1, 4)) if chance.random() < 0.5 else None,
        "queue": chance.choice([*queues, "none"]) if chance.random() < 0.3 else None,
        "priority": chance.randrange(4) if chance.random() < 0.2 else None,
        "metadata": json.dumps({"n": chance.randrange(3)}) if chance.random() < 0.2 else None,
        "created_from": now - timedelta(days=chance.uniform(0, DAYS)) if chance.random() < 0.2 else None,
        "created_to": now - timedelta(days=chance.uniform(0, DAYS)) if chance.random() < 0.2 else None,
    }


def fits(row: asyncpg.Record, filters: Filters) -> bool:
    return (
        (filters.statuses is None or row["status"] in filters.statuses)
        and (filters.types is None or row["type"] in filters.types)
        and filters.queue in (None, row["queue"])
        and filters.priority in (None, row["priority"])
        and (filters.metadata is None or json.loads(filters.metadata).items() <= json.loads(row["metadata"]).items())
        and (filters.created_from is None or row["created"] >= filters.created_from)
        and (filters.created_to is None or row["created"] < filters.created_to)
    )


async def test_a_page_that_looked_at_enough_says_where_to_go_on(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many tasks do not fit, an answer comes: an empty page with a cursor, and the next one goes on below what was looked at."""
    monkeypatch.setattr(lists, "EXAMINED_METADATA", 10)
    [sought] = await given.waiting(pool, metadata='{"sought": true}')
    others = await given.waiting(pool, 25)
    async with pool.acquire() as connection:
        first = await lists.page(connection, Filters(metadata='{"sought": true}'), None, 50)
        second = await lists.page(connection, Filters(metadata='{"sought": true}'), first[1], 50)
        third, end = await lists.page(connection, Filters(metadata='{"sought": true}'), second[1], 50)
    assert (first, second) == (([], others[15]), ([], others[5]))
    assert ([task.id for task in third], end) == ([sought], None)


STATISTICS = {"of a table without them": "VACUUM waggle.tasks", "before a vacuum": "ANALYZE waggle.tasks", "after it": "VACUUM ANALYZE waggle.tasks"}


@pytest.mark.parametrize("statistics", STATISTICS)
async def test_old_ones_behind_a_burst_are_found_without_a_walk(pool: Pool, statistics: str) -> None:
    """Whatever Postgres believes: how many index entries a page reads does not depend on how many tasks are newer."""
    await pool.execute("ALTER TABLE waggle.tasks SET (autovacuum_enabled = off)")
    for status, age in (("failed", 3), ("dead_letter", 2), ("completed", 1)):
        await pool.execute(
            """INSERT INTO waggle.tasks (id, type, status, metadata) SELECT uuidv7(-make_interval(days => $2)), 'demo.echo', $1, '{"n": 1}'
               FROM generate_series(1, $3::int)""",
            status,
            age,
            30_000 if status == "completed" else 10_000,
        )
    await pool.execute(STATISTICS[statistics])
    async with pool.acquire() as connection:
        for asked in ({"statuses": ["failed"]}, {"statuses": ["dead_letter"]}, {"statuses": ["failed", "dead_letter"], "priority": 1}):
            before = await walked(connection)
            page, _ = await lists.page(connection, Filters(**asked), None, 50)  # type: ignore[arg-type]
            assert len(page) == 50
            assert await walked(connection) - before < 1_000, asked


async def walked(connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]") -> int:
    """Entries of the primary key that were read so far."""
    await connection.execute("SELECT pg_stat_force_next_flush()")
    await connection.execute("SELECT pg_stat_clear_snapshot()")
    read: int = await connection.fetchval("SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'tasks_pkey'")
    return read
