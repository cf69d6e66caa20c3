"""The built-in type `http.request`: calls a URL through the breaker of its host, if its address is allowed (see `addresses`).

An attempt sends one request. Retried: no connection, no response in time, 408, 429 and 5xx; Retry-After is honoured. Not retried: any other unexpected
status, a refused address, an invalid request. Redirects are not followed: a 3xx is a response like any other.
"""

import base64
import codecs
import hashlib
import random
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from ipaddress import ip_address
from typing import Annotated, Any, Final, Literal, NamedTuple, get_args

import aiohttp
import msgspec
from msgspec import Meta
from yarl import URL

from waggle.app import App
from waggle.context import Context, Reject, Retry
from waggle.errors import ErrorCode, storable
from waggle.settings.services import WorkerSettings
from waggle.task import BREAKER_LENGTH
from waggle.telemetry.traces import SpanKind, SpanShape, current, record
from waggle_worker.http.addresses import AddressRefused, AllowList, CheckedResolver
from waggle_worker.http.once import KEPT_SECONDS, Unanswered, once

NAME_CHARACTERS: Final = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"
VALUE_CHARACTERS: Final = r"^[\t\x20-\x7e]*$"
WORKER_HEADERS: Final = frozenset(
    {"connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
TEXT_CHARSETS: Final = (
    r"utf-?(8|16|32)([bl]e)?|us-ascii|ascii|latin-?1|iso-8859-[0-9]+|(windows|cp)-?125[0-9]|shift_jis|euc-jp|euc-kr|gb2312|gbk|gb18030|big5|koi8-[ru]"
)
RETRIED_STATUSES: Final = frozenset({408, 429})
RETRY_AFTER_LIMIT_SECONDS: Final = 3600.0
SHOWN_BODY_CHARACTERS: Final = 1_000  # of an unexpected response, kept in the error
TIMEOUT_SHARE: Final = 0.95  # of the task's timeout, so that a slow server is reported as such

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
Url = Annotated[str, Meta(pattern=r"^[hH][tT][tT][pP][sS]?://[^\s]+$", max_length=8192, description="http or https, without user and password")]
HeaderName = Annotated[str, Meta(pattern=NAME_CHARACTERS, max_length=200)]
HeaderValue = Annotated[str, Meta(pattern=VALUE_CHARACTERS, max_length=8000)]
StatusCode = Annotated[int, Meta(ge=100, le=599)]
Timeout = Annotated[float, Meta(gt=0, le=604_800)]


CALLS: Final = {method: SpanShape(method, SpanKind.CLIENT, {"http.request.method": method}) for method in get_args(Method)}


class HttpRequest(NamedTuple):
    """A checked request. `seconds` is the time limit of the whole call."""

    method: str
    url: URL
    headers: Mapping[str, str]
    data: bytes | None
    seconds: float


class HttpAnswer(NamedTuple):
    """A response; when `truncated`, `body` is cut off at the limit."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool
    charset: str


class Outgoing:
    """The requests of one worker: one session, made when it is first needed. Raises SettingsError for an invalid allow list."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._allowed, self._limit = AllowList(settings.http_allow), settings.http_body_limit
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Outgoing":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    def app(self) -> App:
        """An app with the handler, to be included."""
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
        """Call a URL. `expected_status` lists the statuses that count as success (default 200 to 299)."""
        call = prepared(ctx, method, url, headers or {}, body, json, timeout)
        self._check_literal(call.url)
        async with ctx.breaker(breaker_name(call.url)):
            answer = await self._traced(call)
            if answer.status >= 500 and not is_expected(answer.status, expected_status):
                raise unexpected(answer)
        if not is_expected(answer.status, expected_status):
            raise unexpected(answer)
        return {"status": answer.status, "headers": dict(answer.headers), "truncated": answer.truncated, **encoded_body(answer.body, answer)}

    def _check_literal(self, url: URL) -> None:
        """Check an address in the URL itself: aiohttp does not ask the resolver about it."""
        host = url.raw_host or ""
        try:
            ip_address(host)
        except ValueError:
            return
        try:
            self._allowed.of(host, [host], url.port or 0)
        except AddressRefused as error:
            raise _refused(error) from None

    async def _traced(self, call: HttpRequest) -> HttpAnswer:
        """Pass the trace of the task on, unless the task has headers of its own for that; the call is a span."""
        parent = current()
        if parent is None:
            return await self._answer(call)
        context, began, status, error = parent.child(), time.time_ns(), None, None
        given = {name.lower() for name in call.headers}
        if "traceparent" not in given:
            state = {"tracestate": context.state} if context.state and "tracestate" not in given else {}
            call = call._replace(headers={**call.headers, "traceparent": context.parent, **state})
        try:
            answer = await self._answer(call)
            status, error = answer.status, str(answer.status) if answer.status >= 400 else None
        except BaseException as raised:
            error = type(raised).__name__
            raise
        finally:
            attributes = {"server.address": call.url.host, "server.port": call.url.port}
            attributes |= {} if status is None else {"http.response.status_code": status}
            record(CALLS[call.method], context, parent, began, attributes, error=error)
        return answer

    async def _answer(self, call: HttpRequest) -> HttpAnswer:
        try:
            async with self._opened().request(
                call.method, call.url, headers=call.headers, data=call.data, allow_redirects=False, timeout=aiohttp.ClientTimeout(total=call.seconds)
            ) as response:
                body = await self._body(response)
                return HttpAnswer(response.status, _joined(response), body[: self._limit], len(body) > self._limit, response.charset or "utf-8")
        except AddressRefused as error:
            raise _refused(error) from None
        except aiohttp.InvalidURL:
            raise _not_valid("url: invalid") from None
        except TimeoutError:
            raise Retry(reason=f"no complete response within {call.seconds:g} s", code=ErrorCode.TASK_TIMEOUT) from None
        except Unanswered as error:
            raise Retry(reason=str(error), code=ErrorCode.NETWORK_ERROR) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Retry(reason=f"{type(error).__name__}: {error}", code=ErrorCode.NETWORK_ERROR) from None

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        """The body, or one byte more than the limit; the connection is then closed."""
        found = bytearray()
        while len(found) <= self._limit and (part := await response.content.read(self._limit + 1 - len(found))):
            found += part
        if len(found) > self._limit:
            response.close()
        return bytes(found)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(resolver=CheckedResolver(self._allowed), use_dns_cache=False, limit=0, keepalive_timeout=KEPT_SECONDS)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),  # tasks share the session, not their cookies
                trust_env=False,
                middlewares=(once,),
                headers={"User-Agent": f"waggle/{version('waggle')}"},
            )
        return self._session


def prepared(ctx: Context, method: str, url: str, headers: Mapping[str, str], body: str | None, json: Any, timeout: float) -> HttpRequest:
    """Raises Reject for an invalid request, naming every mistake; never with the URL, which may hold secrets."""
    findings: list[str] = []
    target = _target(url, findings)
    for name, value in headers.items():
        if name.lower() in WORKER_HEADERS:
            findings.append(f"headers: {name} is set by the worker")
        elif not re.fullmatch(NAME_CHARACTERS, name) or not re.fullmatch(VALUE_CHARACTERS, value):
            findings.append(f"headers: {name[:100]!r} has an invalid name or value")
    if body is not None and json is not None:
        findings.append("body and json: give only one of them")
    if findings or target is None:
        raise _not_valid("; ".join(findings))
    given = {name.lower() for name in headers}
    sent = dict(headers)
    if "idempotency-key" not in given:
        sent["Idempotency-Key"] = ctx.idempotency_key
    if "content-type" not in given and (body is not None or json is not None):
        sent["Content-Type"] = "text/plain; charset=utf-8" if json is None else "application/json"
    data = body.encode() if body is not None else None if json is None else msgspec.json.encode(json)
    return HttpRequest(method, target, sent, data, min(timeout, TIMEOUT_SHARE * ctx.task.timeout))


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
        findings.append("url: must not hold a user or password; send an Authorization header instead")
    return found


def breaker_name(url: URL) -> str:
    """One breaker for each host, with the port when it is not the usual one."""
    host = (url.raw_host or "").lower().rstrip(".")
    name = re.sub(r"[^a-z0-9._:-]", "-", f"http:{host}" + ("" if url.is_default_port() else f":{url.port}"))
    return name if len(name) <= BREAKER_LENGTH else f"{name[: BREAKER_LENGTH - 17]}:{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def is_expected(status: int, expected: list[int] | None) -> bool:
    return 200 <= status <= 299 if expected is None else status in expected


def unexpected(answer: HttpAnswer) -> Exception:
    """The exception for a response with an unexpected status."""
    shown = encoded_body(answer.body[: 4 * SHOWN_BODY_CHARACTERS], answer)
    details = {"status": answer.status, **shown, "body": storable(shown["body"])[:SHOWN_BODY_CHARACTERS]}
    if answer.status >= 500 or answer.status in RETRIED_STATUSES:
        code = ErrorCode.RATE_LIMIT_EXCEEDED if answer.status == 429 else ErrorCode.SERVICE_UNAVAILABLE
        return Retry(retry_after(answer.headers), f"the server answered {answer.status}", code=code, details=details)
    if 300 <= answer.status <= 399:
        return Reject(
            f"the server answered {answer.status}; redirects are not followed",
            details={**details, "location": storable(answer.headers.get("location", ""))[:500]},
        )
    return Reject(f"the server answered {answer.status}", details=details)


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds to wait by Retry-After: a number, or a time by the server's own clock (its Date). At most an hour, plus up to 10 %; None without it."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,12}", text):
        seconds = float(text)
    else:
        until, date = _http_date(text), _http_date(headers.get("date", ""))
        if until is None:
            return None
        seconds = (until - (date or now or datetime.now(UTC))).total_seconds()
    return min(max(seconds, 0.0), RETRY_AFTER_LIMIT_SECONDS) * random.uniform(1.0, 1.1)  # noqa: S311  # so that tasks do not all come back at once


def _http_date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def encoded_body(body: bytes, answer: HttpAnswer) -> dict[str, str]:
    """A body as JSON can hold it: text when it is text, else base64."""
    charset = answer.charset if re.fullmatch(TEXT_CHARSETS, answer.charset.lower()) else "utf-8"
    try:
        text = codecs.getincrementaldecoder(charset)("strict").decode(body, final=not answer.truncated and len(body) == len(answer.body))
        text.encode()  # no lone surrogates
        if "\x00" not in text and len(msgspec.json.encode(text)) <= 2 * len(body) + 2:  # control characters alone would take six times as much
            return {"body": text, "encoding": "text"}
    except (LookupError, ValueError):
        pass
    return {"body": base64.b64encode(body).decode(), "encoding": "base64"}


def _joined(response: aiohttp.ClientResponse) -> dict[str, str]:
    """Header names in lower case; repeated headers are joined by commas; bytes that are not UTF-8 become question marks."""
    found: dict[str, str] = {}
    for name, value in response.headers.items():
        key = name.lower()
        said = value.encode("utf-8", "replace").decode()
        found[key] = f"{found[key]}, {said}" if key in found else said
    return found


def _refused(error: AddressRefused) -> Reject:
    return Reject(str(error), code=ErrorCode.UNAUTHORIZED)


def _not_valid(message: str) -> Reject:
    return Reject(message, code=ErrorCode.VALIDATION_ERROR)
