"""The fixtures of all tests. Real servers always; a missing one is a failure, never a skip."""

import asyncio
import gc
import inspect
import itertools
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

from support import processes  # noqa: E402  # after the line above, so that their assertions explain themselves
from support.facts import until  # noqa: E402
from support.fleet import FleetSettings  # noqa: E402
from support.servers import NatsServer, PostgresServer  # noqa: E402
from support.system import Client, Services, System, client_of  # noqa: E402

LOGS = pytest.StashKey[dict[str, Path]]()
_numbers = itertools.count(1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows the end of the log of each process that it started."""
    report = yield
    if report.failed:
        report.sections += [(f"log of {name}", last_lines(log, count=40)) for name, log in item.stash.get(LOGS, {}).items()]
        if "from pytest-timeout" in report.longreprtext:
            report.sections.append(("coroutines that waited", waiting()))
    return report


def waiting() -> str:
    """Where each task of asyncio in this process waits; the stack of a test that hangs shows only its loop."""
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
    """A folder of this test's own."""
    made = session_folder / f"test-{next(_numbers)}"
    made.mkdir(mode=0o711)
    return made


@pytest.fixture
def effects(folder: Path) -> Path:
    """Where the handlers of this test leave a line for each thing they did (give it to a worker as `EFFECTS`)."""
    path = folder / "effects"
    path.touch()
    return path


@pytest.fixture(scope="session")
def postgres(session_folder: Path) -> Iterator[PostgresServer]:
    """One Postgres for all tests; whoever wants to kill one takes `own_postgres`."""
    server = PostgresServer(session_folder / "postgres")
    yield server
    server.close()


@pytest.fixture
def own_postgres(folder: Path, logs: dict[str, Path]) -> Iterator[PostgresServer]:
    """A Postgres of this test's own, to be killed and started again; `database`, and all that stands on it, then lives there."""
    server = PostgresServer(folder / "postgres")
    logs["postgres"] = server.log
    yield server
    server.close()


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a fresh, migrated database of this test's own."""
    if "own_postgres" in request.fixturenames:
        yield request.getfixturevalue("own_postgres").url
    else:
        with request.getfixturevalue("postgres").fresh_database() as url:
            yield url


@pytest.fixture
def nats(folder: Path, logs: dict[str, Path]) -> Iterator[NatsServer]:
    """A NATS server of this test's own, to be killed, wiped and started again; without any stream yet."""
    server = NatsServer(folder / "nats")
    logs["nats"] = server.log
    yield server
    server.kill()


@pytest.fixture
def settings(database: str, nats: NatsServer) -> FleetSettings:
    """The settings of this test's services: free ports, short times."""
    return FleetSettings(postgres_url=database, nats_url=nats.url, api_port=0, lease=2.0, grace=2.0)


@pytest.fixture
async def pool(database: str) -> AsyncIterator["asyncpg.Pool[asyncpg.Record]"]:
    """Connections to the test's database, as the services have them. (Needs no NATS.)"""
    async with store.pool(FleetSettings(postgres_url=database, nats_url="nats://not.used"), "test", 5) as made:
        yield made


@pytest.fixture
async def bus(settings: FleetSettings) -> AsyncIterator[Bus]:
    """A connection to the test's NATS."""
    async with connection.connection(settings, "test") as opened:
        await until(lambda: opened.connected)
        yield opened


@pytest.fixture
async def lanes(bus: Bus, settings: FleetSettings) -> None:
    """The work stream, and the consumers of the queue `default`; where a scheduler runs, it makes them."""
    await topology.ensure(bus, settings, ["default"])


@pytest.fixture
async def start(settings: FleetSettings, folder: Path, logs: dict[str, Path]) -> AsyncIterator[Services]:
    """Starts services: `worker = await start("worker", concurrency=5)`. They are stopped at the end; one that died by itself fails the test."""
    services = Services(settings, folder, logs)
    yield services
    await processes.end(*services.processes)


@pytest.fixture
async def system(start: Services) -> System:
    """api, worker, dlq and scheduler, ready to work."""
    return await System.start(start)


@pytest.fixture
async def client(system: System) -> AsyncIterator[Client]:
    """The API of the system."""
    async with client_of(system.api) as opened:
        yield opened
