"""One API for all security tests, with its own database and NATS server."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.one_api import one_api
from support.processes import Process
from support.servers import PostgresServer
from support.system import Client, client_of


@pytest.fixture(scope="session")
def process(postgres: PostgresServer, session_folder: Path) -> Iterator[Process]:
    """The process of the API."""
    with one_api(postgres, session_folder, "security") as running:
        yield running


@pytest.fixture
async def api(process: Process) -> AsyncIterator[Client]:
    """A client of it."""
    async with client_of(process) as client:
        yield client
