"""Addresses that failed to sign in, or sent keys that are none, again and again: they are blocked for a while, in all APIs.

A blocked address cannot sign in, and no key or token from it is looked up that this API has not seen work. Clients whose keys work go on: behind one address
there may be many of them. Each API counts by itself; blocks are in Postgres.
"""

import asyncio
import time
from collections import deque
from dataclasses import dataclass
from typing import Final

import asyncpg
import structlog

from waggle.admin import blocks
from waggle.admin.trail import Event, Trail
from waggle.loops import periodic
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle_api.connections import borrowed
from waggle_api.edge.addresses import bucket
from waggle_api.refusals import Blocked, Unavailable

log = structlog.get_logger()

WINDOW_SECONDS: Final = 300.0
LOOK_SECONDS: Final = 2.0
OUTAGE: Final[tuple[type[Exception], ...]] = (Unavailable, *POSTGRES_OUTAGE)
ADDRESSES: Final = 10_000  # whose failures are counted
BY: Final = "waggle api"
REASON: Final = "repeated failures to sign in"


@dataclass
class _OwnBlock:
    """A block that this API made, until a look has read it. `shared`: when it was committed; `is_due`: it could not be, and the next look tries again."""

    until: float
    request_id: str
    shared: float | None = None
    is_due: bool = False


class Blocking:
    """Counts failures and knows who is blocked. `keep` is its loop. `limit` of 0 blocks nobody; `seconds` is how long."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", trail: Trail, limit: int, seconds: float) -> None:
        self._pool, self._trail, self._limit, self._seconds = pool, trail, limit, seconds
        self._failures: dict[str, deque[float]] = {}
        self._until: dict[str, float] = {}
        self._own: dict[str, _OwnBlock] = {}

    def is_blocked(self, address: str) -> bool:
        """Whether a client of this address may not try to sign in."""
        return bool(self._until) and self._until.get(bucket(address), 0.0) > time.monotonic()

    def check(self, address: str) -> None:
        """Raises Blocked."""
        if self.is_blocked(address):
            left = self._until[bucket(address)] - time.monotonic()
            raise Blocked("this address is blocked for a while, after repeated failures to sign in; an admin can lift that", int(left) + 1)

    async def failed(self, address: str, request_id: str) -> None:
        """A client of this address failed. The last of `limit` failures within WINDOW_SECONDS blocks it."""
        now, name = time.monotonic(), bucket(address)
        if not self._limit or self.is_blocked(address):
            return
        if name not in self._failures and len(self._failures) >= ADDRESSES:
            del self._failures[next(iter(self._failures))]
        times = self._failures.setdefault(name, deque(maxlen=self._limit))
        times.append(now)
        if len(times) == self._limit and times[0] > now - WINDOW_SECONDS:
            del self._failures[name]
            self._until[name] = now + self._seconds
            self._own[name] = _OwnBlock(now + self._seconds, request_id)
            log.warning("address blocked", address=name, seconds=self._seconds, reason=REASON)
            await self._share(name, self._own[name])

    async def _share(self, name: str, own: _OwnBlock) -> None:
        """Block it in the other APIs, too. While Postgres is away, it is blocked here only."""
        own.is_due = False
        try:
            async with borrowed(self._pool) as connection, connection.transaction():
                made = await blocks.add(connection, name, own.until - time.monotonic(), REASON, BY)
                added = await self._trail.add(connection, Event(BY, "block.add", name, name, own.request_id, after={"until": made.until, "reason": REASON}))
        except OUTAGE as error:
            own.is_due = True
            log.warning("block not shared", address=name, error=str(error) or type(error).__name__)
        else:
            own.shared = time.monotonic()
            log.info("audit", seq=added.seq, hash=added.hash, actor=BY, action="block.add", target=name)

    def lift(self, name: str) -> None:
        """This API does not wait for its next look."""
        self._until.pop(name, None)
        self._own.pop(name, None)
        self._failures.pop(name, None)

    async def look(self) -> bool:
        """Read the blocks of all APIs. One that this API made counts until a look that began after its commit."""
        began = time.monotonic()
        self._own = {name: own for name, own in self._own.items() if own.until > began}
        for name, own in list(self._own.items()):
            if own.is_due:
                await self._share(name, own)
        async with borrowed(self._pool) as connection:
            found = await blocks.standing(connection)
        now = time.monotonic()
        self._own = {name: own for name, own in self._own.items() if own.shared is None or own.shared > began}
        self._until = {row["address"]: now + float(row["seconds"]) for row in found} | {name: own.until for name, own in self._own.items()}
        return False

    async def keep(self, stopping: asyncio.Event) -> None:
        """The loop that reads the blocks of all APIs."""
        await periodic(LOOK_SECONDS, self.look, OUTAGE, stopping)
