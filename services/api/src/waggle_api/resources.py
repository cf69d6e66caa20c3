"""What the routes work with: opened by `__main__`, handed to each handler in its `Call`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

import asyncpg

from waggle.admin.trail import Trail
from waggle.bus.connection import Bus
from waggle.store.client import PooledConnection
from waggle_api.connections import READ_TIMEOUT_SECONDS, borrowed
from waggle_api.control.feed import Feed
from waggle_api.control.following import Following
from waggle_api.control.waits import Waits
from waggle_api.edge.blocking import Blocking
from waggle_api.edge.identity import Identity
from waggle_api.edge.logins import Passwords
from waggle_api.edge.provider import Provider
from waggle_api.edge.rates import Policies, Rates
from waggle_api.explain.looking import Explainer
from waggle_api.health import Health
from waggle_api.http.routing import RouteCall
from waggle_api.submit.accept import Intake

RESERVED_CONNECTIONS: Final = 9  # of the pool, for submissions and waits: slow lists must not stop submissions


class Resources:
    """The resources of the API. `identity` is None where nobody is asked who they are. `proxies`: how many of our own a request passes."""

    def __init__(
        self,
        *,
        pool: "asyncpg.Pool[asyncpg.Record]",
        bus: Bus,
        intake: Intake,
        waits: Waits,
        feed: Feed,
        following: Following,
        health: Health,
        identity: Identity | None,
        passwords: Passwords,
        trail: Trail,
        blocking: Blocking,
        rates: Rates,
        policies: Policies,
        proxies: int,
        provider: Provider | None,
        explainer: Explainer,
        trace_url: str,
    ) -> None:
        self.pool, self.bus, self.intake, self.waits, self.feed, self.following, self.health = pool, bus, intake, waits, feed, following, health
        self.identity, self.passwords = identity, passwords
        self.trail, self.blocking, self.rates, self.policies, self.proxies = trail, blocking, rates, policies, proxies
        self.provider, self.explainer, self.trace_url = provider, explainer, trace_url
        self._free = asyncio.Semaphore(max(1, pool.get_max_size() - RESERVED_CONNECTIONS))

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[PooledConnection]:
        """A connection for one request. Raises TimeoutError if other requests use them all for too long."""
        async with asyncio.timeout(READ_TIMEOUT_SECONDS):
            await self._free.acquire()
        try:
            async with borrowed(self.pool) as connection:
                yield connection
        finally:
            self._free.release()


Call: TypeAlias = RouteCall[Resources]
