"""The built-in type `http.request`: calls a URL, behind the breaker of its host, and only where it may go (see `addresses`).

Retried: no connection, no answer in time, 408, 429 and 5xx; Retry-After is honoured. Not retried: any other status that was not expected, an address
that is refused, a request that cannot be made. Redirects are not followed: a 3xx is an answer like any other.
"""

import base64
import codecs
import hashlib
import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from ipaddress import ip_address
from typing import Annotated, Any, Final, Literal, NamedTuple

import aiohttp
import msgspec
from msgspec import Meta
from yarl import URL

from waggle.app import App
from waggle.context import Context, Reject, Retry
from waggle.errors import ErrorCode, storable
from waggle.settings.services import WorkerSettings
from waggle.task import BREAKER_LENGTH
from waggle_worker.http.addresses import Allowed, CheckedResolver, Refused

NAME_CHARACTERS: Final = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
VALUE_CHARACTERS: Final = r"^[\t\x20-\x7e]*$"
OURS: Final = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
TEXT_CHARSETS: Final = (
    r"utf-?(8|16|32)([bl]e)?|us-ascii|ascii|latin-?1|iso-8859-[0-9]+|(windows|cp)-?125[0-9]|shift_jis|euc-jp|euc-kr|gb2312|gbk|gb18030|big5|koi8-[ru]"
)
RETRIED: Final = frozenset({408, 429})
RETRY_AFTER_MOST: Final = 3600.0
SHOWN_BODY: Final = 1_000  # characters of an unexpected answer's body that the error keeps
SHARE: Final = 0.95  # of the task's timeout, so that a slow server is told as such

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Url = Annotated[str, Meta(pattern=r"^[hH][tT][tT][pP][sS]?://[^\s]+$", max_length=8192, description="http or https, without user and password")]
HeaderName = Annotated[str, Meta(pattern=NAME_CHARACTERS, max_length=200)]
HeaderValue = Annotated[str, Meta(pattern=VALUE_CHARACTERS, max_length=8000)]
StatusCode = Annotated[int, Meta(ge=100, le=599)]
Timeout = Annotated[float, Meta(gt=0, le=604_800)]


class Call(NamedTuple):
    """A request that can be made. `seconds` is the time for all of it."""

    method: str
    url: URL
    headers: Mapping[str, str]
    data: bytes | None
    seconds: float


class Answer(NamedTuple):
    """What came back; `body` is cut off at the limit when `truncated`."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool
    charset: str


class Outgoing:
    """The requests of one worker: one session, made when it is first needed. Raises SettingsError for an allow list that is none."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._allowed, self._limit = Allowed(settings.http_allow), settings.http_body_limit
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Outgoing":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    def app(self) -> App:
        """The handler, to be included."""
        app = App()
        app.task("http.request", timeout=60)(self.request)
        return app

    async def request(
        self,
        ctx: Context,
        url: Url,
        method: Method = "GET",
        headers: dict[HeaderName, HeaderValue] | None = None,
        body: str | None = None,
        json: Any = None,
        timeout: Timeout = 30.0,
        expected_status: list[StatusCode] | None = None,
    ) -> dict[str, Any]:
        """Call a URL; `expected_status` are the statuses that are a success, 200 to 299 unless given."""
        call = prepared(ctx, method, url, headers or {}, body, json, timeout)
        self._check_literal(call.url)
        async with ctx.breaker(breaker_name(call.url)):
            answer = await self._answer(call)
            if answer.status >= 500 and not is_expected(answer.status, expected_status):
                raise unexpected(answer)
        if not is_expected(answer.status, expected_status):
            raise unexpected(answer)
        return {"status": answer.status, "headers": dict(answer.headers), "truncated": answer.truncated, **told(answer.body, answer)}

    def _check_literal(self, url: URL) -> None:
        """aiohttp asks no resolver about an address that stands in the URL."""
        host = url.raw_host or ""
        try:
            ip_address(host)
        except ValueError:
            return
        try:
            self._allowed.of(host, [host], url.port or 0)
        except Refused as error:
            raise _refused(error) from None

    async def _answer(self, call: Call) -> Answer:
        try:
            async with self._opened().request(
                call.method, call.url, headers=call.headers, data=call.data, allow_redirects=False, timeout=aiohttp.ClientTimeout(total=call.seconds)
            ) as response:
                body = await self._body(response)
                return Answer(response.status, _joined(response), body[: self._limit], len(body) > self._limit, response.charset or "utf-8")
        except Refused as error:
            raise _refused(error) from None
        except aiohttp.InvalidURL:
            raise _not_valid("url: cannot be called") from None
        except TimeoutError:
            raise Retry(reason=f"no complete answer within {call.seconds:g} s", code=ErrorCode.TASK_TIMEOUT) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Retry(reason=f"{type(error).__name__}: {error}", code=ErrorCode.NETWORK_ERROR) from None

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        """The body, and one byte more than the limit when there is more; the connection is then given up."""
        found = bytearray()
        while len(found) <= self._limit and (part := await response.content.read(self._limit + 1 - len(found))):
            found += part
        if len(found) > self._limit:
            response.close()
        return bytes(found)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(resolver=CheckedResolver(self._allowed), use_dns_cache=False, limit=0)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),  # tasks share the session, not their cookies
                trust_env=False,
                headers={"User-Agent": f"waggle/{version('waggle')}"},
            )
        return self._session


def prepared(ctx: Context, method: str, url: str, headers: Mapping[str, str], body: str | None, json: Any, timeout: float) -> Call:
    """Raises Reject for a request that cannot be made, saying everything that is wrong with it; never with the URL, which may hold secrets."""
    findings: list[str] = []
    target = _target(url, findings)
    for name, value in headers.items():
        if name.lower() in OURS:
            findings.append(f"headers: {name} is set by the worker")
        elif not re.fullmatch(NAME_CHARACTERS, name) or not re.fullmatch(VALUE_CHARACTERS, value):
            findings.append(f"headers: {name[:100]!r} has a name or a value that no header can have")
    if body is not None and json is not None:
        findings.append("body and json: give one of them")
    if findings or target is None:
        raise _not_valid("; ".join(findings))
    given = {name.lower() for name in headers}
    sent = dict(headers)
    if "idempotency-key" not in given:
        sent["Idempotency-Key"] = ctx.idempotency_key
    if "content-type" not in given and (body is not None or json is not None):
        sent["Content-Type"] = "text/plain; charset=utf-8" if json is None else "application/json"
    data = body.encode() if body is not None else None if json is None else msgspec.json.encode(json)
    return Call(method, target, sent, data, min(timeout, SHARE * ctx.task.timeout))


def _target(url: str, findings: list[str]) -> URL | None:
    try:
        found = URL(url)
        usable = found.scheme in ("http", "https") and bool(found.raw_host) and bool(found.port) and not re.search(r"[\x00-\x20\x7f]", url)
    except ValueError:
        usable = False
    if not usable:
        findings.append("url: must be http or https with a host, without spaces and control characters")
        return None
    if found.user is not None or found.password is not None:
        findings.append("url: must hold no user and password; send an Authorization header")
    return found


def breaker_name(url: URL) -> str:
    """One breaker a host; the port when it is not the usual one."""
    host = (url.raw_host or "").lower().rstrip(".")
    name = re.sub(r"[^a-z0-9._:-]", "-", f"http:{host}" + ("" if url.is_default_port() else f":{url.port}"))
    return name if len(name) <= BREAKER_LENGTH else f"{name[: BREAKER_LENGTH - 17]}:{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def is_expected(status: int, expected: list[int] | None) -> bool:
    return 200 <= status <= 299 if expected is None else status in expected


def unexpected(answer: Answer) -> Exception:
    """What an answer with an unexpected status comes to."""
    shown = told(answer.body[: 4 * SHOWN_BODY], answer)
    details = {"status": answer.status, **shown, "body": storable(shown["body"])[:SHOWN_BODY]}
    if answer.status >= 500 or answer.status in RETRIED:
        code = ErrorCode.RATE_LIMIT_EXCEEDED if answer.status == 429 else ErrorCode.SERVICE_UNAVAILABLE
        return Retry(retry_after(answer.headers), f"the server answered {answer.status}", code=code, details=details)
    if 300 <= answer.status <= 399:
        return Reject(
            f"the server answered {answer.status}; redirects are not followed",
            details={**details, "location": storable(answer.headers.get("location", ""))[:500]},
        )
    return Reject(f"the server answered {answer.status}", details=details)


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds to wait as Retry-After says: a number, or a time by the server's own clock (its Date); at most an hour, a little spread; None without one."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,12}", text):
        seconds = float(text)
    else:
        until, date = _http_date(text), _http_date(headers.get("date", ""))
        if until is None:
            return None
        seconds = (until - (date or now or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), RETRY_AFTER_MOST) * random.uniform(1.0, 1.1)  # noqa: S311  # so that not all come back at once


def _http_date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def told(body: bytes, answer: Answer) -> dict[str, str]:
    """A body as JSON can hold it: text where it is text, else base64."""
    charset = answer.charset if re.fullmatch(TEXT_CHARSETS, answer.charset.lower()) else "utf-8"
    try:
        text = codecs.getincrementaldecoder(charset)("strict").decode(body, final=not answer.truncated and len(body) == len(answer.body))
        text.encode()  # no lone surrogates
        if "\x00" not in text and len(msgspec.json.encode(text)) <= 2 * len(body) + 2:  # six times as long where it is nothing but control characters
            return {"body": text, "encoding": "text"}
    except (LookupError, ValueError):
        pass
    return {"body": base64.b64encode(body).decode(), "encoding": "base64"}


def _joined(response: aiohttp.ClientResponse) -> dict[str, str]:
    """Names in lower case; a header that came several times, with commas; bytes that are no UTF-8 as question marks."""
    found: dict[str, str] = {}
    for name, value in response.headers.items():
        key = name.lower()
        said = value.encode("utf-8", "replace").decode()
        found[key] = f"{found[key]}, {said}" if key in found else said
    return found


def _refused(error: Refused) -> Reject:
    return Reject(str(error), code=ErrorCode.UNAUTHORIZED)


def _not_valid(message: str) -> Reject:
    return Reject(message, code=ErrorCode.VALIDATION_ERROR)
