"""An API of these tests' own: they make many queues, which hints to other tests' clients would name."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.one_api import one_api
from support.processes import Process
from support.servers import PostgresServer


@pytest.fixture(scope="module")
def process(postgres: PostgresServer, session_folder: Path) -> Iterator[Process]:
    """The process of the API."""
    with one_api(postgres, session_folder, "explain") as running:
        yield running
