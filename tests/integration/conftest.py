"""One API for all tests that need no more than an API; they do not disturb each other: each looks only at tasks, types and queues of its own."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from support.one_api import one_api
from support.processes import Process
from support.servers import PostgresServer
from support.system import Client, client_of
from waggle.store import postgres as store


@pytest.fixture(scope="session")
def process(postgres: PostgresServer, session_folder: Path) -> Iterator[Process]:
    """The process of the API."""
    with one_api(postgres, session_folder, "api") as running:
        yield running


@pytest.fixture
async def api(process: Process) -> AsyncIterator[Client]:
    """A client of it."""
    async with client_of(process) as client:
        yield client


@pytest.fixture
async def rows(process: Process) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    """Connections to its database."""
    async with store.pool(process.settings, "test", 3) as pool:
        yield pool
