"""What Waggle uses of asyncpg beyond its documented interface. Each piece says why, and which test guards it; see `require`."""

import asyncio
from functools import wraps
from typing import Any, Final, TypeAlias

import asyncpg
import asyncpg.transaction

from waggle import pinned

VERSION: Final = "0.32.0"
ACKNOWLEDGE_SECONDS: Final = 0.5  # for the server to acknowledge a cancellation

AMBIGUOUS: Final = (asyncpg.InterfaceError, asyncpg.InternalClientError)  # a programming mistake, or a connection that closed at the wrong moment

PooledConnection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Pool[asyncpg.Record] | asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


def require() -> None:
    """Check that the installed asyncpg is the one that these pieces were tested with. Raises WrongVersion."""
    pinned.require("asyncpg", VERSION, "waggle.store.client uses private parts of it")


def _outage_if_closed(method: Any) -> Any:
    """The method of a connection, raising ConnectionDoesNotExistError when it fails because the connection is closed."""

    @wraps(method)
    async def call(self: "TimeLimitedConnection", *args: Any, **options: Any) -> Any:
        try:
            return await method(self, *args, **options)
        except AMBIGUOUS as error:
            if self.is_closed():
                raise asyncpg.ConnectionDoesNotExistError(str(error)) from error
            raise

    return call


class TimeLimitedConnection(asyncpg.Connection):
    """Closes itself when the server does not acknowledge a cancellation within ACKNOWLEDGE_SECONDS.

    asyncpg waits for that as long as a statement may take, which is longer than a lease: a backend that hangs would cost a worker all its runs.
    No option limits that wait (MagicStack/asyncpg#1326, #1356). Guarded by tests/faults/test_a_postgres_backend_stands_still.py.
    """

    execute = _outage_if_closed(asyncpg.Connection.execute)
    fetch = _outage_if_closed(asyncpg.Connection.fetch)
    fetchrow = _outage_if_closed(asyncpg.Connection.fetchrow)
    fetchval = _outage_if_closed(asyncpg.Connection.fetchval)

    def transaction(self, *, isolation: Any = None, readonly: bool = False, deferrable: bool = False) -> "Transaction":
        return Transaction(self, isolation, readonly, deferrable)

    def _cancel_current_command(self, waiter: "asyncio.Future[None]", cancel_waiter: "asyncio.Future[None] | None" = None) -> None:
        super()._cancel_current_command(waiter, cancel_waiter)  # type: ignore[misc]  # not in its stubs
        asyncio.get_running_loop().call_later(ACKNOWLEDGE_SECONDS, self._give_up, cancel_waiter)

    def _give_up(self, cancel_waiter: "asyncio.Future[None] | None") -> None:
        if cancel_waiter is not None and not cancel_waiter.done():
            self.terminate()


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


class Pool(asyncpg.Pool):
    """A pool that raises ConnectionDoesNotExistError while it closes; asyncpg raises InterfaceError. Guarded by tests/integration/store/test_outages.py."""

    async def _acquire(self, timeout: float | None) -> PooledConnection:
        try:
            return await super()._acquire(timeout)  # type: ignore[misc,no-any-return]  # not in its stubs
        except AMBIGUOUS as error:
            if self.is_closing():
                raise asyncpg.ConnectionDoesNotExistError(str(error)) from error
            raise
