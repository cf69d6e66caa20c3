"""A parent ends the leases of a worker process that died, and of no other one, also when Postgres is away at first."""

import asyncio

import asyncpg
import pytest

from support import given
from support.proxy import proxy
from waggle.settings.services import WorkerSettings
from waggle_embedded import dead_workers

Pool = asyncpg.Pool
TOKEN, OTHER = "0123456789abcdef", "fedcba9876543210"


def settings(url: str, lease: float = 15.0) -> WorkerSettings:
    return WorkerSettings(postgres_url=url, nats_url="nats://not.used", lease=lease, lease_token=TOKEN)


async def test_only_the_leases_under_its_token_end(pool: Pool, database: str) -> None:
    for worker_id in (f"here-{TOKEN}-1a2b3c", f"here-{TOKEN}-4d5e6f", f"here-{OTHER}-1a2b3c", "here-1a2b3c4d5e6f"):
        await given.alive(pool, worker_id)
    assert set(await dead_workers.until_ended(settings(database))) == {f"here-{TOKEN}-1a2b3c", f"here-{TOKEN}-4d5e6f"}
    left = {row["id"] for row in await pool.fetch("SELECT id FROM waggle.workers")}
    assert left == {f"here-{OTHER}-1a2b3c", "here-1a2b3c4d5e6f"}
    assert await dead_workers.until_ended(settings(database)) == []


async def test_it_tries_again_until_postgres_is_back(pool: Pool, database: str) -> None:
    await given.alive(pool, f"here-{TOKEN}-1a2b3c")
    async with proxy(int(database.rpartition(":")[2].partition("/")[0])) as link:
        link.cut()
        ending = asyncio.create_task(dead_workers.until_ended(settings(link.url(database))))
        await asyncio.sleep(0.5)  # it tries meanwhile
        assert await pool.fetchval("SELECT count(*) FROM waggle.workers") == 1
        link.heal()
        assert await ending == [f"here-{TOKEN}-1a2b3c"]
    assert await pool.fetchval("SELECT count(*) FROM waggle.workers") == 0


async def test_it_gives_up_when_the_lease_has_expired_by_itself() -> None:
    with pytest.raises(TimeoutError):
        await dead_workers.until_ended(settings("postgresql://nobody@127.0.0.1:1/nothing", lease=1.0))
