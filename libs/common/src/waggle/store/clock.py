"""What a jump of the database's clock leaves behind, and how it is put right. Each function is safe on many schedulers at once."""

from typing import Final

import asyncpg

from waggle.store.client import Connection
from waggle.store.sql import statement

BATCH: Final = 1000


async def restart_leases(connection: Connection) -> None:
    """Count every lease from now, and set heartbeats of the future to now."""
    await statement("clock/restart_leases").execute(connection)


async def clamp(connection: Connection) -> None:
    """Set heartbeats of the future to now."""
    await statement("clock/clamp").execute(connection)


async def record(connection: Connection, seconds: float) -> None:
    """Record a jump by `seconds`, negative for back. The audit reads it."""
    await statement("clock/record").execute(connection, seconds=seconds)


async def pull(connection: Connection, back: float) -> int:
    """After the clock was set back by `back` seconds: what was due by the old clock is due. Returns how many tasks that were."""
    pulled = 0
    for name, values in (("clock/pull_rung", {}), ("clock/pull_due", {"back": back})):
        while True:
            count = await statement(name).execute(connection, most=BATCH, **values)
            pulled += count
            if count < BATCH:
                break
    await statement("clock/pull_others").execute(connection, back=back)
    return pulled


async def recent(connection: Connection) -> list[asyncpg.Record]:
    """Jumps of the last day: at, seconds."""
    return await statement("clock/recent").fetch(connection)
