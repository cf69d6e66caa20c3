"""The REST client of the command line: where the API is, its calls, and its errors as exceptions. It prints nothing and knows no exit codes.

Answers are the API's own JSON, byte for byte in `Answer.raw`; the types below name what the command line reads of it.
"""

import json
import os
import ssl
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Generic, NamedTuple, NotRequired, Self, TypedDict, TypeVar
from urllib.parse import quote

import httpx2

T = TypeVar("T")

AT_REST: Final = ("completed", "failed", "cancelled", "dead_letter")
WAIT_AT_ONCE: Final = 20.0  # seconds that one request waits for a task; longer waits are several requests
LOOK_AGAIN: Final = 0.5  # seconds between two tries while an API that answered before is away
CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 30.0


class TaskError(TypedDict):
    """Why a task, or one of its tries, failed."""

    code: str
    message: str
    retryable: bool
    alternativeAction: NotRequired[str]
    details: NotRequired[dict[str, Any]]


class Task(TypedDict):
    """A task as the API shows it; lists leave the payload out."""

    id: str
    type: str
    status: str
    priority: int
    description: str
    created: str
    updated: str
    retry_count: int
    max_retries: int
    metadata: dict[str, Any]
    queue: str
    run_at: str
    attempt: int
    timeout: float
    completed_at: NotRequired[str]
    deadline: NotRequired[str]
    error: NotRequired[TaskError]
    result: NotRequired[Any]
    payload: NotRequired[Any]
    started_at: NotRequired[str]
    worker_id: NotRequired[str]
    unique_key: NotRequired[str]


class Attempt(TypedDict):
    """An attempt that has ended."""

    attempt: int
    worker_id: str
    started_at: str
    ended_at: str
    outcome: str
    error: NotRequired[TaskError]


class Page(TypedDict, Generic[T]):
    """A list; without a cursor it is the last page."""

    items: list[T]
    next_cursor: NotRequired[str]


class Answer(NamedTuple, Generic[T]):
    """What the API answered: its status, its body as it came, and decoded."""

    status: int
    raw: bytes
    value: T


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
    """The API's address: the option `--url`, else WAGGLE_URL, else what a running `waggle up` wrote in this folder or one above it.

    Raises WrongUrl or Unreachable.
    """
    for url, source in ((option, "--url"), (environ.get("WAGGLE_URL", ""), "WAGGLE_URL")):
        if url:
            return Address(_checked(url, source), source)
    for parent in (folder, *folder.parents):
        file = parent / ".waggle" / "up.json"
        if _there(file):
            return Address(_checked(_announced(file), str(file)), str(file))
    raise Unreachable("no Waggle found: start one with `waggle up`, or give --url")


def _checked(url: str, source: str) -> str:
    try:
        parts = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise WrongUrl(f"{source} {url!r} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.host:
        raise WrongUrl(f"{source} must be a URL such as http://127.0.0.1:8420, not {url!r}")
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
            timeout=httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
            trust_env=url.host not in ("localhost", "127.0.0.1", "::1"),  # no proxy stands between us and our own machine
            verify=True if url.scheme == "https" else _trusting_nobody(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.close()

    def submit(self, body: bytes, idempotency_key: str) -> Answer[Task]:
        """Create the task that this JSON object describes: status 201, or 200 when its key or its unique key led to one that is there already."""
        headers = {"content-type": "application/json", "idempotency-key": idempotency_key}
        return self._call("POST", "api/tasks", content=body, headers=headers)

    def tasks(self, **filters: object) -> Answer[Page[Task]]:
        """A page of tasks, the newest first. What is None, or an empty list, does not filter."""
        return self._call("GET", "api/tasks", params={name: value for name, value in filters.items() if value not in (None, [])})

    def task(self, task_id: str) -> Answer[Task]:
        return self._call("GET", _path(task_id))

    def wait(self, task_id: str, seconds: float) -> Answer[Task]:
        """The task once it is at rest, or as it is after so many seconds. An API that goes away meanwhile is waited for."""
        deadline = time.monotonic() + seconds
        answer = self.task(task_id)
        while answer.value["status"] not in AT_REST and (left := deadline - time.monotonic()) > 0:
            most = min(left, WAIT_AT_ONCE)
            try:
                answer = self._call("GET", _path(task_id), params={"wait": round(most, 3)}, timeout=most + READ_SECONDS)
            except (Unreachable, Problem) as error:
                if not _passes(error) or deadline - time.monotonic() < LOOK_AGAIN:
                    raise
                time.sleep(LOOK_AGAIN)
        return answer

    def attempts(self, task_id: str) -> Answer[Page[Attempt]]:
        """The attempts of a task that have ended, the first one first."""
        return self._call("GET", f"{_path(task_id)}/attempts")

    def cancel(self, task_id: str) -> Answer[Task]:
        return self._call("DELETE", _path(task_id))

    def _call(self, method: str, path: str, **request: Any) -> Answer[Any]:
        try:
            answer = self._http.request(method, path, **request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise Unreachable(f"{self._called} does not answer: {_reason(error)}") from error
        except httpx2.RequestError as error:
            raise Unreachable(f"the connection to {self._called} was lost: {_reason(error)}", unknown=True) from error
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
        return url if source == "--url" else f"{url} (from {source})"


def _headers() -> dict[str, str]:
    """What every request carries. The one place that will add an API key."""
    return {"accept": "application/json", "user-agent": "waggle-cli"}


def _trusting_nobody() -> ssl.SSLContext:
    """For plain HTTP, which never uses it: loading the certificates of this machine takes 0.1 s."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _path(task_id: str) -> str:
    return f"api/tasks/{quote(task_id, safe='')}"


def _passes(error: Unreachable | Problem) -> bool:
    """Whether waiting helps: the API is away or says 503."""
    return isinstance(error, Unreachable) or error.status == 503


def _reason(error: Exception) -> str:
    """The system's words, without its number."""
    text = str(error)
    return (text.partition("] ")[2] if text.startswith("[Errno") else text) or type(error).__name__
