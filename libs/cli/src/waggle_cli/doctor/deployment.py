"""The deployment that is checked: its settings, and connections to its servers. Nothing here waits long, and nothing writes."""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg

from waggle.bus import connection
from waggle.bus.access import access
from waggle.bus.client import NatsClient
from waggle.bus.connection import NATS_OUTAGE, Bus
from waggle.settings.services import CommandLineSettings
from waggle.settings.sources import masked
from waggle.store import diagnosis
from waggle.store.client import TimeLimitedConnection
from waggle.store.connections import PoolerRefuses
from waggle.store.hosts import read_address
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle_cli.doctor.findings import reason

ONCE: Final[dict[str, Any]] = {"allow_reconnect": False, "max_reconnect_attempts": 1, "reconnect_time_wait": 0.1, "connect_timeout": 2}
CLOSED: Final[tuple[type[Exception], ...]] = (*POSTGRES_OUTAGE, asyncpg.PostgresError, asyncpg.InterfaceError)  # the last: a login that asyncpg lacks


@dataclass(frozen=True)
class NatsServer:
    """A NATS server that answered: its version, its largest message, the seconds until its answer."""

    version: tuple[int, int, int]
    max_payload: int
    seconds: float


@dataclass
class Deployment:
    """`database`, `nats` and `bus` are None if the server cannot be used; `postgres_error` and `nats_error` say why.

    `schema_fits` becomes true once the database is known to have the schema of this code, `bucket` once that of the
    shared breakers is known to exist. `data` is the data folder of a running `waggle up`.
    """

    settings: CommandLineSettings
    data: Path | None = None
    api_url: str = ""
    database: TimeLimitedConnection | None = None
    postgres_error: Exception | None = None
    postgres_seconds: float = 0.0
    nats: NatsServer | None = None
    nats_error: str = ""
    bus: Bus | None = None
    schema_fits: bool = False
    bucket: bool = False
    metrics_urls: dict[str, list[str]] = field(default_factory=dict)  # by service, of a running `waggle up`

    @property
    def postgres_address(self) -> str:
        return masked(self.settings.postgres_url)

    @property
    def api_address(self) -> str:
        return masked(self.api_url) if "@" in self.api_url else self.api_url

    @property
    def nats_address(self) -> str:
        return masked(self.settings.nats_url)

    async def connect(self, stack: AsyncExitStack) -> None:
        """Connect to both servers. Raises SettingsError for an invalid address."""
        read_address(self.settings.postgres_url)
        bus = await stack.enter_async_context(connection.connection(self.settings, "doctor"))  # connects in the background
        await self._connect_postgres(stack)
        await self._connect_nats()
        if self.nats:
            if not bus.connected:
                await bus.renewed(diagnosis.DOCTOR_CONNECT_SECONDS)
            self.bus = bus if bus.connected else None

    async def _connect_postgres(self, stack: AsyncExitStack) -> None:
        try:
            self.database = await diagnosis.connect(self.settings)
            stack.callback(self.database.terminate)
            began = time.monotonic()
            await diagnosis.clock(self.database)
            self.postgres_seconds = time.monotonic() - began
        except PoolerRefuses as refusal:
            self.database, self.postgres_error = None, refusal.__cause__ if isinstance(refusal.__cause__, Exception) else refusal
        except CLOSED as error:
            self.database, self.postgres_error = None, error

    async def _connect_nats(self) -> None:
        """On a separate connection that reports why it fails; the bus would only retry."""
        reasons: list[str] = []

        async def listen(error: Exception) -> None:
            reasons.append(reason(error))

        there, client = access(self.settings), NatsClient()
        client.must_use_tls = there.tls
        try:
            async with asyncio.timeout(2 * diagnosis.DOCTOR_CONNECT_SECONDS):
                await client.connect(servers=there.servers, name="waggle-doctor", **there.options, **ONCE, error_cb=listen)
                began = time.monotonic()
                await client.flush()
                version = client.connected_server_version
                self.nats = NatsServer((version.major, version.minor, version.patch), client.max_payload, time.monotonic() - began)
        except NATS_OUTAGE as error:
            self.nats_error = reasons[-1] if reasons else reason(error)
        finally:
            await client.close()
