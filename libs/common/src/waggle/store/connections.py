"""How one connection to Postgres is opened: with its session settings, or, behind a pooler, so that each transaction sets them (docs/adr/0009).

With several servers in the address, the one that takes writes is found: each is tried with a time-out of its own, the last good one first.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

import asyncpg
import structlog

from waggle.settings.services import DirectSettings
from waggle.settings.shared import SettingsError
from waggle.settings.sources import masked
from waggle.store import client
from waggle.store.client import PoolerConnection, TimeLimitedConnection
from waggle.store.hosts import Host, read_address
from waggle.store.primary import PrimaryGate
from waggle.store.tls import tls_options
from waggle.telemetry import certificates

log = structlog.get_logger()

CONNECT_SECONDS: Final = 5.0
STATEMENT_SECONDS: Final = 10.0
UNUSABLE: Final[tuple[type[Exception], ...]] = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)  # the next server is tried
GOOD, ANSWERS, SILENT = range(3)  # what was last heard of a server, in the order in which they are tried


# What a role or a database may have set. `transaction_timeout` came with Postgres 17.
UNLIMITED: Final = """
SELECT set_config(name, '0', false) FROM pg_settings
WHERE name IN ('statement_timeout', 'lock_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout')
"""
POOLER_ADVICE: Final = "Add the parameter to PgBouncer's ignore_startup_parameters, remove it from the address, or use an address of Postgres itself"
POOL_MODE_ADVICE: Final = "Set its pool_mode to transaction or session, or use an address of Postgres itself"


class PoolerRefuses(SettingsError):
    """A pooler does not take what each connection needs; `__cause__` is what it says."""


class NoPrimary(ConnectionError):
    """None of the servers of an address can be used. `problems` holds the error of each by its name."""

    def __init__(self, problems: dict[str, Exception]) -> None:
        self.problems = problems
        super().__init__("no primary: " + "; ".join(f"{name}: {_reason(error)}" for name, error in problems.items()))


class Standby(ConnectionError):
    """A server answers and takes no writes."""


class Connector:
    """Opens connections for a pool. Once it met a pooler, it expects one; once it found the primary, it tries that server first.

    Where the primary is another server than before, it closes the connections to the old one: they would hang, or read what is old.
    """

    def __init__(
        self,
        url: str,
        schema: str,
        session: dict[str, str],
        *,
        seconds: float = CONNECT_SECONDS,
        statement_seconds: float | None = STATEMENT_SECONDS,
        setting: str = "WAGGLE_POSTGRES_URL",
        gate: PrimaryGate | None = None,
    ) -> None:
        client.require()
        self._url, self._setting = url, setting
        self._hosts, self._primary, own_seconds, self._own = read_address(url, setting)
        self._schema = schema
        self._gate = gate
        self._session = named(session, self._own)
        self._limit = own_seconds or seconds
        self._options: dict[str, Any] = {"timeout": self._limit, "command_timeout": statement_seconds, "target_session_attrs": "any"}
        if "passfile" in self._own:
            self._options["passfile"] = Path(self._own["passfile"])
        self._options |= tls_options(self._hosts[0].url, setting)
        self._behind_pooler: set[Host] = set()
        self._heard = dict.fromkeys(self._hosts, ANSWERS)
        self._last: Host | None = None
        self._opened: WeakSet[TimeLimitedConnection] = WeakSet()

    async def __call__(self, *_: object, **__: object) -> TimeLimitedConnection:
        """A new connection. Raises SettingsError for an address that cannot be used, and what asyncpg raises; with several servers NoPrimary."""
        if len(self._hosts) == 1:
            return await self._open(self._hosts[0])
        problems: dict[str, Exception] = {}
        for host in sorted(self._hosts, key=self._heard.__getitem__):
            try:
                connection = await self._try(host)
            except UNUSABLE as error:
                problems[host.name] = error
            else:
                self._found(host)
                return connection
        raise NoPrimary(problems)

    async def _try(self, host: Host) -> TimeLimitedConnection:
        """One of several. It counts as silent also when the caller gives up: the next one must not find it first again."""
        try:
            async with asyncio.timeout(self._limit):
                return await self._open(host)
        except (Standby, asyncpg.PostgresError):
            self._heard[host] = ANSWERS
            raise
        except BaseException as error:
            self._heard[host] = SILENT
            if isinstance(error, TimeoutError):
                raise TimeoutError(f"no answer in {self._limit:g} s") from None
            raise

    def _found(self, host: Host) -> None:
        self._heard[host] = GOOD
        before, self._last = self._last, host
        if before is not None and before != host:
            self._heard[before] = max(self._heard[before], ANSWERS)
            log.warning("connected to another primary", postgres=host.name, before=before.name)
            for connection in [opened for opened in self._opened if opened.host != host]:
                connection.terminate()

    def _doubt(self, host: Host) -> None:
        """A connection gave up: the server is silent, or takes no writes any more. Its idle connections would make others wait as long."""
        self._heard[host] = SILENT
        for connection in [opened for opened in self._opened if opened.host == host and not opened.in_use]:
            connection.terminate()

    async def _open(self, host: Host) -> TimeLimitedConnection:
        try:
            connection = await self._direct(host) if host not in self._behind_pooler else None
            if connection is None:
                if host not in self._behind_pooler:
                    log.info("connected through a pooler", postgres=masked(host.url))
                self._behind_pooler.add(host)
                connection = await self._through_pooler(host)
        except (asyncpg.ClientConfigurationError, ValueError) as error:
            raise SettingsError(f"{masked(self._url)} cannot be used: {error}") from error
        connection.schema, connection.host = self._schema, host
        try:
            connection.keep_alive(self._own)
        except OSError:
            connection.terminate()
            raise
        certificates.note_peer("postgres", connection.tls)
        if self._primary:
            await _require_primary(connection)
        if self._gate:
            await self._gate.admit(connection)
        connection.gave_up = partial(self._doubt, host)
        self._opened.add(connection)
        return connection

    async def _direct(self, host: Host) -> TimeLimitedConnection | None:
        """None when the other side is a pooler."""
        try:
            connection: TimeLimitedConnection = await asyncpg.connect(
                host.url, server_settings=self._session, connection_class=TimeLimitedConnection, **self._options
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

    async def _through_pooler(self, host: Host) -> TimeLimitedConnection:
        """Raises PoolerRefuses for what a pooler does not take: it would refuse each connection for it."""
        try:
            connection: PoolerConnection = await asyncpg.connect(
                host.url,
                server_settings={"application_name": self._session["application_name"]},
                statement_cache_size=0,
                connection_class=PoolerConnection,
                **self._options,
            )
        except asyncpg.ProtocolViolationError as error:
            if "startup parameter" not in str(error):
                raise
            raise PoolerRefuses(f"{self._setting}: {masked(host.url)} is a pooler and says: {error}. {POOLER_ADVICE}") from error
        connection.begin_with(self._session)
        try:
            await connection.fetchval("SELECT 1")
        except BaseException as error:
            connection.terminate()
            if isinstance(error, asyncpg.PostgresError) and "statement pooling" in str(error):
                raise PoolerRefuses(f"{self._setting}: {masked(host.url)} is a pooler and says: {error}. {POOL_MODE_ADVICE}") from error
            raise
        return connection


def named(session: dict[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """The settings of a session with the application_name of the address behind Waggle's own: `waggle-api shop`."""
    extra = own.get("application_name")
    return {**session, "application_name": f"{session['application_name']} {extra}"} if extra else session


async def _require_primary(connection: TimeLimitedConnection) -> None:
    """Raises Standby, and closes the connection. It asks: the parameter in_hot_standby stays "on" after a promotion until a query is answered."""
    try:
        if not await connection.fetchval("SELECT pg_is_in_recovery()"):
            return
    except BaseException:
        connection.terminate()
        raise
    connection.terminate()
    raise Standby("it is a standby")


def _reason(error: Exception) -> str:
    if isinstance(error, ConnectionError) and error.errno:
        return os.strerror(error.errno).lower()
    return str(error).partition("\n")[0] or type(error).__name__


def direct_url(settings: DirectSettings) -> str:
    """The address without a pooler between."""
    return settings.postgres_direct_url or settings.postgres_url


def direct(url: str, name: str) -> Callable[[], Awaitable[TimeLimitedConnection]]:
    """Opens connections to the server itself, of several to the primary. No limit ends their statements, transactions or idle times.

    They raise SettingsError for a pooler: locks and settings of a session do not work through one.
    """
    connector = Connector(url, "", {"application_name": f"waggle-{name}"}, statement_seconds=None)

    async def opened() -> TimeLimitedConnection:
        connection = await connector()
        if not connection.through_pooler:
            await connection.execute(UNLIMITED)
            return connection
        await connection.close()
        raise SettingsError(f"{masked(url)} is a pooler, and this needs a direct connection to Postgres: set WAGGLE_POSTGRES_DIRECT_URL to one")

    return opened
