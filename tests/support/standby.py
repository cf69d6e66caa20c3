"""A standby of a test's Postgres: copied by pg_basebackup, follows by streaming, can be promoted. Needs no account but the server's own."""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from support.servers import FAST, SECONDS, PostgresServer, run
from waggle_embedded import postgres
from waggle_embedded.binaries import find_postgres
from waggle_embedded.placement import server_account


class Standby:
    """A running standby. `url` is that of the same database on it; its password is the primary's."""

    def __init__(self, folder: Path, name: str, primary_url: str) -> None:
        dsn = f"{primary_url} application_name={name}" if " " in primary_url else f"{primary_url}?application_name={name}"
        self._extra = {**FAST, "primary_conninfo": dsn, "hot_standby": "on"}
        self.folder = folder
        self._running = postgres.start(folder, extra=self._extra)
        self.port, self.pid, self.log = self._running.port, self._running.pid, self._running.log
        self.url = self._running.url

    def promote(self) -> None:
        """Make it a primary, on a new timeline, and wait until it takes writes."""
        run(self._promote())

    async def _promote(self) -> None:
        connection = await asyncpg.connect(self.url, timeout=SECONDS)
        try:
            assert await connection.fetchval("SELECT pg_promote()"), "pg_promote() gave up"
        finally:
            await connection.close()

    async def caught_up(self, primary_url: str) -> None:
        """Wait until it has replayed everything that the primary has written so far."""
        primary, here = await asyncpg.connect(primary_url), await asyncpg.connect(self.url)
        try:
            written, deadline = await primary.fetchval("SELECT pg_current_wal_flush_lsn()"), time.monotonic() + SECONDS
            while not await here.fetchval("SELECT pg_last_wal_replay_lsn() >= $1", written):
                assert time.monotonic() < deadline, f"the standby did not reach {written}"
        finally:
            await primary.close()
            await here.close()

    def kill(self) -> None:
        """Kill it (SIGKILL) and wait until it has ended."""
        self._running.kill()

    def start(self) -> None:
        """Start it after a kill."""
        self._running = postgres.start(self.folder, port=self.port, extra=self._extra)
        self.pid = self._running.pid


@contextmanager
def standby(primary: PostgresServer, folder: Path, name: str = "standby") -> Iterator[Standby]:
    """A standby of this server for the length of the block, in a new folder."""
    folder.mkdir(mode=0o711)
    (folder / postgres.PASSWORD_FILE).write_bytes((primary.folder / postgres.PASSWORD_FILE).read_bytes())
    _copy(primary.url, folder / "cluster")
    made = Standby(folder, name, primary.url)
    try:
        yield made
    finally:
        made.kill()


def _copy(url: str, data: Path) -> None:
    """pg_basebackup, by the account that runs the servers: it need not be able to write beside the new data folder."""
    account = server_account(data)
    binaries = find_postgres(account, None)
    data.mkdir(mode=0o700)
    if account:
        os.chown(data, account.uid, account.gid)
    subprocess.run(
        [binaries.folder / "pg_basebackup", "--dbname", url, "--pgdata", data, "--wal-method=stream", "--checkpoint=fast", "--no-sync"],
        env=postgres.ENVIRONMENT,
        cwd="/",
        check=True,
        **(account.options if account else {}),
    )
    (data / "standby.signal").touch()
