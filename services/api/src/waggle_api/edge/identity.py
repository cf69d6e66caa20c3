"""Who sends a request: the API key or the access token in its headers, looked up in Postgres and remembered for KEY_SECONDS, and whether they may use
the route.

A change of a key, a user or a session counts after KEY_SECONDS at most. While Postgres is away, what was good stays good for OUTAGE_SECONDS,
so that submissions wait for Postgres as they do without keys; nothing else is good then.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import nullcontext
from typing import Any, Final, NamedTuple

import asyncpg
import msgspec
from litestar import Request

from waggle import api_keys
from waggle.api_keys import PREFIX, Fingerprints, same
from waggle.loops import periodic
from waggle.scopes import ROLES, Role, Scope, held
from waggle.store import callers
from waggle.store.callers import StoredKey
from waggle.store.client import PooledConnection
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle_api.caller import ANONYMOUS, NOBODY, Caller
from waggle_api.connections import READ_TIMEOUT_SECONDS, borrowed
from waggle_api.edge import addresses
from waggle_api.edge.blocking import Blocking
from waggle_api.edge.pages import READS
from waggle_api.edge.rates import Policy, Rates
from waggle_api.edge.tokens import Tokens
from waggle_api.http.routing import Identify, Route
from waggle_api.refusals import Forbidden, Unauthenticated

KEY_START: Final = f"{PREFIX}_".encode()
COOKIE_MARK: Final = b"cookie "
KEY_SECONDS: Final = 2.0
KNOWN_SECONDS: Final = 1.0  # for asking again: a Postgres that hangs must not hold up those who are known
OUTAGE_SECONDS: Final = 300.0
KEYS_LIMIT: Final = 10_000  # remembered
LOOKUPS_AT_ONCE: Final = 2  # a flood of keys that do not exist must leave connections to the others
NOTE_SECONDS: Final = 10.0
BY_REQUEST: Final = "nats request"  # the door of requests over NATS


class Found(NamedTuple):
    """Who a key or token stands for, under which id, and for how many seconds at most."""

    caller: Caller
    id: str
    seconds: float


Find = Callable[[PooledConnection], Awaitable[Found]]


class Known:
    """A key or token that was good when it was looked up. `until`: it is asked for again then; `confirmed`: when Postgres last said so."""

    __slots__ = ("caller", "confirmed", "id", "until")

    def __init__(self, caller: Caller, key_id: str, now: float, seconds: float) -> None:
        self.caller, self.id, self.confirmed, self.until = caller, key_id, now, now + seconds


class Identity:
    """Tells who sends a request. `keep` is its loop, which writes when keys were used."""

    def __init__(
        self, pool: "asyncpg.Pool[asyncpg.Record]", secret: str, tokens: Tokens, blocking: Blocking, rates: Rates, requests: Policy, proxies: int
    ) -> None:
        self._pool, self.fingerprints, self.tokens = pool, Fingerprints(secret), tokens
        self._blocking, self._rates, self._requests, self._proxies = blocking, rates, requests, proxies
        self._known: dict[bytes, Known] = {}
        self._used: set[str] = set()
        self._lookups = asyncio.Semaphore(LOOKUPS_AT_ONCE)

    async def __call__(self, request: Request[Any, Any, Any], route: Route, *, by_address: bool = True) -> Caller:
        """The caller. Raises Unauthenticated, Forbidden if they may not use this route, or OverQuota. `by_address`: a failure counts against the address."""
        if route.scope is Scope.PUBLIC:
            return NOBODY
        try:
            caller = await self._caller(request.scope)
        except Unauthenticated as refused:
            if refused.counts and by_address:
                await self._blocking.failed(addresses.client(request.scope, self._proxies), request.scope["state"]["request_id"])
            raise
        check(caller, route)
        if (rate := await self._rates.admit(self._requests, caller.name)) is not None:
            request.scope["state"]["headers"] = rate.headers()
        return caller

    async def still_knows(self, scope: Any) -> bool:
        """Whether the key or session of a request that goes on is still good; also while Postgres is away."""
        try:
            await self._caller(scope)
        except (Unauthenticated, Forbidden):
            return False
        except POSTGRES_OUTAGE:
            return True
        return True

    async def _caller(self, scope: Any) -> Caller:
        text, by_cookie = credential(scope["headers"], self.tokens.cookie_name)
        fingerprint, now = self.fingerprints.of(COOKIE_MARK + text if by_cookie else text), time.monotonic()  # a cookie is no key
        known = self._known.get(fingerprint)
        if known is None and self._blocking.is_blocked(addresses.client(scope, self._proxies)):
            raise Unauthenticated("a blocked address")
        if known is None or known.until < now:
            known = await self._look_up(text, fingerprint, now, by_cookie=by_cookie)
        if by_cookie and scope["method"] not in READS:
            self._check_csrf(known.caller, scope["headers"])
        if known.caller.session is None:
            self._used.add(known.id)
        return known.caller

    async def _look_up(self, text: bytes, fingerprint: bytes, now: float, *, by_cookie: bool) -> Known:
        is_key = text.startswith(KEY_START) and not by_cookie
        find = self._find_key(text, fingerprint) if is_key else self._find_session(text, by_cookie=by_cookie)
        known = self._known.get(fingerprint)
        if known is not None:
            known.until = now + KEY_SECONDS  # others go on with what is known while this one asks
        try:
            seconds = READ_TIMEOUT_SECONDS if known is None else KNOWN_SECONDS
            async with self._lookups if known is None else nullcontext(), borrowed(self._pool, seconds) as connection:
                caller, key_id, seconds = await find(connection)
        except POSTGRES_OUTAGE:
            if known is None or now - known.confirmed > OUTAGE_SECONDS:
                self._known.pop(fingerprint, None)
                raise
            return known
        except Unauthenticated:
            self._known.pop(fingerprint, None)
            raise
        self._known.pop(fingerprint, None)
        if len(self._known) >= KEYS_LIMIT:
            del self._known[next(iter(self._known))]
        self._known[fingerprint] = made = Known(caller, key_id, time.monotonic(), min(KEY_SECONDS, seconds))
        return made

    def _find_key(self, text: bytes, fingerprint: bytes) -> Find:
        """Raises Unauthenticated, also later."""
        key = api_keys.parse(text.decode("latin-1"))
        if key is None:
            raise Unauthenticated("not the form of a key")

        async def find(connection: PooledConnection) -> Found:
            found = await callers.find_key(connection, key.id)
            if found is None:
                raise Unauthenticated(f"no such key: {key.id}")
            if not any(same(fingerprint, secret) for secret in (found.secret, found.previous_secret) if secret):
                raise Unauthenticated(f"wrong secret for the key {key.id}")
            return Found(_caller(found), found.id, KEY_SECONDS if found.seconds is None else found.seconds)

        return find

    def _find_session(self, text: bytes, *, by_cookie: bool) -> Find:
        """Raises Unauthenticated, also later."""
        session_id, seconds = (self.tokens.read_cookie(text), math.inf) if by_cookie else self.tokens.read_access(text)

        async def find(connection: PooledConnection) -> Found:
            found = await callers.find_session(connection, session_id)
            if found is None or found.role not in ROLES:
                raise Unauthenticated("the session has ended", counts=False)
            caller = Caller(name=f"user:{found.name}", scopes=ROLES[Role(found.role)], session=session_id, by_cookie=by_cookie)
            return Found(caller, str(session_id), min(seconds, found.seconds))

        return find

    def _check_csrf(self, caller: Caller, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raises Forbidden."""
        assert caller.session is not None
        given = [value for name, value in headers if name == b"x-csrf-token"]
        if len(given) != 1 or not same(given[0], self.tokens.csrf(caller.session).encode()):
            raise Forbidden("a write of a browser session needs the header X-CSRF-Token, with the csrf_token of /api/auth/me")

    def forget(self, key_id: str) -> None:
        """Look this key, or what belongs to this session, up again before it is used the next time."""
        for fingerprint in [fingerprint for fingerprint, known in self._known.items() if known.id == key_id]:
            del self._known[fingerprint]

    def forget_user(self, name: str) -> None:
        """The same for all sessions of a user."""
        for fingerprint in [fingerprint for fingerprint, known in self._known.items() if known.caller.name == f"user:{name}"]:
            del self._known[fingerprint]

    async def keep(self, stopping: asyncio.Event) -> None:
        """The loop that writes when keys were used."""

        async def note() -> bool:
            if used := list(self._used):
                async with borrowed(self._pool) as connection:
                    await callers.note_used(connection, used)
                self._used.difference_update(used)
            return False

        await periodic(NOTE_SECONDS, note, POSTGRES_OUTAGE, stopping)


async def everybody(request: Request[Any, Any, Any], route: Route) -> Caller:  # noqa: ARG001  # the shape of Identify
    """Where nobody is asked who they are."""
    return ANONYMOUS


def by_request(identity: Identity | None) -> Identify:
    """As over HTTP, for requests over NATS: a failure counts against nobody, because a message has no address."""
    if identity is None:
        return everybody

    async def identify(request: Request[Any, Any, Any], route: Route) -> Caller:
        return msgspec.structs.replace(await identity(request, route, by_address=False), door=BY_REQUEST)

    return identify


def check(caller: Caller, route: Route) -> None:
    """Raises Forbidden if this caller may not use this route."""
    if route.scope is not Scope.SIGNED_IN and route.scope not in caller.scopes:
        raise Forbidden(f"this needs the scope {route.scope}, which you do not have")
    if caller.is_limited and not route.limited:
        raise Forbidden("this concerns all queues and types, and your key is limited to some")


def credential(headers: Iterable[tuple[bytes, bytes]], cookie_name: bytes) -> tuple[bytes, bool]:
    """The key or token that a request carries, and whether it is a browser's cookie. Raises Unauthenticated if there is none, or more than one."""
    found = cookie = None
    for name, value in headers:
        if name == b"authorization":
            scheme, _, given = value.partition(b" ")
            if scheme.lower() != b"bearer":
                raise Unauthenticated("another scheme than Bearer")
        elif name == b"x-api-key":
            given = value
        elif name == b"cookie":
            cookie = _in_header(value, cookie_name) or cookie
            continue
        else:
            continue
        given = given.strip()
        if found is not None and found != given:
            raise Unauthenticated("two different credentials")
        found = given
    if found:
        return found, False
    if cookie:
        return cookie, True
    raise Unauthenticated("no credentials", counts=False)


def cookie_value(headers: Iterable[tuple[bytes, bytes]], wanted: bytes) -> bytes | None:
    """The value of a cookie."""
    found = [value for name, header in headers if name == b"cookie" and (value := _in_header(header, wanted))]
    return found[0] if found else None


def _in_header(header: bytes, wanted: bytes) -> bytes | None:
    """The value of a cookie in the header `Cookie` (RFC 6265, section 4.2.1)."""
    for pair in header.split(b";"):
        name, _, value = pair.strip().partition(b"=")
        if name == wanted:
            return value
    return None


def _caller(found: StoredKey) -> Caller:
    queues, types = (None if names is None else frozenset(names) for names in (found.queues, found.types))
    return Caller(name=f"key:{found.id}", scopes=held(found.scopes), queues=queues, types=types)
