"""One API whose types are those of `support.door_types`, for all tests of the doors; they do not disturb each other."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg
import nats
import pytest
from nats.aio.client import Client as NatsClient

from support.door_types import app
from support.facts import until
from support.fleet import FleetSettings
from support.one_api import wait_until_ready
from support.processes import Process, launch
from support.servers import NatsServer, PostgresServer, run
from support.system import Client, client_of
from waggle.admin import publishers
from waggle.admin.publishers import NewPublisher
from waggle.bus import connection, topology
from waggle.store import catalogue
from waggle.store import postgres as store
from waggle.store.catalogue import TaskType

SECRET = "whsec_" + "c" * 40  # of the tests


async def prepare(settings: FleetSettings) -> None:
    """Announce the types, make the streams, and the publisher `shop`; `mailer` may only send mail."""
    async with connection.connection(settings, "test") as bus, store.pool(settings, "test", 1) as pool:
        types = [TaskType(h.name, h.queue, h.max_retries, h.timeout, h.dead_letter, h.schema_text) for h in app.handlers.values()]
        await catalogue.announce(pool, types, ["default", "mail"])
        await publishers.create(pool, NewPublisher(name="shop"), "test", "unused")
        await publishers.create(pool, NewPublisher(name="mailer", queues=["mail"], types=["door.mail"]), "test", "unused")
        await until(lambda: bus.connected)
        await topology.ensure(bus, settings, ["default", "mail"])


@pytest.fixture(scope="session")
def doors(postgres: PostgresServer, session_folder: Path) -> Iterator[Process]:
    """The process of the API, without a scheduler and a worker."""
    folder = session_folder / "doors"
    folder.mkdir(mode=0o711)
    server = NatsServer(folder / "nats")
    try:
        with postgres.fresh_database("doors") as database:
            settings = FleetSettings(
                postgres_url=database,
                nats_url=server.url,
                api_port=0,
                grace=2.0,
                api_rate_requests=0,
                api_rate_tasks=0,
                callback_secrets=(SECRET,),
                events="all",
            )
            run(prepare(settings))
            process = launch("api", settings, folder)
            try:
                wait_until_ready(process)
                yield process
                process.terminate()
                assert process.process.wait(20) == 0, process.tail()
            finally:
                process.kill()
    finally:
        server.kill()


@pytest.fixture
async def streams(doors: Process) -> Callable[[], Awaitable[object]]:
    """Makes the streams that are missing, as the scheduler does."""

    async def make() -> object:
        async with connection.connection(doors.settings, "test") as bus:
            await until(lambda: bus.connected)
            return await topology.ensure(bus, doors.settings, ["default", "mail"])

    return make


@pytest.fixture
async def rest(doors: Process) -> AsyncIterator[Client]:
    async with client_of(doors) as client:
        yield client


@pytest.fixture
async def sql(doors: Process) -> AsyncIterator[asyncpg.Connection]:
    """A session of somebody's application."""
    connection_ = await asyncpg.connect(doors.settings.postgres_url)
    yield connection_
    await connection_.close()


@pytest.fixture
async def publisher(doors: Process) -> AsyncIterator[NatsClient]:
    """A client of NATS that may publish everything."""
    client = await nats.connect(doors.settings.nats_url)
    yield client
    await client.close()
