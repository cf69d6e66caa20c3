"""Which queues are paused: Postgres says so. Looked at when a hint comes, and all the time as the net below it: a hint may be lost."""

import asyncio
from collections.abc import Sequence, Set
from typing import Final

import structlog

from waggle.bus.connection import OUTAGE as BUS_OUTAGE
from waggle.loops import periodic, wait_for
from waggle.store import queues
from waggle.store.client import Connection
from waggle.store.postgres import OUTAGE
from waggle_worker.claims import Claims

log = structlog.get_logger()

EVERY: Final = 0.9  # seconds; a worker stops pulling within a second, whatever became of the hint


class Pauses:
    """Keeps the claims of one worker away from paused queues."""

    def __init__(self, connection: Connection, claims: Claims, names: Sequence[str]) -> None:
        self._connection, self._claims, self._names = connection, claims, names
        self._paused: Set[str] = frozenset()
        self._hint = asyncio.Event()

    def hint(self) -> None:
        """A queue was paused or resumed."""
        self._hint.set()

    async def look(self) -> None:
        """Read what is paused, and act on it. Raises one of OUTAGE: then what was known holds."""
        paused = await queues.paused(self._connection, self._names)
        for name in paused - self._paused:
            log.info("queue paused", queue=name)
        for name in self._paused - paused:
            log.info("queue resumed", queue=name)
        self._paused = paused
        await self._claims.pause(paused)

    async def keep(self, stopping: asyncio.Event) -> None:
        async def step() -> bool:
            self._hint.clear()
            await self.look()
            await wait_for(self._hint, EVERY)
            return True

        await periodic(EVERY, step, OUTAGE + BUS_OUTAGE, stopping)
