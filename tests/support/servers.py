"""The servers of the tests: one Postgres a session with a database a test, a NATS server a test; each can be killed, paused and started again."""

import asyncio
import shutil
import signal
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
from waggle.store.migrate import migrate
from waggle_cli.embedded import nats, postgres
from waggle_cli.embedded.nats import Nats
from waggle_cli.embedded.postgres import Postgres

T = TypeVar("T")

TEMPLATE = "waggle"
FAST = {"fsync": "off", "full_page_writes": "off"}
"""A process that is killed loses nothing by this, and no test pulls the plug."""


class Server:
    """A server that a test may kill and start again on the same data and port."""

    def __init__(self, folder: Path, start: Callable[[Path, int], Postgres | Nats]) -> None:
        self.folder = folder
        self._start = start
        self._running = start(folder, 0)
        self.port = self._running.port
        self.url = self._running.url

    @property
    def log(self) -> Path:
        return self._running.log

    @property
    def pid(self) -> int:
        return self._running.pid

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self._running.kill()

    def start(self) -> None:
        """Start it again after a kill, and wait until it answers."""
        self._running = self._start(self.folder, self.port)

    def restart(self) -> None:
        """kill -9, and start again."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: it stands still, its connections stay open. (Of Postgres only the postmaster.)"""
        self._running.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._running.process.send_signal(signal.SIGCONT)


class NatsServer(Server):
    """NATS with JetStream."""

    def __init__(self, folder: Path, extra: str = "") -> None:
        super().__init__(folder, lambda folder, port: nats.start(folder, port=port, extra=extra))

    def wipe(self) -> None:
        """kill -9, lose all that JetStream stored, start again."""
        self.kill()
        shutil.rmtree(self.folder / "store")
        self.start()


class PostgresServer(Server):
    """Postgres, its first database migrated."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, lambda folder, port: postgres.start(folder, port=port, extra=FAST))
        run(migrate(self.url))

    @contextmanager
    def fresh_database(self, name: str) -> Iterator[str]:
        """A copy of the first database; gives its address."""
        self._administer(f'CREATE DATABASE "{name}" TEMPLATE {TEMPLATE}')
        try:
            yield self._address(name)
        finally:
            self._administer(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _address(self, name: str) -> str:
        return f"{self.url.rpartition('/')[0]}/{name}"

    def _administer(self, statement: str) -> None:
        async def administer() -> None:
            connection = await asyncpg.connect(self._address("postgres"))
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        run(administer())


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end from a fixture that is not async, beside the test's own loop."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, coroutine).result()
