"""How many tasks a doorbell may carry: what every live worker can read. One of an older Waggle deletes a doorbell of several tasks as malformed."""

import asyncio
from typing import Final

from waggle.bus import subjects
from waggle.bus.ring import Ringer
from waggle.loops import periodic
from waggle.store import leases
from waggle.store.client import Connection
from waggle.store.postgres import POSTGRES_OUTAGE

LOOK_SECONDS: Final = 2.0


async def keep(connection: Connection, ringer: Ringer, stopping: asyncio.Event) -> None:
    """Tell the ringer, again and again. A worker of an older Waggle that comes meanwhile costs a delay: the orphan rule rings what it deleted."""

    async def step() -> bool:
        try:
            readable = await leases.doorbell_ids(connection, subjects.IDS_LIMIT)
        except POSTGRES_OUTAGE:
            ringer.ids_at_most = 1  # a worker of an older Waggle may come unseen
            raise
        ringer.ids_at_most = min(readable, subjects.IDS_LIMIT)
        return False

    await periodic(LOOK_SECONDS, step, POSTGRES_OUTAGE, stopping)
