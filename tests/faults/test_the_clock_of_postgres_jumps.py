"""The clock of Postgres is set forward and back by ten minutes under load: no try is charged, dead workers' tasks come back, the audit holds."""

import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from support.facts import until
from support.faketime import WrongClock
from support.load import busy
from support.oracle import History, all_at_rest
from support.scale import figures
from support.system import Services, client_of

Pool = asyncpg.Pool

LEASE = 2.0
JUMP = 600.0
LONG = 12  # tasks that run across the jump
BOUND = 15.0  # seconds from the jump until everything has ended, a lost task's lease included


@pytest.fixture
def own_postgres(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WrongClock]:
    server = WrongClock(folder / "postgres", monkeypatch)
    yield server
    server.close()


@pytest.mark.parametrize("seconds", [JUMP, -JUMP])
async def test_leases_and_the_take_back_go_on_and_nothing_is_charged(
    own_postgres: WrongClock, start: Services, pool: Pool, effects: Path, seconds: float
) -> None:
    api, schedulers = await start("api"), [await start("scheduler", lease=LEASE) for _ in range(2)]
    environ = {"EFFECTS": str(effects)}
    kept = await start("worker", environ=environ, app="support.handlers:app", lease=LEASE)
    async with client_of(api) as client:
        long = {"type": "test.work", "payload": {"seconds": 3 * LEASE}, "max_retries": 0}
        await client.submit_many([long] * LONG)
        await until(lambda: effects.read_text().count("began") == LONG)
        doomed = await start("worker", environ=environ, app="support.handlers:app", lease=LEASE, queues=("doomed",))
        await client.submit("test.work", {"seconds": 600}, queue="doomed", max_retries=0)
        await until(lambda: effects.read_text().count("began") == LONG + 1)
        async with busy(client, pool, History(), 200, type="test.work", payload={"seconds": 0.01}, max_retries=0):
            await until(lambda: _completed(pool, 200))
            doomed.kill()
            own_postgres.set(seconds)
            since = time.monotonic()
            before = await pool.fetchval("SELECT count(*) FROM waggle.tasks WHERE status = 'completed'")
            await until(lambda: _completed(pool, before + 400), BOUND)
        await all_at_rest(pool, BOUND)
    took = time.monotonic() - since
    assert took < BOUND
    charged = await pool.fetch("SELECT queue FROM waggle.tasks WHERE lost_count > 0 OR status <> 'completed'")
    assert [row["queue"] for row in charged] == ["doomed"]
    assert kept.logged("lease expired") == []
    for scheduler in schedulers:
        (line,) = scheduler.logged("the clock of Postgres jumped, leases are counted from now")
        assert abs(line["seconds"] - seconds) < 5
    figures("the clock of Postgres jumps", by=f"{seconds:+g} s", charged=0, at_rest_after=f"{took:.1f} s")


async def _completed(pool: Pool, count: int) -> bool:
    return bool(await pool.fetchval("SELECT count(*) >= $1 FROM waggle.tasks WHERE status = 'completed'", count))
