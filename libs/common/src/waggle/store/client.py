"""What Waggle uses of asyncpg beyond its documented interface. Each piece says why, and which test guards it; see `require`."""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, ClassVar, Final, TypeAlias, TypeVar

import asyncpg
import asyncpg.connect_utils
import asyncpg.transaction

from waggle import forked, pinned
from waggle.store.hosts import Host

T = TypeVar("T")

ASYNCPG_VERSION: Final = "0.32.0"
ACKNOWLEDGE_SECONDS: Final = 0.5  # for the server to acknowledge a cancellation

POSTGRES_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
EARLIEST, LATEST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)  # what a time outside Python's years becomes: with room for a time zone
_WRITES: Final = re.compile(r"(?<!FOR )\b(INSERT|UPDATE|DELETE)\b")

AMBIGUOUS: Final = (asyncpg.InterfaceError, asyncpg.InternalClientError)  # a programming mistake, or a connection that closed at the wrong moment

ENDS_SESSION: Final[tuple[type[Exception], ...]] = (
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.DatabaseDroppedError,
    asyncpg.IdleSessionTimeoutError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
)

PooledConnection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
SingleConnection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Pool[asyncpg.Record] | asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

# Settings of a session, and what sets the same for one transaction. Keep-alives are between the pooler and the server, and none of ours.
_OF_TRANSACTION: Final = {"default_transaction_isolation": "transaction_isolation", "default_transaction_read_only": "transaction_read_only"}
# libpq's names; macOS lacks the first and the last
_SOCKET_OPTIONS: Final = {
    name: getattr(socket, option)
    for name, option in {
        "keepalives_idle": "TCP_KEEPIDLE",
        "keepalives_interval": "TCP_KEEPINTVL",
        "keepalives_count": "TCP_KEEPCNT",
        "tcp_user_timeout": "TCP_USER_TIMEOUT",
    }.items()
    if hasattr(socket, option)
}
_OF_CONNECTION: Final = ("application_name", "tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")


def require() -> None:
    """Check that the installed asyncpg is the one that these pieces were tested with. Raises WrongVersion."""
    pinned.require("asyncpg", ASYNCPG_VERSION, "waggle.store.client uses private parts of it")


FOREIGN: Final = "the table alembic_version in the schema {schema} belongs to another program: set WAGGLE_POSTGRES_SCHEMA to another schema"


def check_address(url: str) -> None:
    """Read an address and the files that it names, as asyncpg does for each connection. Raises ValueError or OSError for what cannot be used.

    Guarded by tests/integration/store/test_addresses.py.
    """
    nothing = dict.fromkeys(("host", "port", "user", "passfile", "database", "ssl", "service", "servicefile", "direct_tls", "server_settings"))
    try:
        parse = asyncpg.connect_utils._parse_connect_dsn_and_args  # type: ignore[attr-defined]  # private
        parse(dsn=url, password="", target_session_attrs="any", krbsrvname=None, gsslib=None, **nothing)
    except KeyError as error:  # getpass.getuser(): an account without a name, as in a container
        raise ValueError("it names no user") from error


def schema_of(connection: Connection) -> str:
    """The schema that holds the tables. Connections from a pool pass attributes on to the one that they stand for, until that one closes."""
    try:
        schema: str = connection.schema  # type: ignore[union-attr]
    except AttributeError as error:
        if error.obj is None:
            raise asyncpg.ConnectionDoesNotExistError("the connection is closed") from error
        raise
    return schema


class UnreadableAnswer(OSError):
    """The statement was executed, and its answer could not be read: as if it had got lost. Repeated, it is read."""


def _outage_if_closed(method: Any) -> Any:
    """The method of a connection, raising ConnectionDoesNotExistError when it fails because the connection is closed.

    asyncpg raises AttributeError if this side closes it when the server has answered one step of a statement and the next has not begun.
    Guarded by tests/integration/store/test_outages.py.
    """

    @wraps(method)
    async def call(self: "TimeLimitedConnection", *args: Any, **options: Any) -> Any:
        try:
            return await method(self, *args, **options)
        except asyncpg.ReadOnlySQLTransactionError:  # it was the primary and is none now: no connection to it is of use
            self.give_up()
            raise
        except ENDS_SESSION:  # the server closes it, and what is between the two may not
            self.terminate()
            raise
        except (*AMBIGUOUS, AttributeError) as error:
            if self.is_closed():
                raise asyncpg.ConnectionDoesNotExistError(str(error)) from error
            raise
        except OverflowError as error:
            await self.read_any_time()
            if _WRITES.search(args[0]):
                raise UnreadableAnswer(f"a row has a time that Python does not know: {error}") from error
            return await method(self, *args, **options)

    return call


class TimeLimitedConnection(asyncpg.Connection):
    """Closes itself when the server does not acknowledge a cancellation within ACKNOWLEDGE_SECONDS. `schema` holds the tables.

    asyncpg waits for that as long as a statement may take, which is longer than a lease: a backend that hangs would cost a worker all its runs.
    No option limits that wait (MagicStack/asyncpg#1326, #1356, findings/asyncpg-a-cancelled-statement-keeps-its-caller-in-the-pool.sh).
    Guarded by tests/faults/test_a_postgres_backend_stands_still.py.
    """

    schema: str
    host: Host
    gave_up: Callable[[], None] | None = None  # tells the opener of this connection, which may know another server
    through_pooler: ClassVar[bool] = False  # asyncpg's isinstance() is true for each of its connections, whatever the class

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        forked.private(self)

    @property
    def transport(self) -> Any:
        """Guarded by tests/integration/worker/processes/test_children.py."""
        return self._transport  # type: ignore[attr-defined]  # missing from its stubs

    execute = _outage_if_closed(asyncpg.Connection.execute)
    fetch = _outage_if_closed(asyncpg.Connection.fetch)
    fetchrow = _outage_if_closed(asyncpg.Connection.fetchrow)
    fetchval = _outage_if_closed(asyncpg.Connection.fetchval)

    def transaction(self, *, isolation: Any = None, readonly: bool = False, deferrable: bool = False) -> "Transaction":
        return Transaction(self, isolation, readonly, deferrable)

    async def read_any_time(self) -> None:
        """Read times outside Python's years, which SQL can write, as EARLIEST and LATEST from now on.

        asyncpg's own codec raises OverflowError for them. It costs a third of this one, so it is replaced on the connection that met such a row only.
        Guarded by tests/integration/store/test_odd_times.py.
        """
        await self.set_type_codec("timestamptz", schema="pg_catalog", encoder=_time_to_postgres, decoder=_time_from_postgres, format="tuple")

    @_outage_if_closed
    async def is_direct(self) -> bool:
        """Whether the server's session is the connection's own: a pooler answers with a process id that it made up.

        The statement is unnamed, so that none is left in a session that others get next.
        """
        statement = await self.prepare("SELECT pg_backend_pid()", name="")
        found: int = await statement.fetchval()
        return found == self.get_server_pid()

    def _cancel_current_command(self, waiter: "asyncio.Future[None]", cancel_waiter: "asyncio.Future[None] | None" = None) -> None:
        super()._cancel_current_command(waiter, cancel_waiter)  # type: ignore[misc]  # not in its stubs
        asyncio.get_running_loop().call_later(ACKNOWLEDGE_SECONDS, self._give_up_unless, cancel_waiter)

    def _give_up_unless(self, cancel_waiter: "asyncio.Future[None] | None") -> None:
        if cancel_waiter is not None and not cancel_waiter.done():
            self.give_up()

    @property
    def tls(self) -> Any:
        """Its ssl object, None without TLS."""
        return self._transport.get_extra_info("ssl_object")  # type: ignore[attr-defined]  # private

    def keep_alive(self, parameters: Mapping[str, str]) -> None:
        """Set libpq's keep-alives of this side on its socket; of a Unix socket there are none.

        Guarded by tests/integration/store/test_addresses.py.
        """
        opened = self._transport.get_extra_info("socket")  # type: ignore[attr-defined]  # private
        if opened is None or opened.family == socket.AF_UNIX:
            return
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(parameters.get("keepalives", "1")))
        for name, option in _SOCKET_OPTIONS.items():
            if value := int(parameters.get(name, "0")):  # 0 is the system's default
                opened.setsockopt(socket.IPPROTO_TCP, option, value)

    @property
    def in_use(self) -> bool:
        """Whether somebody has acquired it from its pool."""
        return self._proxy is not None  # type: ignore[attr-defined]  # private

    def give_up(self) -> None:
        """Close it at once, because the server does not answer or takes no writes."""
        self.terminate()
        if self.gave_up:
            self.gave_up()


def _time_from_postgres(found: tuple[int]) -> datetime:
    try:
        moment = POSTGRES_EPOCH + timedelta(microseconds=found[0])
    except OverflowError:
        return LATEST if found[0] > 0 else EARLIEST
    return min(max(moment, EARLIEST), LATEST)


def _time_to_postgres(moment: datetime) -> tuple[int]:
    return ((moment - POSTGRES_EPOCH) // timedelta(microseconds=1),)


class PoolerConnection(TimeLimitedConnection):
    """A connection through a pooler in transaction mode: each transaction may run in another session, so each begins with its settings.

    A statement outside a transaction gets one. Prepared statements are unnamed: asyncpg sends one and its values without a point at which the pooler
    could change the session in between. A transaction of asyncpg begins by `execute("BEGIN …")`, which is private to it.
    Guarded by tests/integration/store/test_pooler.py.
    """

    through_pooler = True
    _settings = ""

    def begin_with(self, session: dict[str, str]) -> None:
        """Set these settings of a session in each transaction."""
        settings = {_OF_TRANSACTION.get(name, name): value for name, value in session.items() if name not in _OF_CONNECTION}
        self._isolation = settings.pop("transaction_isolation", "read committed")
        self._settings = "".join(f" SET LOCAL {name} = '{value}';" for name, value in settings.items())

    async def execute(self, query: str, *args: Any, **options: Any) -> str:
        if query.startswith("BEGIN"):
            begin = f"BEGIN ISOLATION LEVEL {self._isolation};" if query == "BEGIN;" else query
            done: str = await super().execute(begin + self._settings, **options)
            return done
        return await self._with_settings(super().execute, query, *args, **options)

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        return await self._with_settings(super().fetch, query, *args, **options)

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        return await self._with_settings(super().fetchrow, query, *args, **options)

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        return await self._with_settings(super().fetchval, query, *args, **options)

    async def _with_settings(self, run: Callable[..., Awaitable[T]], query: str, *args: Any, **options: Any) -> T:
        if self.is_in_transaction():
            return await run(query, *args, **options)
        async with self.transaction():
            return await run(query, *args, **options)


class Transaction(asyncpg.transaction.Transaction):
    """A transaction whose connection may close: the error of its block stands, else it raises ConnectionDoesNotExistError.

    asyncpg raises InterfaceError from the end of the block instead, as for a wrong use, and loses even a cancellation.
    Guarded by tests/faults/test_postgres_closes_connections.py and tests/integration/store/test_outages.py.
    """

    async def start(self) -> None:
        if self._connection.is_closed():  # type: ignore[attr-defined]  # not in its stubs
            raise asyncpg.ConnectionDoesNotExistError("the connection is closed")
        await super().start()

    async def __aexit__(self, kind: object, error: object, traceback: object) -> None:
        try:
            await super().__aexit__(kind, error, traceback)
        except AMBIGUOUS as ambiguous:
            if not self._connection.is_closed():  # type: ignore[attr-defined]  # not in its stubs
                raise
            if error is None or isinstance(error, AMBIGUOUS):
                raise asyncpg.ConnectionDoesNotExistError(str(ambiguous)) from ambiguous


class Acquired(asyncpg.pool.PoolAcquireContext):
    """A connection of the pool for one block. When it closes, asyncpg says to the next use that it was released, as for a wrong use.

    When it is closed while it is released, asyncpg raises InternalClientError; the block has ended then, and nothing is left to do.
    Guarded by tests/integration/store/test_outages.py and tests/integration/store/test_client.py.
    """

    async def __aenter__(self) -> PooledConnection:
        acquired: PooledConnection = await super().__aenter__()
        self._acquired = acquired._con  # type: ignore[attr-defined]  # private
        return acquired

    async def __aexit__(self, *raised: object) -> None:
        try:
            await super().__aexit__(*raised)
        except asyncpg.InternalClientError:
            if not self._acquired.is_closed():
                raise
        error = raised[1]
        if isinstance(error, AMBIGUOUS) and self._acquired.is_closed():
            raise asyncpg.ConnectionDoesNotExistError(str(error)) from error


class Pool(asyncpg.Pool):
    """A pool that knows its schema, and that raises ConnectionDoesNotExistError while it closes, where asyncpg raises InterfaceError.

    asyncpg's own class has slots and no place for the schema, and `create_pool` makes no subclass.
    Guarded by tests/integration/store/test_schema.py and tests/integration/store/test_outages.py.
    """

    def __init__(self, *, schema: str, size: int, **options: Any) -> None:
        every: dict[str, Any] = {"max_queries": 50_000, "setup": None, "init": None, "loop": None, "record_class": asyncpg.Record}
        super().__init__(min_size=0, max_size=size, max_inactive_connection_lifetime=0, **every, **options)
        self.schema = schema
        self.open: Callable[[], Awaitable[TimeLimitedConnection]] = options["connect"]  # one more, outside of the pool

    def acquire(self, *, timeout: float | None = None) -> Acquired:
        return Acquired(self, timeout)

    async def _acquire(self, timeout: float | None) -> PooledConnection:
        try:
            return await super()._acquire(timeout)  # type: ignore[misc,no-any-return]  # not in its stubs
        except AMBIGUOUS as error:
            if self.is_closing():
                raise asyncpg.ConnectionDoesNotExistError(str(error)) from error
            raise
