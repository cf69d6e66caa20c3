"""The servers of the tests: one Postgres per session with a database per test, and a NATS server per test. A test can kill, pause and restart them."""

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from support.keys import add_admin_key
from waggle.bus.users import NatsPublisher
from waggle.store.migrate import migrate
from waggle_embedded import nats, postgres
from waggle_embedded.nats import Nats
from waggle_embedded.postgres import Postgres

T = TypeVar("T")

TEMPLATE = "waggle"
SECONDS = 60.0
"""Limits what a fixture waits for: long, for a busy machine; finite, because no test limit covers a fixture."""
FAST = {"fsync": "off", "full_page_writes": "off"}
"""Safe: a killed process loses nothing by it, and no test cuts the power."""


class Server:
    """A server that a test may kill and restart with the same data and port."""

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
        """Kill it (SIGKILL) and wait until it has ended."""
        self._running.kill()

    def start(self) -> None:
        """Start it after a kill and wait until it answers."""
        self._running = self._start(self.folder, self.port)

    def restart(self) -> None:
        """Kill it (SIGKILL) and start it."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Stop it (SIGSTOP); its connections stay open. (Of Postgres, only the postmaster stops.)"""
        self._running.process.send_signal(signal.SIGSTOP)
        threads, deadline = Path(f"/proc/{self.pid}/task"), time.monotonic() + SECONDS
        while going := [thread.name for thread in threads.iterdir() if _state(thread) not in "TZX"]:  # each thread stops at its next chance
            assert time.monotonic() < deadline, f"threads {going} of process {self.pid} still run {SECONDS:g} s after it was stopped"
            time.sleep(0.001)

    def resume(self) -> None:
        self._running.process.send_signal(signal.SIGCONT)


def tell_all(postmaster: int, number: signal.Signals) -> None:
    """Send a signal to a postmaster and to the processes that it has started."""
    os.kill(postmaster, number)
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if int(status.read_text().rpartition(")")[2].split()[1]) == postmaster:
                os.kill(int(status.parent.name), number)


def _state(thread: Path) -> str:
    """The state of a thread as in proc(5): T is stopped; Z and X have ended."""
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "X"


class NatsServer(Server):
    """NATS with JetStream."""

    def __init__(self, folder: Path, extra: str = "") -> None:
        super().__init__(folder, lambda folder, port: nats.start(folder, port=port, extra=extra))

    def url_of(self, service: str) -> str:
        """Its address for the user of a service."""
        assert isinstance(self._running, Nats)
        return self._running.url_of(service)

    def let_in(self, *publishers: NatsPublisher) -> None:
        """Take these publishers, as `waggle up` does."""
        assert isinstance(self._running, Nats)
        self._running.let_in(publishers)
        time.sleep(0.5)

    def wipe(self) -> None:
        """Kill it (SIGKILL), delete the JetStream store, and start it."""
        self.kill()
        shutil.rmtree(self.folder / "store")
        self.start()


class PostgresServer(Server):
    """Postgres, with its first database migrated."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, lambda folder, port: postgres.start(folder, port=port, extra=FAST))
        run(migrate(self.url))
        run(add_admin_key(self.url))
        run(_hide_schema(self.url))
        self._databases: Databases | None = None

    @contextmanager
    def fresh_database(self, name: str = "") -> Iterator[str]:
        """The URL of a fresh copy of the first database; `name` makes it recognisable."""
        self._databases = self._databases or Databases(self.url.rpartition("/")[0])
        with self._databases.fresh(name) as url:
            yield url

    def freeze(self) -> None:
        """Stop the postmaster and its processes (SIGSTOP), as when the machine stands still."""
        tell_all(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """After `freeze`; also before a kill, for which a stopped process would wait."""
        tell_all(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Stop it and delete its data."""
        if self._databases:
            self._databases.close()
        self.kill()


class Databases:
    """Copies of a server's first database. While a test runs, the next copy is created and the last one dropped."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._names = (f"test{number}" for number in itertools.count(1))
        self._thread = ThreadPoolExecutor(1)
        self._runner = self._thread.submit(asyncio.Runner).result(SECONDS)
        self._connection = self._run(asyncpg.connect(f"{self._base}/postgres", command_timeout=SECONDS)).result(SECONDS)
        self._next = self._make()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        return self._thread.submit(self._runner.run, coroutine)

    def _make(self, name: str = "") -> Future[str]:
        name = name or next(self._names)

        async def make() -> str:
            await self._connection.execute(f'CREATE DATABASE "{name}" TEMPLATE {TEMPLATE}')
            return name

        return self._run(make())

    @contextmanager
    def fresh(self, name: str) -> Iterator[str]:
        """The URL of a database for one test."""
        if name:
            made = self._made(self._make(name))
        else:
            made = self._made(self._next)
            self._next = self._make()
        yield f"{self._base}/{made}"
        self._run(self._connection.execute(f'DROP DATABASE "{made}" WITH (FORCE)'))

    def _made(self, database: Future[str]) -> str:
        try:
            return database.result(2 * SECONDS)  # the last one is dropped first
        except TimeoutError as error:
            raise AssertionError("Postgres does not create a database: does a test leave a stopped backend behind?") from error

    def close(self) -> None:
        self._run(self._connection.close(timeout=SECONDS)).result(2 * SECONDS)
        self._thread.submit(self._runner.close).result(SECONDS)
        self._thread.shutdown()


async def _hide_schema(url: str) -> None:
    """The role is called like the schema, which would be in its search path: a table without its schema must not be found."""
    connection = await asyncpg.connect(url)
    await connection.execute("ALTER ROLE CURRENT_USER SET search_path TO public")
    await connection.close()


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine from a fixture that is not async, in another event loop than the test."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, _bounded(coroutine)).result()


async def _bounded(coroutine: Coroutine[Any, Any, T]) -> T:
    try:
        async with asyncio.timeout(2 * SECONDS) as limit:
            return await coroutine
    except TimeoutError:
        assert not limit.expired(), f"{coroutine} did not end within {2 * SECONDS:g} s"
        raise
