"""One API process for many tests, with its own database and NATS server; the tests must not interfere with each other."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from support.facts import until
from support.fleet import FleetSettings
from support.handlers import app
from support.processes import START_SECONDS, Process, launch
from support.servers import NatsServer, PostgresServer, run
from waggle.bus import connection, topology
from waggle.store import catalogue
from waggle.store import postgres as store
from waggle.store.catalogue import TaskType
from waggle.store.client import Connection


async def announce(connection: Connection) -> None:
    """Announce the types of `support.handlers`, as a worker that runs them does."""
    handlers = app.handlers.values()
    types = [TaskType(h.name, h.queue, h.max_retries, h.timeout, h.dead_letter, h.schema_text) for h in handlers]
    await catalogue.announce(connection, types, sorted({"default", *(h.queue for h in handlers)}))


async def prepare(settings: FleetSettings) -> None:
    """Announce the types and create the lanes of the queue `default`, which a worker and a scheduler would do."""
    async with connection.connection(settings, "test") as bus, store.pool(settings, "test", 1) as pool:
        await announce(pool)
        await until(lambda: bus.connected)
        await topology.ensure(bus, settings, ["default", "typed"])


@contextmanager
def one_api(postgres: PostgresServer, folder: Path, name: str) -> Iterator[Process]:
    """An API that is ready; `name` names its database. Fails unless it ends with code 0."""
    folder = folder / name
    folder.mkdir(mode=0o711)
    nats = NatsServer(folder / "nats")
    try:
        with postgres.fresh_database(name) as database:
            settings = FleetSettings(postgres_url=database, nats_url=nats.url, api_port=0, grace=2.0, api_block_failures=0, api_rate_logins=0)
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
        nats.kill()


def wait_until_ready(process: Process) -> None:
    """Wait for a service that was launched outside of a loop."""
    deadline = time.monotonic() + START_SECONDS
    while not process.ready():
        assert time.monotonic() < deadline, process.tail()
        time.sleep(0.01)


async def poison(connection: Connection) -> None:
    """Make Postgres refuse tasks whose description is `poison`."""
    await connection.execute("ALTER TABLE waggle.tasks DROP CONSTRAINT IF EXISTS poison")
    await connection.execute("ALTER TABLE waggle.tasks ADD CONSTRAINT poison CHECK (description <> 'poison') NOT VALID")


def as_id(task: object) -> UUID:
    """The id of a task as the API shows it."""
    assert isinstance(task, dict)
    return UUID(task["id"])
