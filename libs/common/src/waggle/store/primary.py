"""Which server is the primary, and since when: leases are counted from then at the earliest.

Whoever first sees a new primary records it, in a table that Postgres empties by a promotion and by a crash recovery (`waggle.primary_since`).
"""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

import asyncpg
import structlog

from waggle.store.client import Connection, TimeLimitedConnection
from waggle.store.sql import statement

log = structlog.get_logger()

AWAY_SECONDS: Final = 30.0  # from an older primary, on news that no connection has confirmed
DOUBT_SECONDS: Final = 600.0  # afterwards


class PrimaryServer(NamedTuple):
    """A primary: a promotion raises the timeline of its system. A new timeline need not be another machine."""

    system: int
    timeline: int

    def replaced(self, other: "PrimaryServer") -> bool:
        """Whether this one is a later primary of the same system. Different systems have no order."""
        return self.system == other.system and self.timeline > other.timeline

    def __str__(self) -> str:
        return f"{self.system}/{self.timeline}"


class Observed(NamedTuple):
    """The primary, and since when it is; `now` is its time."""

    server: PrimaryServer
    now: datetime
    since: datetime


async def observe(connection: Connection) -> Observed:
    """Look at the primary, and record it if nobody has. Raises one of POSTGRES_OUTAGE, also for a standby."""
    while True:
        try:
            row = await statement("primary/observe").fetchrow(connection)
        except asyncpg.FeatureNotSupportedError as error:
            raise asyncpg.ReadOnlySQLTransactionError(f"this server is a standby: {error}") from error
        assert row is not None
        server = PrimaryServer(row["system_identifier"], row["timeline"])
        if row["since"] is not None:
            return Observed(server, row["now"], row["since"])
        if await statement("primary/record").execute(connection):
            log.warning("Postgres has a new primary, leases are counted from now", system=server.system, timeline=server.timeline)


async def identify(connection: Connection) -> PrimaryServer | None:
    """The primary that a connection leads to; None for a standby."""
    row = await statement("primary/identify").fetchrow(connection)
    return None if row is None or row["timeline"] is None else PrimaryServer(row["system_identifier"], row["timeline"])


class StalePrimary(ConnectionError):
    """A connection leads to a primary that was replaced."""


class PrimaryGate:
    """The connections of one process, which may all lead to the newest primary only: an old one that lives on must not accept anything.

    The process sees a primary when it connects, and hears of one from other services. What it saw stays. What it only heard may be wrong: for such news it
    stays away from an older primary for AWAY_SECONDS, and then believes no unconfirmed news for DOUBT_SECONDS. So a forged message stops nobody for long.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: WeakKeyDictionary[TimeLimitedConnection, PrimaryServer] = WeakKeyDictionary()
        self.seen: PrimaryServer | None = None
        self._heard: PrimaryServer | None = None
        self._away_until = -DOUBT_SECONDS
        self.is_refusing = False
        self.on_change: Callable[[], None] = _nothing

    async def admit(self, connection: TimeLimitedConnection) -> None:
        """Look where a new connection leads. Raises StalePrimary, and closes it, when that is an old primary."""
        try:
            server = await identify(connection)
        except BaseException:
            connection.terminate()
            raise
        if server is None:
            return
        if newer := self._newer_than(server):
            connection.terminate()
            if not self.is_refusing:
                self.is_refusing = True
                self.on_change()
            raise StalePrimary(f"Postgres at this address is primary {server}, and {newer} has replaced it")
        self.is_refusing = False
        self._open[connection] = server
        self._see(server)

    def hear(self, server: PrimaryServer) -> bool:
        """What another service works with. Returns whether it should be told of ours, because that is newer or another system."""
        ours = self.seen
        if ours is None or server == ours:
            return False
        if not server.replaced(ours):
            if server.system != ours.system:
                log.error("services use different Postgres systems", ours=str(ours), others=str(server))
            return True
        now = self._clock()
        if now >= self._away_until + DOUBT_SECONDS:
            self._heard, self._away_until = server, now + AWAY_SECONDS
            self._drop(server)
        return False

    def _newer_than(self, server: PrimaryServer) -> PrimaryServer | None:
        if self.seen and self.seen.replaced(server):
            return self.seen
        if self._heard and self._heard.replaced(server):
            if self._clock() < self._away_until:
                return self._heard
            log.error("news of a newer primary not confirmed, going on with the older one", ours=str(server), newer=str(self._heard))
            self._heard = None
        return None

    def _see(self, server: PrimaryServer) -> None:
        before, self.seen = self.seen, server
        if before in (None, server):
            return
        if before.system != server.system:
            log.error("the address of Postgres leads to another system", before=str(before), now=str(server))
        self._drop(server)
        self.on_change()

    def _drop(self, newer: PrimaryServer) -> None:
        """Close every connection to another primary, also those in use: what they have not answered yet has an unknown outcome."""
        old = [(connection, server) for connection, server in self._open.items() if server != newer and not connection.is_closed()]
        for connection, _ in old:
            connection.terminate()
        if old:
            log.error("connections to an old primary dropped", count=len(old), old=str(old[0][1]), newer=str(newer))


def _nothing() -> None:
    """Nobody waits for a change."""
