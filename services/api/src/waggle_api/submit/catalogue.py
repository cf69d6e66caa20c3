"""A copy of the catalogue for checking submissions: task types with their compiled schemas, queues, and the database's clock.

A payload may be that of any version that a live worker serves; while nobody lives, that of the version that was served last.

Refreshed every 2 s, and at once (up to four times a second) when a name is unknown.
"""

import asyncio
import itertools
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import asyncpg

from waggle import payload_schema
from waggle.loops import periodic
from waggle.payload_schema import TypeSchema
from waggle.store import catalogue, waiting
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle_api.connections import borrowed

REFRESH_SECONDS: Final = 2.0
REFRESH_PAUSE_SECONDS: Final = 0.25
REFRESH_TIMEOUT_SECONDS: Final = 3.0


class KnownType(NamedTuple):
    """A task type: the defaults of its newest version, and what its payloads may be. `timeout` is in seconds."""

    name: str
    queue: str
    max_retries: int
    timeout: float
    payload: TypeSchema = payload_schema.ANY
    schemas: catalogue.Schemas = ((), ())


class Catalogue:
    """The copy; while Postgres answers it is at most 2 s old."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self.types: Mapping[str, KnownType] = {}
        self.queues: Mapping[str, bool] = {}
        self._pool = pool
        self._lock = asyncio.Lock()
        self._began = 0.0  # when the last successful refresh began; 0: never
        self._clock: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        """The database's clock, as of the last refresh."""
        assert self._clock is not None
        read, at = self._clock
        return read + timedelta(seconds=time.monotonic() - at)

    async def refresh(self) -> None:
        """Return once a refresh that began after this call is done. Raises one of POSTGRES_OUTAGE."""
        asked = time.monotonic()
        async with self._lock:
            if self._began <= asked:
                await asyncio.sleep(self._began + REFRESH_PAUSE_SECONDS - time.monotonic())
                await self._read()

    async def keep(self, stopping: asyncio.Event) -> None:
        """The loop that refreshes the copy."""

        async def step() -> bool:
            async with self._lock:
                await self._read()
            return False

        await periodic(REFRESH_SECONDS, step, POSTGRES_OUTAGE, stopping)

    async def _read(self) -> None:
        began = time.monotonic()
        async with borrowed(self._pool, REFRESH_TIMEOUT_SECONDS) as connection:
            asked = time.monotonic()
            now = await waiting.now(connection)
            self._clock = (now, (asked + time.monotonic()) / 2)
            versions = await catalogue.versions(connection)
            self.queues = await catalogue.queues(connection)
        self.types = {name: self._known(list(rows)) for name, rows in itertools.groupby(versions, lambda row: row.name)}
        self._began = began

    def _known(self, versions: list[catalogue.TypeVersion]) -> KnownType:
        """A type from its versions, the newest first. Compiled again only when one came or went."""
        newest, schemas = versions[0], catalogue.schemas_of(versions)
        before = self.types.get(newest.name)
        payload = before.payload if before is not None and before.schemas == schemas else payload_schema.of_type(newest.name, *schemas)
        return KnownType(newest.name, newest.queue, newest.max_retries, newest.timeout, payload, schemas)
