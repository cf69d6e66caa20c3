"""Made from `waggle.client.aio` by `just sync-client`; change it there."""

import json
import logging
import os
import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from waggle.client import address
from waggle.client.errors import BY_STATUS, ResponseError, UnreachableError
from waggle.client.sse import EventReader, TaskSign
from waggle.client.streams import Endpoint, SyncSemaphore, SyncStream, sync_is_over, sync_place, sync_sleep
from waggle.client.wire import ApiAnswer, ResponseReader, request

_log: Final = logging.getLogger("waggle.client")

CONNECT_SECONDS: Final = 5.0
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 5.0
SILENCE_SECONDS: Final = 45.0
"""A stream of events that says nothing for so long is lost: the API says something every 15 s."""
WAITING: Final = (429, 503)
"""Statuses that ask for the same request later."""


class SyncPool:
    """Connections that wait for a request, the last used one last, and the room for more: `long` for those that wait for a task, so that they leave
    room for others.
    """

    def __init__(self, limit: int) -> None:
        self.idle: list[SyncStream] = []
        self.room, self.long = SyncSemaphore(limit), SyncSemaphore(limit)

    def take(self) -> SyncStream | None:
        """One that the server has kept open; None when there is none."""
        while True:
            try:
                stream = self.idle.pop()
            except IndexError:  # also when another thread was faster
                return None
            if stream.usable:
                return stream
            stream.close()


class SyncConnections:
    """Connections to one endpoint, at most `limit` at a time, and as many that wait for tasks; each event loop, or process after a fork, has its own."""

    def __init__(self, endpoint: Endpoint, limit: int) -> None:
        self._endpoint, self._limit = endpoint, limit
        self._pools: dict[Any, SyncPool] = {}

    def exchange(self, message: bytes, seconds: float, *, is_long: bool) -> ApiAnswer:
        """Send a request and read its answer. Raises UnreachableError."""
        pool = self._pool()
        with pool.long if is_long else pool.room:
            stream = pool.take()
            if stream is None:
                stream = SyncStream.open(self._endpoint, min(seconds, CONNECT_SECONDS))
            reader, whole = ResponseReader(), False
            try:
                answer = stream.exchange(message, reader, seconds)
                whole = reader.reusable
                return answer
            finally:
                if whole:
                    pool.idle.append(stream)
                else:
                    stream.close()

    def close(self) -> None:
        pool = self._pool()
        while stream := pool.take():
            stream.close()

    def _pool(self) -> SyncPool:
        place = sync_place()
        if place not in self._pools:
            for other in [each for each in list(self._pools) if sync_is_over(each)]:
                self._pools.pop(other, None)
            self._pools.setdefault(place, SyncPool(self._limit))  # one, whatever other threads do
        return self._pools[place]


class SyncCalls:
    """Requests to the API at one address. `timeout` is how long one request may take, `retry_for` how long failures are repeated, both in seconds."""

    def __init__(self, url: str | None, api_key: str | None, *, timeout: float, retry_for: float, connections: int) -> None:
        there = address.find(url, api_key, os.environ, Path.cwd())
        self.url, self._timeout, self._retry_for = there.url, timeout, retry_for
        self._endpoint, self._host, self._base = address.endpoint(there.url)
        self._headers = {"accept": "application/json", "user-agent": "waggle-python"}
        if there.key:
            self._headers["authorization"] = f"Bearer {there.key}"
        self._connections = SyncConnections(self._endpoint, connections)

    def close(self) -> None:
        self._connections.close()

    def call(
        self,
        method: str,
        *path: str,
        query: Mapping[str, Any] | None = None,
        body: bytes = b"",
        key: str | None = None,
        takes: float = 0.0,
        safe: bool = True,
    ) -> ApiAnswer:
        """Send a request until it is answered, for `retry_for` seconds at most.

        `key` is its idempotency key; `takes` is how long the API may take on purpose. With `safe=False` a request is not repeated once it may have been
        carried out. Raises UnreachableError, or the ResponseError of the answer's status.
        """
        headers = self._headers | ({"content-type": "application/json"} if body else {}) | ({"idempotency-key": key} if key is not None else {})
        message = request(method, self._target(path, query or {}), self._host, headers, body)
        deadline, pause, unknown = time.monotonic() + self._retry_for, FIRST_PAUSE_SECONDS, False
        while True:
            try:
                answer = self._connections.exchange(message, self._timeout + takes, is_long=method == "GET" and takes > 0)
            except UnreachableError as error:
                unknown = unknown or error.unknown
                failure: UnreachableError | ResponseError = UnreachableError(f"{self.url} is not reached: {error}", unknown=unknown)
                wait = random.uniform(pause / 2, pause)  # noqa: S311  # no secret
                final = unknown and not safe
            else:
                if answer.status < 300 and answer.is_json:
                    return answer
                failure = self._refused(answer)
                wait = random.uniform(pause, 2 * pause)  # noqa: S311  # no secret
                if isinstance(failure, UnreachableError):  # a proxy says so; with a status of 500 and more, perhaps because the API starts
                    unknown, final = True, answer.status < 500 or not safe
                else:
                    wait = max(wait, failure.retry_after or 0.0)
                    final = answer.status not in WAITING or (answer.status == 503 and not safe)  # which may say that it was carried out
            if final or time.monotonic() + wait > deadline:
                raise failure
            _log.warning("%s /api/%s, again in %.1f s: %s", method, "/".join(path), wait, failure)
            sync_sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def events(self, *path: str, query: Mapping[str, Any] | None = None, after: str = "") -> Iterator[TaskSign]:
        """Server-sent events, until one is called `end`. A connection that is lost is opened again after the last event.

        Raises UnreachableError when the API is away for `retry_for` seconds, or the ResponseError of the answer's status.
        """
        target, away_since = self._target(path, query or {}), 0.0
        while True:
            headers = self._headers | {"accept": "text/event-stream"} | ({"last-event-id": after} if after else {})
            stream, final = None, False
            try:
                stream = SyncStream.open(self._endpoint, CONNECT_SECONDS)
                stream.send(request("GET", target, self._host, headers, b""), CONNECT_SECONDS)
                reader, events = ResponseReader(), EventReader()
                while reader.answer is None:
                    stream.more(reader, SILENCE_SECONDS)
                    if reader.status != 200:
                        continue
                    away_since = 0.0
                    for event in events.feed(reader.taken()):
                        after = event.id or after
                        yield event
                        if event.name == "end":
                            return
                if reader.answer.status != 200:
                    failure: UnreachableError | ResponseError = self._refused(reader.answer)
                    final = reader.answer.status < 500 and reader.answer.status not in WAITING
                else:
                    failure = UnreachableError(f"{self.url} has ended the stream")
            except UnreachableError as error:
                failure = UnreachableError(f"{self.url} is not reached: {error}")
            finally:
                if stream is not None:
                    stream.close()
            away_since = away_since or time.monotonic()
            if final or time.monotonic() - away_since > self._retry_for:
                raise failure
            _log.warning("the stream /api/%s is opened again: %s", "/".join(path), failure)
            sync_sleep(random.uniform(0.5, 1.0))  # noqa: S311  # no secret

    def _target(self, path: tuple[str, ...], query: Mapping[str, Any]) -> str:
        given = [(name, value) for name, value in query.items() if value is not None and value != []]
        if nothing := [part for part in path if part in ("", ".", "..")]:
            raise ValueError(f"{nothing[0]!r} is no id and no name")
        target = "/".join([self._base, "api", *(quote(part, safe="") for part in path)])
        return target + ("?" + urlencode(given, doseq=True) if given else "")

    def _refused(self, answer: ApiAnswer) -> ResponseError | UnreachableError:
        """The error of an answer; UnreachableError if it is not Waggle's."""
        try:
            body = json.loads(answer.body)
        except ValueError:
            body = None
        if answer.status < 300 or not (isinstance(body, dict) and "code" in body):
            kind = answer.headers.get("content-type", "no content-type")
            return UnreachableError(f"{self.url} answers, but not as a Waggle API (status {answer.status}, {kind})", unknown=True)
        retry_after = answer.headers.get("retry-after", "")
        return BY_STATUS.get(answer.status, ResponseError)(answer.status, body, float(retry_after) if retry_after.isdigit() else None)
