"""One API for the tests of its documents."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.one_api import one_api
from support.processes import Process
from support.servers import PostgresServer


@pytest.fixture(scope="module")
def process(request: pytest.FixtureRequest, postgres: PostgresServer, session_folder: Path) -> Iterator[Process]:
    with one_api(postgres, session_folder, f"api-{request.module.__name__.rpartition('test_')[2]}") as running:
        yield running
