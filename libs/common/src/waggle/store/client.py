"""What Waggle uses of asyncpg beyond its documented interface. Each piece says why, and which test guards it; see `require`."""

import asyncio
from typing import Final, TypeAlias

import asyncpg

from waggle import pinned

VERSION: Final = "0.32.0"
ACKNOWLEDGE_SECONDS: Final = 0.5  # for the server to acknowledge a cancellation

PooledConnection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Connection: TypeAlias = "asyncpg.Pool[asyncpg.Record] | asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


def require() -> None:
    """Check that the installed asyncpg is the one that these pieces were tested with. Raises WrongVersion."""
    pinned.require("asyncpg", VERSION, "waggle.store.client uses private parts of it")


class TimeLimitedConnection(asyncpg.Connection):
    """Closes itself when the server does not acknowledge a cancellation within ACKNOWLEDGE_SECONDS.

    asyncpg waits for that as long as a statement may take, which is longer than a lease: a backend that hangs would cost a worker all its runs.
    No option limits that wait (MagicStack/asyncpg#1326, #1356). Guarded by tests/faults/test_a_postgres_backend_stands_still.py.
    """

    def _cancel_current_command(self, waiter: "asyncio.Future[None]", cancel_waiter: "asyncio.Future[None] | None" = None) -> None:
        super()._cancel_current_command(waiter, cancel_waiter)  # type: ignore[misc]  # not in its stubs
        asyncio.get_running_loop().call_later(ACKNOWLEDGE_SECONDS, self._give_up, cancel_waiter)

    def _give_up(self, cancel_waiter: "asyncio.Future[None] | None") -> None:
        if cancel_waiter is not None and not cancel_waiter.done():
            self.terminate()
