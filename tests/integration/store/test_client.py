"""The pieces of asyncpg beyond its documented interface; tests/faults/test_a_postgres_backend_stands_still.py has the one that closes connections."""

import asyncio
from pathlib import Path

import asyncpg
import pytest

from support.processes import another_version, launch
from waggle.settings.shared import Settings
from waggle.store.client import ASYNCPG_VERSION
from waggle.store.postgres import REFUSED


async def test_an_argument_that_asyncpg_cannot_encode_is_refused_as_one_that_postgres_refuses(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    with pytest.raises(REFUSED):
        await pool.fetch("SELECT $1::int", "text")


async def test_a_connection_that_is_closed_while_it_is_released_is_no_error(pool: "asyncpg.Pool[asyncpg.Record]") -> None:
    """As it happens to connections to an old primary."""
    block = pool.acquire()
    connection = await block.__aenter__()
    assert await connection.fetchval("SELECT 1") == 1
    left = asyncio.create_task(block.__aexit__(None, None, None))
    await asyncio.sleep(0)  # the release is under way
    connection.terminate()
    await left
    assert await pool.fetchval("SELECT 2") == 2


async def test_a_service_does_not_start_with_another_version_of_asyncpg(settings: Settings, folder: Path) -> None:
    process = launch("dlq", settings, folder, environ=another_version("asyncpg", folder))
    assert await process.ended() == 2
    assert f"asyncpg 0.0.1 is installed, but Waggle needs exactly {ASYNCPG_VERSION}" in process.tail()
