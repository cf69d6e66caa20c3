"""Rate limits over the whole fleet: a sliding window of a minute for each client, counted by NATS.

Of the minute before, that part counts which is not over yet: 30 s into a minute, half of what it had. Requests that arrive while a count is under way are
counted together. A client that is over its quota is refused without a count. While NATS is away, each API counts by itself.
"""

import asyncio
import math
import time
from collections.abc import Callable
from typing import Final, NamedTuple

import structlog

from waggle.bus import counters, subjects
from waggle.bus.connection import NATS_OUTAGE, Bus
from waggle.bus.counters import NotCounted
from waggle_api import metrics
from waggle_api.refusals import OverQuota, Unavailable

log = structlog.get_logger()

WINDOW_SECONDS: Final = 60
CLIENTS: Final = 20_000  # whose counts are remembered
AWAY_SECONDS: Final = 2.0  # before NATS is asked again after it did not answer
_UNKNOWN: Final = -1
OUTAGE: Final[tuple[type[Exception], ...]] = (NotCounted, *NATS_OUTAGE)


class Policy(NamedTuple):
    """How much each client may do in a minute. `closed`: without NATS nobody may."""

    name: str
    quota: int
    closed: bool = False


class Policies(NamedTuple):
    """Those of an API."""

    requests: Policy
    tasks: Policy
    logins: Policy
    refreshes: Policy


def policies(requests: int, tasks: int, logins: int) -> Policies:
    """By their quotas; 0 is no limit. Without NATS nobody signs in, and who has signed in goes on."""
    return Policies(Policy("requests", requests), Policy("tasks", tasks), Policy("logins", logins, closed=True), Policy("refreshes", logins))


class Rate(NamedTuple):
    """What is left of a quota, and in how many seconds all of it is there again."""

    policy: Policy
    remaining: int
    reset: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        """As draft-ietf-httpapi-ratelimit-headers-11 has them."""
        name = f'"{self.policy.name}"'
        return [
            (b"ratelimit-policy", f"{name};q={self.policy.quota};w={WINDOW_SECONDS}".encode()),
            (b"ratelimit", f"{name};r={self.remaining};t={self.reset}".encode()),
        ]


class _Ticket(NamedTuple):
    """One that is to be counted, and who waits for the count."""

    cost: int
    value: "asyncio.Future[int]"


class _Client:
    """What one client did in this minute and in the one before, as far as this API knows; `before` is -1 until NATS was asked, `own` what is known then."""

    __slots__ = ("before", "last", "minute", "own", "policy", "waiting", "who")

    def __init__(self, policy: Policy, who: str, minute: int) -> None:
        self.policy, self.who, self.minute = policy, who, minute
        self.last, self.before, self.own = 0, _UNKNOWN, 0
        self.waiting: list[_Ticket] = []

    def turn(self, minute: int) -> None:
        """A new minute begins. What this API knows of the one before may be less than what all did, but counts while NATS cannot be asked."""
        if minute != self.minute:
            self.own = self.last if minute == self.minute + 1 else 0
            self.minute, self.last, self.before = minute, 0, _UNKNOWN

    @property
    def fading(self) -> int:
        """What counts of the minute before at the begin of this one."""
        return min(self.own if self.before == _UNKNOWN else self.before, self.policy.quota)


class Rates:
    """The limits. `run` is the loop that counts. `clock` is in seconds since 1970, about the same in all APIs."""

    def __init__(self, bus: Bus, clock: Callable[[], float] = time.time) -> None:
        self._bus, self._clock = bus, clock
        self._clients: dict[tuple[str, str], _Client] = {}
        self._due: list[_Client] = []
        self._wake = asyncio.Event()
        self._away_until = 0.0

    async def run(self) -> None:
        """Count whoever waits, all at once; who comes meanwhile is counted next."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            due, self._due = self._due, []
            await asyncio.gather(*(self._count_all(client) for client in due))

    async def admit(self, policy: Policy, who: str, cost: int = 1) -> Rate | None:
        """Count; None where there is no limit. Raises OverQuota, or Unavailable for a closed policy while NATS is away."""
        if not policy.quota:
            return None
        if cost > policy.quota:
            raise OverQuota(f"{cost} {policy.name} at once; {policy.quota} are allowed in a minute", policy.name, WINDOW_SECONDS, [])
        minute, share = divmod(self._clock() / WINDOW_SECONDS, 1)
        client = self._client(policy, who, int(minute))
        if client.last >= policy.quota:
            raise self._over(policy, client, share)
        value = await self._count(client, cost)
        used = value + client.fading * (1 - share)
        if used > policy.quota:
            if cost > 1:  # nothing of it was done
                await self._count(client, -cost)
            raise self._over(policy, client, share)
        return Rate(policy, int(policy.quota - used), _whole(1 - share))

    async def _count(self, client: _Client, cost: int) -> int:
        """How much this client has done in this minute, this included."""
        value: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if not client.waiting:
            self._due.append(client)
        client.waiting.append(_Ticket(cost, value))
        self._wake.set()
        return await value

    async def _count_all(self, client: _Client) -> None:
        tickets, client.waiting = client.waiting, []
        try:
            value = await self._add(client, sum([ticket.cost for ticket in tickets]))
        except Unavailable as error:
            for ticket in tickets:
                if not ticket.value.done():
                    ticket.value.set_exception(Unavailable(error.detail))
            return
        client.last = value
        for ticket in reversed(tickets):
            if not ticket.value.done():  # its client may have gone
                ticket.value.set_result(value)
            value -= ticket.cost

    async def _add(self, client: _Client, cost: int) -> int:
        """Raises Unavailable for a closed policy while NATS is away."""
        if time.monotonic() >= self._away_until:
            try:
                minute = client.minute
                if client.before == _UNKNOWN:
                    client.before = await counters.add(self._bus, subjects.rate(client.policy.name, client.who, minute - 1), 0)
                return await counters.add(self._bus, subjects.rate(client.policy.name, client.who, minute), cost)
            except OUTAGE as error:
                self._away_until = time.monotonic() + AWAY_SECONDS
                log.warning("rates are counted by this API alone", error=str(error) or type(error).__name__)
        if client.policy.closed:
            raise Unavailable("signing in is not possible while NATS, which counts the tries, does not answer")
        return client.last + cost

    def _client(self, policy: Policy, who: str, minute: int) -> _Client:
        client = self._clients.get((policy.name, who))
        if client is None:
            if len(self._clients) >= CLIENTS:
                del self._clients[next(iter(self._clients))]
            client = self._clients[policy.name, who] = _Client(policy, who, minute)
        client.turn(minute)
        return client

    def _over(self, policy: Policy, client: _Client, share: float) -> OverQuota:
        """`t` is when one more would be admitted, if nobody asks until then."""
        metrics.rate_limited(policy.name).inc()
        before = client.fading
        fades = client.last < policy.quota and before > 0  # it falls below the quota within this minute; else in the next one, when this one fades
        wait = 1 - (policy.quota - client.last - 1) / before - share if fades else 1 - share + 1 / policy.quota
        seconds = _whole(wait)
        rate = Rate(policy, 0, seconds)
        return OverQuota(f"more than {policy.quota} {policy.name} in a minute", policy.name, seconds, rate.headers())


def _whole(share: float) -> int:
    """A share of the window in whole seconds, at least one."""
    return max(math.ceil(share * WINDOW_SECONDS), 1)
