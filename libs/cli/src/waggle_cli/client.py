"""The REST client of the command line: where the API is, its calls, and its errors as exceptions. It prints nothing and knows no exit codes.

Answers are the API's own JSON, byte for byte in `Answer.raw`.
"""

import json
import os
import ssl
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from urllib.parse import quote

import httpx2

from waggle.settings.sources import masked
from waggle_cli.shapes import Answer, Attempt, Page, Task

AT_REST: Final = ("completed", "failed", "cancelled", "dead_letter")
WAIT_AT_ONCE: Final = 20.0  # seconds that one request waits for a task; longer waits are several requests
LOOK_AGAIN: Final = 0.5  # seconds between two tries while an API that answered before is away
CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 30.0
BATCH_SECONDS: Final = 90.0  # 16 MiB may take a while to be stored
PAGE_MOST: Final = 1_000  # items that one page may hold


class Address(NamedTuple):
    """Where the API is, and who says so."""

    url: str
    source: str


class WrongUrl(Exception):
    """The address that was given cannot be one of an API."""


class Unreachable(Exception):
    """No Waggle answers. `unknown` is whether the request may have been done nevertheless."""

    def __init__(self, message: str, *, unknown: bool = False) -> None:
        super().__init__(message)
        self.unknown = unknown


class Problem(Exception):
    """The API does not do what it was asked: its problem+json. `unknown` is whether it may have been done nevertheless."""

    def __init__(self, status: int, body: Mapping[str, Any]) -> None:
        self.status = status
        self.unknown = status >= 500
        self.code = str(body.get("code", ""))
        self.detail = str(body.get("detail") or body.get("title") or f"status {status}")
        self.errors = [(str(error.get("field", "")), str(error.get("message", ""))) for error in body.get("errors") or []]
        self.request_id = str(body.get("request_id", ""))
        super().__init__(self.detail)


def find(option: str, environ: Mapping[str, str], folder: Path) -> Address:
    """The API's address: the option `--url`, else WAGGLE_URL, else the TOML file's `url`, else what a running `waggle up` wrote in this folder or one above it.

    Raises WrongUrl or Unreachable.
    """
    variable, file = environ.get("WAGGLE_URL", ""), environ.get("WAGGLE_CONFIG", "")
    for url, source in ((option, "--url"), (variable, "WAGGLE_URL"), ("" if option or variable else _configured(environ, file), file)):
        if url:
            return Address(_checked(url, source), source)
    for parent in (folder, *folder.parents):
        announced = parent / ".waggle" / "up.json"
        if _there(announced):
            return Address(_checked(_announced(announced), str(announced)), str(announced))
    raise Unreachable("no Waggle found: start one with `waggle up`, or give --url")


def _configured(environ: Mapping[str, str], file: str) -> str:
    """The key `url` of the TOML file that WAGGLE_CONFIG names."""
    if not file:
        return ""
    from waggle.settings.environment import gather

    reading = gather(environ)
    if wrong := [finding for finding in reading.findings if finding.startswith((file, "WAGGLE_CONFIG"))]:
        raise WrongUrl("\n".join(wrong))
    return str(reading.values.get("url", ""))


def _checked(url: str, source: str) -> str:
    try:
        parts = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise WrongUrl(f"{source} {_shown(url)!r} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.host:
        raise WrongUrl(f"{source} must be a URL such as http://127.0.0.1:8420, not {_shown(url)!r}")
    return url


def _there(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # a folder that we may not enter
        return False


def _announced(file: Path) -> str:
    """The API's address in a file of `waggle up`; only in one of our own, because tasks, and later a key, are sent there."""
    try:
        if file.stat().st_uid != os.geteuid():
            raise Unreachable(f"{file} belongs to another user; give --url")
        return str(json.loads(file.read_bytes())["api_url"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unreachable(f"{file} does not say where the API is ({type(error).__name__}); give --url") from None


class Client:
    """The API at one address. Every call raises Problem or Unreachable."""

    def __init__(self, address: Address) -> None:
        self._address = address
        url = httpx2.URL(address.url)
        self._http = httpx2.Client(
            base_url=url,
            headers=_headers(),
            trust_env=url.host not in ("localhost", "127.0.0.1", "::1"),  # no proxy stands between us and our own machine
            verify=True if url.scheme == "https" else _trusting_nobody(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.close()

    def submit(self, body: bytes, idempotency_key: str) -> Answer[Task]:
        """Create the task that this JSON object describes: status 201, or 200 when its key or its unique key led to one that is there already."""
        return self.post("tasks", body=body, headers={"idempotency-key": idempotency_key})

    def submit_batch(self, body: bytes, idempotency_key: str) -> Answer[Page[Task]]:
        """As `submit`, for a batch: all or none of it."""
        return self.post("tasks", "batch", body=body, headers={"idempotency-key": idempotency_key}, timeout=BATCH_SECONDS)

    def get(self, *path: str, timeout: float = READ_SECONDS, **params: object) -> Answer[Any]:
        """What is at a path below /api. A parameter that is None, or an empty list, is left out."""
        return self._call("GET", path, params=_given(params), timeout=timeout)

    def post(self, *path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, timeout: float = READ_SECONDS) -> Answer[Any]:
        """Do something; `body` is a JSON text."""
        kind = {} if body is None else {"content-type": "application/json"}
        return self._call("POST", path, content=body, headers={**kind, **(headers or {})}, timeout=timeout)

    def delete(self, *path: str, **params: object) -> Answer[Any]:
        return self._call("DELETE", path, params=_given(params))

    def pages(self, *path: str, limit: int | None, cursor: str | None = None, **params: Any) -> Iterator[Answer[Page[Any]]]:
        """The pages of a list, until there are so many items, or all of them."""
        while True:
            answer = self.get(*path, **params, cursor=cursor, limit=PAGE_MOST if limit is None else min(limit, PAGE_MOST))
            yield answer
            cursor = answer.value.get("next_cursor")
            limit = None if limit is None else limit - len(answer.value["items"])
            if cursor is None or limit == 0:
                return

    def task(self, task_id: str) -> Answer[Task]:
        return self.get("tasks", task_id)

    def attempts(self, task_id: str) -> Answer[Page[Attempt]]:
        """The attempts of a task that have ended, the first one first."""
        return self.get("tasks", task_id, "attempts")

    def wait(self, task_id: str, seconds: float) -> Answer[Task]:
        """The task once it is at rest, or as it is after so many seconds. An API that goes away meanwhile is waited for."""
        deadline = time.monotonic() + seconds
        answer = self.task(task_id)
        while answer.value["status"] not in AT_REST and (left := deadline - time.monotonic()) > 0:
            most = min(left, WAIT_AT_ONCE)
            try:
                answer = self.get("tasks", task_id, wait=round(most, 3), timeout=most + READ_SECONDS)
            except (Unreachable, Problem) as error:
                if not passes(error) or deadline - time.monotonic() < LOOK_AGAIN:
                    raise
                time.sleep(LOOK_AGAIN)
        return answer

    def _call(self, method: str, path: tuple[str, ...], timeout: float = READ_SECONDS, **request: Any) -> Answer[Any]:
        where = "/".join(["api", *(quote(part, safe="") for part in path)])
        try:
            answer = self._http.request(method, where, timeout=httpx2.Timeout(timeout, connect=CONNECT_SECONDS), **request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise Unreachable(f"{self._called} does not answer: {_reason(error)}") from error
        except httpx2.RequestError as error:
            raise Unreachable(f"the connection to {self._called} was lost: {_reason(error)}", unknown=True) from error
        if answer.status_code == 204:
            return Answer(204, b"", None)
        try:
            value = json.loads(answer.content)
        except ValueError:
            value = None
        if not isinstance(value, dict) or answer.is_redirect or (answer.is_error and "code" not in value):
            kind = answer.headers.get("content-type", "no content-type")
            raise Unreachable(f"{self._called} answers, but not as Waggle does (status {answer.status_code}, {kind})", unknown=True)
        if answer.is_error:
            raise Problem(answer.status_code, value)
        return Answer(answer.status_code, answer.content, value)

    @property
    def _called(self) -> str:
        url, source = self._address
        return _shown(url) if source == "--url" else f"{_shown(url)} (from {source})"


def _shown(url: str) -> str:
    """An address without the password that it may hold."""
    return masked(url) if "@" in url else url


def _headers() -> dict[str, str]:
    """What every request carries. The one place that will add an API key."""
    return {"accept": "application/json", "user-agent": "waggle-cli"}


def _trusting_nobody() -> ssl.SSLContext:
    """For plain HTTP, which never uses it: loading the certificates of this machine takes 0.1 s."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _given(params: Mapping[str, object]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value not in (None, [])}


def passes(error: Unreachable | Problem) -> bool:
    """Whether waiting helps: the API is away or says 503."""
    return isinstance(error, Unreachable) or error.status == 503


def _reason(error: Exception) -> str:
    """The system's words, without its number."""
    text = str(error)
    return (text.partition("] ")[2] if text.startswith("[Errno") else text) or type(error).__name__
