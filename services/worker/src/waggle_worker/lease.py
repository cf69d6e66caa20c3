"""The worker's lease: believed live by the monotonic clock, counted from before the last successful renewal was sent.

A worker id names one lease. An expired lease is never renewed: all handlers are cancelled and the worker continues under a new id.
"""

import asyncio
import os
import re
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Mapping

import structlog

from waggle.bus import subjects
from waggle.pinned import WAGGLE_VERSION
from waggle.settings.services import WorkerSettings
from waggle.store import leases
from waggle.store.client import Connection
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle_worker import metrics

log = structlog.get_logger()


class Lease:
    """The heartbeat row of this worker, under one id at a time. `versions` are those of its types."""

    def __init__(self, connection: Connection, settings: WorkerSettings, queues: list[str], versions: Mapping[str, str]) -> None:
        self._connection, self._settings = connection, settings
        self._queues, self._versions = queues, dict(sorted(versions.items()))
        self._until = self._renewed = 0.0
        self.id = ""
        self._draining = False
        self._refused = False

    @property
    def live(self) -> bool:
        """Whether this worker may claim now."""
        return not self._refused and time.monotonic() < self._until

    @property
    def renewed(self) -> float:
        """The monotonic time from before the last renewal was sent."""
        return self._renewed

    def covers(self, worker_id: str) -> bool:
        """Whether a task that was claimed under this id may start now. Asked when the claim is answered, and again when the handler starts."""
        return self.id == worker_id and time.monotonic() < self._until

    def drain(self) -> None:
        """From the next heartbeat on, the row says that this worker takes no more tasks."""
        self._draining = True

    async def take(self) -> None:
        """A new lease under a fresh id. Raises one of POSTGRES_OUTAGE."""
        host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:40]
        token = self._settings.lease_token
        fresh = f"{host}-{token}-{secrets.token_hex(3)}" if token else f"{host}-{secrets.token_hex(6)}"
        sent = time.monotonic()
        await leases.register(
            self._connection,
            leases.LeaseRow(
                id=fresh,
                host=socket.gethostname(),
                pid=os.getpid(),
                version=WAGGLE_VERSION,
                seconds=self._settings.lease,
                concurrency=self._settings.concurrency,
                queues=self._queues,
                types=list(self._versions),
                versions=list(self._versions.values()),
                doorbell_ids=subjects.IDS_LIMIT,
            ),
        )
        self.id, self._until, self._renewed, self._refused = fresh, sent + self._settings.lease, sent, False
        log.info("lease taken", worker_id=fresh, seconds=self._settings.lease)

    async def keep(self, running: Callable[[], int], beat: Callable[[], Awaitable[None]], lost: Callable[[], Awaitable[None]]) -> None:
        """The heartbeat: three times in each lease, sooner after an outage.

        A renewal that is refused while the lease lives by the monotonic clock is repeated: the database's clock was set forward, and a scheduler is about to
        notice. `beat` runs after each successful renewal; `lost` after the lease expired, to cancel all handlers and take a new one.
        """
        timeout = interval = self._settings.lease / 3
        while True:
            await asyncio.sleep(interval)
            try:
                async with asyncio.timeout(timeout):
                    renewed = await self._renew(running())
                    if not renewed and time.monotonic() < self._until:
                        interval = self._settings.lease / 15
                        log.warning("heartbeat refused before its time, retrying", worker_id=self.id)
                        continue
                    if not renewed:
                        self._until = 0.0
                        metrics.LEASES.inc()
                        log.warning("lease expired", worker_id=self.id)
                    await (beat() if renewed else lost())
                interval = timeout
            except POSTGRES_OUTAGE as error:
                interval = self._settings.lease / 15
                log.warning("heartbeat failed", worker_id=self.id, error=str(error) or type(error).__name__, starting_tasks=self.live)

    async def leave(self) -> None:
        """End the lease, once everything was given back."""
        self._until = 0.0
        await leases.leave(self._connection, self.id)

    async def _renew(self, running: int) -> bool:
        sent = time.monotonic()
        renewed = await leases.renew(self._connection, self.id, running=running, draining=self._draining)
        self._refused = not renewed
        if renewed:
            self._until, self._renewed = sent + self._settings.lease, sent
        return renewed
