"""One API and one dlq service, with servers of their own, for all tests of dead letters that disturb each other no more than by their number."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from support.fleet import FleetSettings
from support.one_api import one_api
from support.processes import Process, end, launch, ready
from support.servers import PostgresServer, run

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def both(postgres: PostgresServer, session_folder: Path) -> Iterator[tuple[Process, Process]]:
    with one_api(postgres, session_folder, "api-dlq") as api:
        dlq = launch("dlq", msgspec.structs.replace(api.settings, dlq_redrive_rate=1000.0), session_folder / "api-dlq")
        try:
            run(ready(dlq))
            yield api, dlq
        finally:
            run(end(dlq))


@pytest.fixture
def process(both: tuple[Process, Process]) -> Process:
    """The process of the API; `api` is a client of it."""
    return both[0]


@pytest.fixture
def dlq(both: tuple[Process, Process]) -> Process:
    return both[1]


@pytest.fixture
def settings(process: Process) -> FleetSettings:
    """Theirs: `bus` leads to their NATS."""
    return process.settings


@pytest.fixture
def database(process: Process) -> str:
    """Theirs: `pool` leads there."""
    return process.settings.postgres_url


@pytest.fixture
def kind() -> str:
    """A type that no other test uses."""
    return f"dead.n{next(_numbers)}"
