"""The fixtures of all tests. Real servers always; a missing one is a failure, never a skip."""

import asyncio
import gc
import inspect
import itertools
import os
import signal
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import asyncpg
import pytest

from waggle.bus import connection, topology
from waggle.bus.connection import Bus
from waggle.store import postgres as store
from waggle_embedded.child import last_lines
from waggle_embedded.placement import temporary_folder

pytest.register_assert_rewrite("support")

from support import nursery, processes  # noqa: E402  # after the line above, so that their assertions explain themselves
from support.facts import until  # noqa: E402
from support.fleet import FleetSettings  # noqa: E402
from support.servers import NatsServer, PostgresServer  # noqa: E402
from support.system import Client, Services, System, client_of  # noqa: E402

LOGS = pytest.StashKey[dict[str, Path]]()
_numbers = itertools.count(1)


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: most tests wait for a server most of the time."""
    return (os.cpu_count() or 1) + 1


def pytest_configure() -> None:
    """Every process that a test starts would inherit these two.

    A shell that starts the suite in the background has it ignore SIGINT. Without cached bytecode each service would compile all of its code at each
    start, which takes longer than everything else that it does then.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_unconfigure() -> None:
    nursery.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the end of the log of each started process to the report of a failed test."""
    report = yield
    if report.failed:
        report.sections += [(f"log of {name}", last_lines(log, count=40)) for name, log in item.stash.get(LOGS, {}).items()]
        if "from pytest-timeout" in report.longreprtext:
            report.sections.append(("coroutines that waited", waiting()))
    return report


def waiting() -> str:
    """Where each asyncio task of this process waits: the stack of a hanging test shows only the event loop."""
    return "\n".join(
        f"{task.get_name()}: {' > '.join(places(task.get_coro()))}" for task in gc.get_objects() if isinstance(task, asyncio.Task) and not task.done()
    )


def places(coroutine: object) -> Iterator[str]:
    while inspect.iscoroutine(coroutine) and coroutine.cr_frame:
        yield f"{coroutine.cr_code.co_qualname} ({coroutine.cr_code.co_filename}:{coroutine.cr_frame.f_lineno})"
        coroutine = coroutine.cr_await


@pytest.fixture
def logs(request: pytest.FixtureRequest) -> dict[str, Path]:
    """Logs to show when the test fails, by name."""
    found: dict[str, Path] = {}
    request.node.stash[LOGS] = found
    return found


@pytest.fixture(scope="session")
def session_folder() -> Iterator[Path]:
    """A folder that Postgres can reach even when the tests run as root."""
    with temporary_folder() as folder:
        yield folder


@pytest.fixture
def folder(session_folder: Path) -> Path:
    """A folder for this test."""
    made = session_folder / f"test-{next(_numbers)}"
    made.mkdir(mode=0o711)
    return made


@pytest.fixture
def effects(folder: Path) -> Path:
    """The file to which the handlers of this test append a line per effect (give it to a worker as `EFFECTS`)."""
    path = folder / "effects"
    path.touch()
    return path


@pytest.fixture(scope="session")
def postgres(session_folder: Path) -> Iterator[PostgresServer]:
    """One Postgres for all tests; a test that kills Postgres takes `own_postgres`."""
    server = PostgresServer(session_folder / "postgres")
    yield server
    server.close()


@pytest.fixture
def own_postgres(folder: Path, logs: dict[str, Path]) -> Iterator[PostgresServer]:
    """A Postgres for this test, which may kill and restart it; `database` and the fixtures that use it are then on this server."""
    server = PostgresServer(folder / "postgres")
    logs["postgres"] = server.log
    yield server
    server.close()


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a fresh, migrated database for this test."""
    if "own_postgres" in request.fixturenames:
        yield request.getfixturevalue("own_postgres").url
    else:
        with request.getfixturevalue("postgres").fresh_database() as url:
            yield url


@pytest.fixture
def nats(folder: Path, logs: dict[str, Path]) -> Iterator[NatsServer]:
    """A NATS server for this test, which may kill, wipe and restart it; it has no stream yet."""
    server = NatsServer(folder / "nats")
    logs["nats"] = server.log
    yield server
    server.kill()


@pytest.fixture
def settings(database: str, nats: NatsServer) -> FleetSettings:
    """The settings of the services of this test: free ports, short times."""
    return FleetSettings(postgres_url=database, nats_url=nats.url, api_port=0, lease=2.0, grace=2.0)


@pytest.fixture
async def pool(database: str) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    """A connection pool for the database of this test, as in a service. (Needs no NATS.)"""
    async with store.pool(FleetSettings(postgres_url=database, nats_url="nats://not.used"), "test", 5) as made:
        yield made


@pytest.fixture
async def bus(settings: FleetSettings) -> AsyncIterator[Bus]:
    """A connection to the NATS server of this test."""
    async with connection.connection(settings, "test") as opened:
        await until(lambda: opened.connected)
        yield opened


@pytest.fixture
async def lanes(bus: Bus, settings: FleetSettings) -> None:
    """Creates the work stream and the consumers of the queue `default`, as a scheduler would."""
    await topology.ensure(bus, settings, ["default"])


@pytest.fixture
async def start(settings: FleetSettings, folder: Path, logs: dict[str, Path]) -> AsyncIterator[Services]:
    """Starts services: `worker = await start("worker", concurrency=5)`. They are stopped at the end; one that ended by itself fails the test."""
    services = Services(settings, folder, logs)
    yield services
    await processes.end(*services.processes)


@pytest.fixture
async def system(start: Services) -> System:
    """api, worker, dlq and scheduler, ready."""
    return await System.start(start)


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    """An HTTP client for the API of the system."""
    async with client_of(system.api) as opened:
        yield opened
