"""What the doctor looks at: the settings, and the servers as far as they let us in. Nothing here waits long, and nothing writes."""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg

from waggle.bus import connection
from waggle.bus.client import NatsClient
from waggle.bus.connection import OUTAGE as BUS_OUTAGE
from waggle.bus.connection import Bus
from waggle.settings.services import CommandLineSettings
from waggle.settings.sources import masked
from waggle.store import diagnosis
from waggle.store.connections import check_url
from waggle.store.postgres import OUTAGE
from waggle_cli.doctor.findings import reason

CONNECT_SECONDS: Final = 3.0
ONCE: Final[dict[str, Any]] = {"allow_reconnect": False, "max_reconnect_attempts": 1, "reconnect_time_wait": 0.1, "connect_timeout": 2}
CLOSED: Final[tuple[type[Exception], ...]] = (*OUTAGE, asyncpg.PostgresError, asyncpg.InterfaceError)  # the last one: a way to log in that asyncpg lacks


@dataclass(frozen=True)
class NatsServer:
    """The NATS server that answered: its version and largest message, and how long its answer took."""

    version: tuple[int, int, int]
    max_payload: int
    seconds: float


@dataclass
class Patient:
    """`database`, `nats` and `bus` are None while their server does not let us in; `postgres_error` and `nats_error` then say why.

    `schema_fits` is set once the database is known to have the schema of this code. `data` is the folder of the `waggle up` that was found.
    """

    settings: CommandLineSettings
    data: Path | None = None
    api_url: str = ""
    database: "asyncpg.Connection[asyncpg.Record] | None" = None
    postgres_error: Exception | None = None
    postgres_seconds: float = 0.0
    nats: NatsServer | None = None
    nats_error: str = ""
    bus: Bus | None = None
    schema_fits: bool = False

    @property
    def postgres_address(self) -> str:
        return masked(self.settings.postgres_url)

    @property
    def api_address(self) -> str:
        return masked(self.api_url) if "@" in self.api_url else self.api_url

    @property
    def nats_address(self) -> str:
        return masked(self.settings.nats_url)

    async def admit(self, stack: AsyncExitStack) -> None:
        """Connect to both servers. Raises SettingsError for addresses that are none."""
        check_url(self.settings.postgres_url)
        bus = await stack.enter_async_context(connection.connection(self.settings, "doctor"))  # connects in the background
        await self._admit_postgres(stack)
        await self._admit_nats()
        if self.nats:
            if not bus.connected:
                await bus.renewed(CONNECT_SECONDS)
            self.bus = bus if bus.connected else None

    async def _admit_postgres(self, stack: AsyncExitStack) -> None:
        try:
            self.database = await diagnosis.connect(self.settings)
            stack.callback(self.database.terminate)
            asked = time.monotonic()
            await diagnosis.clock(self.database)
            self.postgres_seconds = time.monotonic() - asked
        except CLOSED as error:
            self.database, self.postgres_error = None, error

    async def _admit_nats(self) -> None:
        """On a connection of its own that says why it fails; the bus would only try again."""
        reasons: list[str] = []

        async def listen(error: Exception) -> None:
            reasons.append(reason(error))

        servers, client = [url.strip() for url in self.settings.nats_url.split(",")], NatsClient()
        try:
            async with asyncio.timeout(2 * CONNECT_SECONDS):
                await client.connect(servers=servers, name="waggle-doctor", **ONCE, error_cb=listen)
                asked = time.monotonic()
                await client.flush()
                version = client.connected_server_version
                self.nats = NatsServer((version.major, version.minor, version.patch), client.max_payload, time.monotonic() - asked)
        except BUS_OUTAGE as error:
            self.nats_error = reasons[-1] if reasons else reason(error)
        finally:
            await client.close()
