"""The API's calls at one address, with its errors as exceptions. Replies are the API's own JSON, byte for byte in `Reply.raw`."""

import json
import os
import ssl
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from urllib.parse import quote

import httpx2

from waggle_cli.rest import logins
from waggle_cli.rest.address import Address, without_password
from waggle_cli.rest.errors import ApiError, NotSignedIn, Unreachable, may_pass
from waggle_cli.rest.shapes import AT_REST, Json, PageJson, Reply, TaskJson, attempts_left_out

WAIT_SECONDS: Final = 20.0  # one request waits for a task this long; longer waits are several requests
EVENT_SECONDS: Final = 45.0  # without a word of the API: it says something every 15 s
OUTAGE_SECONDS: Final = 60.0
OUTAGE_POLL_SECONDS: Final = 0.5
API_CONNECT_SECONDS: Final = 5.0
READ_SECONDS: Final = 30.0
BATCH_SECONDS: Final = 90.0  # storing 16 MiB may take a while
NO_KEY: Final = "No API key was sent: set WAGGLE_API_KEY or WAGGLE_API_KEY_FILE, sign in with `waggle login`, or run in the folder of a `waggle up`."
WRONG_KEY: Final = "The API key or login that was sent is not, or no longer, valid at this API."
PAGE_LIMIT: Final = 1_000  # items on one page


class ServerEvent(NamedTuple):
    """A server-sent event: its id and its name, both empty where it has none, and its data."""

    id: str
    name: str
    data: Any


def read_events(lines: Iterator[str]) -> Iterator[ServerEvent | None]:
    """The events in a stream of lines, as the HTML standard has them. Data is JSON. None is a sign of life: the beginning of the stream, or a comment."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        yield ServerEvent(fields.get("id", ""), fields.get("event", ""), json.loads(fields["data"])) if "data" in fields else None
        fields = {}


class Api:
    """The API at one address. Every call can raise ApiError or Unreachable."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._credential = address.key
        url = httpx2.URL(address.url)
        self._http = httpx2.Client(
            base_url=url,
            headers={"accept": "application/json", "user-agent": "waggle-cli"},
            trust_env=url.host not in ("localhost", "127.0.0.1", "::1"),  # no proxy for our own machine
            verify=trusted(url.scheme),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._http.close()

    def submit(self, body: bytes, idempotency_key: str) -> Reply[TaskJson]:
        """Create the task that this JSON object describes: status 201, or 200 if its idempotency key or unique key matches an existing task."""
        return self.post("tasks", body=body, headers={"idempotency-key": idempotency_key})

    def submit_batch(self, body: bytes, idempotency_key: str) -> Reply[PageJson[TaskJson]]:
        """As `submit`, for a batch: all tasks or none."""
        return self.post("tasks", "batch", body=body, headers={"idempotency-key": idempotency_key}, timeout=BATCH_SECONDS)

    def get(self, *path: str, timeout: float = READ_SECONDS, **params: object) -> Reply[Any]:
        """GET a path below /api. A parameter that is None or an empty list is left out."""
        return self._call("GET", path, params=_given(params), timeout=timeout)

    def post(self, *path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None, timeout: float = READ_SECONDS) -> Reply[Any]:
        """POST to a path below /api; `body` is a JSON text."""
        kind = {} if body is None else {"content-type": "application/json"}
        return self._call("POST", path, content=body, headers={**kind, **(headers or {})}, timeout=timeout)

    def patch(self, *path: str, body: bytes) -> Reply[Any]:
        """PATCH a path below /api; `body` is a JSON text."""
        return self._call("PATCH", path, content=body, headers={"content-type": "application/json"})

    def delete(self, *path: str, **params: object) -> Reply[Any]:
        return self._call("DELETE", path, params=_given(params))

    def pages(self, *path: str, limit: int | None, cursor: str | None = None, **params: Any) -> Iterator[Reply[PageJson[Any]]]:
        """The pages of a list, up to `limit` items; None is all of them."""
        while True:
            answer = self.get(*path, **params, cursor=cursor, limit=PAGE_LIMIT if limit is None else min(limit, PAGE_LIMIT))
            yield answer
            cursor = answer.value.get("next_cursor")
            limit = None if limit is None else limit - len(answer.value["items"])
            if cursor is None or limit == 0:
                return

    def task(self, task_id: str) -> Reply[TaskJson]:
        return self.get("tasks", task_id)

    def timeline(self, task: TaskJson) -> list[Json]:
        """The life of a task, oldest event first; of many attempts only the last ones, behind the submission."""
        left_out = attempts_left_out(task)
        begin = self.get("tasks", task["id"], "timeline", limit=1).value["items"] if left_out else []
        pages = self.pages("tasks", task["id"], "timeline", limit=None, after_attempt=left_out or None)
        return [*begin, *(event for page in pages for event in page.value["items"])]

    def wait(self, task_id: str, seconds: float) -> Reply[TaskJson]:
        """The task once it has finished or is in the DLQ, or as it is after `seconds`. Outages of the API meanwhile are waited out."""
        deadline = time.monotonic() + seconds
        answer = self.task(task_id)
        while answer.value["status"] not in AT_REST and (left := deadline - time.monotonic()) > 0:
            seconds_now = min(left, WAIT_SECONDS)
            try:
                answer = self.get("tasks", task_id, wait=round(seconds_now, 3), timeout=seconds_now + READ_SECONDS)
            except (Unreachable, ApiError) as error:
                if not may_pass(error) or deadline - time.monotonic() < OUTAGE_POLL_SECONDS:
                    raise
                time.sleep(OUTAGE_POLL_SECONDS)
        return answer

    def events(self, *path: str, after: str = "", **params: object) -> Iterator[ServerEvent]:
        """Server-sent events until the API ends them, see `signs`."""
        return (event for event in self.signs(*path, after=after, **params) if event is not None)

    def signs(self, *path: str, after: str = "", **params: object) -> Iterator[ServerEvent | None]:
        """Server-sent events until the API ends them, and None at each beginning and every few seconds. A connection that is lost is opened again after the
        last event. Raises ApiError, or Unreachable when the API does not come back in OUTAGE_SECONDS.
        """
        where, lost_at = "/".join(["api", *(quote(part, safe="") for part in path)]), None
        while True:
            try:
                headers = {**self._authorization(), **({"last-event-id": after} if after else {})}
                timeout = httpx2.Timeout(EVENT_SECONDS, connect=API_CONNECT_SECONDS)
                with self._http.stream("GET", where, params=_given(params), headers=headers, timeout=timeout) as answer:
                    if answer.is_error:
                        answer.read()
                        raise ApiError(answer.status_code, json.loads(answer.content))
                    for event in read_events(answer.iter_lines()):
                        lost_at = None
                        yield event
                        if event is not None:
                            after = event.id or after
                            if event.name == "end":
                                return
            except ApiError as error:
                if not may_pass(error):
                    raise
            except httpx2.RequestError as error:
                if lost_at is not None and time.monotonic() - lost_at > OUTAGE_SECONDS:
                    raise Unreachable(f"the connection to {self._called} was lost: {_reason(error)}") from error
            lost_at = lost_at or time.monotonic()
            time.sleep(OUTAGE_POLL_SECONDS)

    def sign_in(self, name: str, password: str) -> None:
        """Sign in, and keep the login for later commands at this address."""
        body = json.dumps({"name": name, "password": password}).encode()
        logins.keep(self._address.url, self.post("auth", "login", body=body).value)

    def sign_out(self, *, everywhere: bool) -> None:
        """End the login of this address, or all of its user. One that has ended already is forgotten. Raises NotSignedIn."""
        if not self._address.login:
            raise NotSignedIn(f"nobody has signed in at {self._called}")
        try:
            self.post("auth", "logout", body=json.dumps({"everywhere": everywhere}).encode())
        except ApiError as error:
            if error.status != 401:
                raise
        logins.drop(self._address.url)

    def _authorization(self) -> dict[str, str]:
        """The header that says who sends a request. An access token that expires in a moment is renewed first. Raises httpx2.RequestError."""
        if self._address.login:
            if (refresh_token := logins.expiring(self._address.url)) is not None:
                answer = self._http.post("api/auth/refresh", json={"refresh_token": refresh_token}, timeout=READ_SECONDS)
                if answer.status_code == 200:
                    logins.keep(self._address.url, answer.json())
                elif answer.status_code == 401:
                    logins.drop(self._address.url)
            self._credential = logins.token(self._address.url)
        return {"authorization": f"Bearer {self._credential}"} if self._credential else {}

    def _call(self, method: str, path: tuple[str, ...], timeout: float = READ_SECONDS, **request: Any) -> Reply[Any]:
        where = "/".join(["api", *(quote(part, safe="") for part in path)])
        try:
            request["headers"] = {**self._authorization(), **request.get("headers", {})}
            answer = self._http.request(method, where, timeout=httpx2.Timeout(timeout, connect=API_CONNECT_SECONDS), **request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise Unreachable(f"{self._called} does not answer: {_reason(error)}") from error
        except httpx2.RequestError as error:
            raise Unreachable(f"the connection to {self._called} was lost: {_reason(error)}", unknown=True) from error
        if answer.status_code == 204:
            return Reply(204, b"", None)
        try:
            value = json.loads(answer.content)
        except ValueError:
            value = None
        if not isinstance(value, dict) or answer.is_redirect or (answer.is_error and "code" not in value):
            kind = answer.headers.get("content-type", "no content-type")
            raise Unreachable(f"{self._called} answers, but not as a Waggle API (status {answer.status_code}, {kind})", unknown=True)
        if answer.is_error:
            refused = ApiError(answer.status_code, value)
            if refused.status == 401:
                refused.add_note(WRONG_KEY if self._credential else NO_KEY)
            raise refused
        return Reply(answer.status_code, answer.content, value)

    @property
    def _called(self) -> str:
        url, source = self._address.url, self._address.source
        return without_password(url) if source == "--url" else f"{without_password(url)} (from {source})"


def trusted(scheme: str) -> ssl.SSLContext | bool:
    """Whose certificates count: those of public authorities, or of the file SSL_CERT_FILE. Plain HTTP loads none, which saves 0.1 s. Raises Unreachable."""
    if scheme != "https":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    file = os.environ.get("SSL_CERT_FILE", "")
    try:
        return ssl.create_default_context(cafile=file) if file else True
    except OSError as error:
        raise Unreachable(f"SSL_CERT_FILE {file} cannot be used: {error}") from error


def _given(params: Mapping[str, object]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value not in (None, [])}


def _reason(error: Exception) -> str:
    """The system's message without its error number."""
    text = str(error)
    return (text.partition("] ")[2] if text.startswith("[Errno") else text) or type(error).__name__
