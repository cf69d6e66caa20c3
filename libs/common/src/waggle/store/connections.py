"""How one connection to Postgres is opened: with its session settings, or, behind a pooler, so that each transaction sets them (docs/adr/0009)."""

from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import structlog

from waggle.settings.services import DirectSettings
from waggle.settings.shared import SettingsError
from waggle.settings.sources import masked
from waggle.store import client
from waggle.store.client import PoolerConnection, TimeLimitedConnection
from waggle.store.primary import PrimaryGate

log = structlog.get_logger()

CONNECT_SECONDS: Final = 5.0
STATEMENT_SECONDS: Final = 10.0


class Connector:
    """Opens connections for a pool. Once it met a pooler, it expects one."""

    def __init__(
        self,
        url: str,
        schema: str,
        session: dict[str, str],
        *,
        seconds: float = CONNECT_SECONDS,
        statement_seconds: float = STATEMENT_SECONDS,
        gate: PrimaryGate | None = None,
    ) -> None:
        client.require()
        check_url(url)
        self._url = url
        self._schema = schema
        self._gate = gate
        self._session = session
        self._seconds: dict[str, Any] = {"timeout": seconds, "command_timeout": statement_seconds}
        self._behind_pooler = False

    async def __call__(self, *_: object, **__: object) -> TimeLimitedConnection:
        """A new connection. Raises SettingsError for an address that cannot be used, and what asyncpg raises."""
        try:
            connection = await self._open()
        except (asyncpg.ClientConfigurationError, ValueError) as error:
            raise SettingsError(f"{masked(self._url)} cannot be used: {error}") from error
        connection.schema = self._schema
        if self._gate:
            await self._gate.admit(connection)
        return connection

    async def _open(self) -> TimeLimitedConnection:
        if not self._behind_pooler:
            if connection := await self._direct():
                return connection
            self._behind_pooler = True
            log.info("connected through a pooler", postgres=masked(self._url))
        return await self._through_pooler()

    async def _direct(self) -> TimeLimitedConnection | None:
        """None when the other side is a pooler."""
        try:
            connection: TimeLimitedConnection = await asyncpg.connect(
                self._url, server_settings=self._session, connection_class=TimeLimitedConnection, **self._seconds
            )
        except asyncpg.ProtocolViolationError as error:
            if "startup parameter" not in str(error):  # PgBouncer: unsupported startup parameter
                raise
            return None
        try:
            if await connection.is_direct():
                return connection
        except BaseException:
            connection.terminate()
            raise
        await connection.close()
        return None

    async def _through_pooler(self) -> TimeLimitedConnection:
        connection: PoolerConnection = await asyncpg.connect(
            self._url,
            server_settings={"application_name": self._session["application_name"]},
            statement_cache_size=0,
            connection_class=PoolerConnection,
            **self._seconds,
        )
        connection.begin_with(self._session)
        return connection


def check_url(url: str) -> None:
    """Raises SettingsError for an invalid address, which would otherwise look like an unavailable server. The message holds no password."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("postgresql", "postgres") and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise SettingsError(f"WAGGLE_POSTGRES_URL must be postgresql://user:password@host:port/database; {masked(url)} is not")


def direct_url(settings: DirectSettings) -> str:
    """The address without a pooler between."""
    return settings.postgres_direct_url or settings.postgres_url


async def check_direct(url: str) -> None:
    """Raises SettingsError when a pooler answers at this address: locks and settings of a session do not work through one."""
    client.require()
    check_url(url)
    connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS, command_timeout=STATEMENT_SECONDS, connection_class=TimeLimitedConnection)
    try:
        if not await connection.is_direct():
            raise SettingsError(f"{masked(url)} is a pooler, and this needs a direct connection to Postgres: set WAGGLE_POSTGRES_DIRECT_URL to one")
    finally:
        await connection.close()
