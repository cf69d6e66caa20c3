"""What a web page may do to this API: read and write it if it came from here, nothing if it came from elsewhere.

A browser sends requests of any page to any address. Two things tell a foreign page: the name under which it reaches the API (`Host`), because a page can
let its own name lead here, and where it came from (`Origin`, `Sec-Fetch-Site`). Other clients send no origin and are not held back.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from litestar.types import ASGIApp, Receive, Scope, Send

from waggle_api.http import answers, problems
from waggle_api.refusals import ForeignPage, WrongHost

READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
FROM_HERE: Final = frozenset({b"same-origin", b"none"})  # of Sec-Fetch-Site; none: the user typed the address
EXPOSED: Final = b"Location, Retry-After, RateLimit, RateLimit-Policy, Idempotent-Replayed, X-Request-ID"
PREFLIGHT: Final = (
    (b"access-control-allow-methods", b"GET, POST, PATCH, DELETE"),
    (b"access-control-allow-headers", b"Authorization, Content-Type, Idempotency-Key, X-API-Key, X-Request-ID"),
    (b"access-control-max-age", b"600"),
)
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|[^:/?#@\s\[\]]+)(:\d{1,5})?")  # with its port


class Pages:
    """The rule. `names`: those of the API besides localhost and the name of this machine, each with or without a port. `origins`: foreign pages that may use
    it, as their browsers name them.
    """

    def __init__(self, names: Iterable[str], origins: Iterable[str] = ()) -> None:
        self._origins = frozenset(origin.encode() for origin in origins)
        self._own = frozenset(name.lower() for name in names)
        self._names = self._own | {"localhost", socket.gethostname().lower()}
        self.serves = lru_cache(1024)(self._serves)

    def check(self, method: str, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raises WrongHost or ForeignPage."""
        host = origin = site = None
        for name, value in headers:
            if name == b"host":
                if host is not None or not self.serves(value):
                    raise WrongHost(f"this is not {value.decode('latin-1')[:100]!r}; more names of the API are set with WAGGLE_API_HOSTS")
                host = value
            elif name == b"origin":
                origin = value
            elif name == b"sec-fetch-site":
                site = value
        if method not in READS and origin not in self._origins and not self._is_from_here(host, origin, site):
            raise ForeignPage("a web page of another origin may not do this")

    def allowed(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
        """The foreign origin of a request, if pages from there may use the API."""
        if not self._origins:
            return None
        return next((value for name, value in headers if name == b"origin" and value in self._origins), None)

    def _serves(self, host: bytes) -> bool:
        """Whether a request may name this host. An address is no name that a page can let lead here, and browsers keep *.localhost on their own machine."""
        found = _HOST.fullmatch(host.decode("latin-1").lower())
        if found is None:
            return False
        name = found[1].rstrip(".")
        return name in self._names or found[0] in self._own or name.endswith(".localhost") or _is_address(name.strip("[]"))

    def _is_from_here(self, host: bytes | None, origin: bytes | None, site: bytes | None) -> bool:
        if origin is None:
            return site is None or site in FROM_HERE
        scheme, _, place = origin.decode("latin-1").lower().partition("://")
        if scheme not in ("http", "https") or not place:  # such as the origin `null` of a sandboxed page
            return False
        return place in self._own or (host is not None and place == host.decode("latin-1").lower() and (site is None or site in FROM_HERE))


class PageGate:
    """The ASGI application that asks the rule first."""

    def __init__(self, app: ASGIApp, pages: Pages) -> None:
        self._app, self._pages = app, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request: Any = scope
        try:
            self._pages.check(request["method"], request["headers"])
        except (WrongHost, ForeignPage) as error:
            await problems.response(request, error)(scope, receive, send)
        else:
            origin = self._pages.allowed(request["headers"])
            if origin is None:
                await self._app(scope, receive, send)
            elif request["method"] == "OPTIONS":
                answer = answers.no_content()
                answer.headers = [*_shared(origin), *PREFLIGHT]
                await answer(scope, receive, send)
            else:
                await self._app(scope, receive, _sharing(send, origin))


def _shared(origin: bytes) -> list[tuple[bytes, bytes]]:
    """What lets the browser show an answer to a page of this origin (https://fetch.spec.whatwg.org/#http-cors-protocol). No cookie comes with it."""
    return [(b"access-control-allow-origin", origin), (b"access-control-expose-headers", EXPOSED), (b"vary", b"Origin")]


def _sharing(send: Send, origin: bytes) -> Send:
    async def send_shared(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *_shared(origin)]
        await send(message)

    return send_shared


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
