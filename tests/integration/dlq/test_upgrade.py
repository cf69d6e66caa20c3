"""A database of the previous release is upgraded in place: its dead letters are grouped, retried and named like new ones."""

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from support import given
from support.facts import until
from support.given_dead import as_json, error_of, ids_of
from support.schemas import install_old
from support.system import Services
from waggle.redrive import DeadLetterFilter
from waggle.store import dead_letters
from waggle.store.migrate import migrate
from waggle.store.postgres import head

Pool = asyncpg.Pool


@pytest.fixture
async def old_database(database: str) -> str:
    """A database at revision 0001."""
    await install_old(database, "0001")
    return database


async def test_dead_letters_from_before_are_like_new_ones(old_database: str, pool: Pool, start: Services) -> None:
    ids = [uuid7() for _ in range(3)]
    await pool.executemany("INSERT INTO public.tasks (id, type, rung_at) VALUES ($1, 'demo.echo', now())", [(task_id,) for task_id in ids])
    for number, task_id in enumerate(ids[:2]):
        await pool.execute("UPDATE public.tasks SET status = 'dead_letter', error = $2 WHERE id = $1", task_id, as_json(error_of(f"order {number}")))
    assert await migrate(old_database) == ("0001", head())

    async with pool.acquire() as connection:
        (group,) = await dead_letters.groups(connection, DeadLetterFilter(), 10)
        assert (group.count, group.message) == (2, "order #")
        assert (await dead_letters.page(connection, DeadLetterFilter(fingerprint=group.fingerprint), None, 10))[0]
    await start("dlq")
    await until(lambda: pool.fetchval("SELECT count(*) = 2 FROM waggle.tasks WHERE fingerprint = $1", group.fingerprint))
    assert (await given.row(pool, ids[2]))["fingerprint"] is None
    assert ids_of((await dead_letters.retry(pool, ids, how="manual")).retried) == ids[:2]
