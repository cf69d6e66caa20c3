"""Which queues are paused. Postgres knows; the worker reads it after each hint, and polls because a hint may be lost."""

import asyncio
from collections.abc import Sequence, Set
from typing import Final

import structlog

from waggle.bus.connection import NATS_OUTAGE
from waggle.loops import periodic, wait_for
from waggle.store import queues
from waggle.store.client import Connection
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle_worker.claims import Claims

log = structlog.get_logger()

PAUSE_POLL_SECONDS: Final = 0.9  # so that a worker stops pulling within a second even when the hint is lost


class Pauses:
    """Keeps the claims of one worker away from paused queues."""

    def __init__(self, connection: Connection, claims: Claims, names: Sequence[str]) -> None:
        self._connection, self._claims, self._names = connection, claims, names
        self._paused: Set[str] = frozenset()
        self._hint = asyncio.Event()

    def hint(self) -> None:
        """A queue was paused or resumed."""
        self._hint.set()

    async def refresh(self) -> None:
        """Read which queues are paused and apply it. Raises one of POSTGRES_OUTAGE: then nothing changes."""
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
            await self.refresh()
            await wait_for(self._hint, PAUSE_POLL_SECONDS)
            return True

        await periodic(PAUSE_POLL_SECONDS, step, POSTGRES_OUTAGE + NATS_OUTAGE, stopping)
