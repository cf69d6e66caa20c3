"""Made from `waggle.client.aio` by `just sync-client`; change it there."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from secrets import token_hex
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar, Unpack
from uuid import UUID

import msgspec

from waggle import models
from waggle.client.answers import TaskSnapshot, read_id, read_ids, read_page, read_task
from waggle.client.databases import sync_ids
from waggle.client.errors import ResultError, TaskFailedError, TaskTimeoutError
from waggle.client.new_task import PreparedTask, TaskOptions, batches, new_task
from waggle.client.sse import TaskSign
from waggle.client.sync.calls import SyncCalls
from waggle.task import AT_REST, Status

R = TypeVar("R")
Json = dict[str, Any]

WAIT_SECONDS: Final = 20.0
"""One request waits for a task this long; longer waits are several requests."""
PAGE_LIMIT: Final = 1_000
LOOK_SECONDS: Final = 1.0
"""How often the timeline of a task that goes on is looked at."""


class SyncTaskHandle(Generic[R]):
    """A task that was submitted: wait for its result, or look at it."""

    def __init__(self, client: "SyncClient", task_id: UUID, returns: Any = Any) -> None:
        self._client, self.id, self._returns = client, task_id, returns

    def __repr__(self) -> str:
        return f"<TaskHandle {self.id}>"

    def task(self) -> TaskSnapshot:
        """The task as it is now."""
        return self._client.task(self.id)

    def status(self) -> Status:
        return (self.task()).status

    def result(self, timeout: float | None = None) -> R:
        """Wait for its end, at most `timeout` seconds, and return what the handler returned. Raises TaskFailedError, with the task's own error,
        TaskTimeoutError, and ResultError when the result cannot be read.
        """
        task = self._client.wait(self.id, timeout)
        if task.status != Status.COMPLETED:
            raise TaskFailedError(task)
        if "result" in task.hidden:
            raise ResultError("the key may not see results: it needs the scope payloads:read")
        try:
            found: R = msgspec.json.decode(task.result_json, type=self._returns, dec_hook=models.decoded)
        except ValueError as error:
            raise ResultError(f"the result of task {task.id} ({task.type}) is not of the type that its handler returns here: {error}") from error
        return found

    def cancel(self) -> TaskSnapshot:
        """Cancel it; a running handler is asked to stop. Raises ConflictError if it has ended in another way."""
        return self._client.cancel(self.id)

    def logs(self) -> Iterator[Json]:
        """What its handler has logged through `ctx.log`, the first line first."""
        return self._client.logs(self.id)

    def events(self) -> Iterator[Json]:
        """Its timeline, from its submission on, as it grows until the task has ended: an event comes within about a second."""
        seen: set[bytes] = set()
        before = None
        while True:
            task = self.task()  # before its timeline: what comes later is looked for again
            if task.updated != before:
                for event in self._client.timeline(self.id):
                    if (key := msgspec.json.encode(event)) not in seen:
                        seen.add(key)
                        yield event
                before = task.updated
            if task.status in AT_REST:
                return
            with suppress(TaskTimeoutError):
                self._client.wait(self.id, LOOK_SECONDS)

    def emitted(self) -> Iterator[Any]:
        """What its handler emits through `ctx.emit`, as it comes, until the task has ended."""
        return self._client.emitted(self.id)


class SyncTaskTransaction:
    """Submits tasks inside a transaction of a caller's own: they exist exactly when it commits (docs/sql.md). Its methods raise what the library of the
    connection raises: a refusal is an error of SQL, with SQLSTATE `WG422` and the like.
    """

    def __init__(self, client: "SyncClient", connection: Any) -> None:
        self._client, self._connection = client, connection

    def enqueue(self, type: str, payload: Mapping[str, Any] | None = None, **options: Unpack[TaskOptions]) -> SyncTaskHandle[Any]:
        """Submit a task of a type by its name."""
        return self.submit(new_task(type, payload, **options))

    def submit(self, task: PreparedTask[R]) -> SyncTaskHandle[R]:
        """Submit a task as `handler.prepare(…)` makes it."""
        [task_id] = sync_ids(self._connection, f"[{task.text.decode()}]", task.key)
        return SyncTaskHandle(self._client, task_id, task.returns)

    def submit_many(self, tasks: Iterable[PreparedTask[R]]) -> list[SyncTaskHandle[R]]:
        """Submit tasks, 1,000 in a statement."""
        handles: list[SyncTaskHandle[R]] = []
        for batch in batches(tasks):
            ids = sync_ids(self._connection, batch.json_list, None)
            handles += [SyncTaskHandle(self._client, task_id, task.returns) for task, task_id in zip(batch.tasks, ids, strict=True)]
        return handles


class SyncClient:
    """Waggle from code, over HTTP. One for a program is enough: it is safe for many coroutines at once, and keeps its connections.

    Where the API is and the key for it: `url` and `api_key`, else WAGGLE_URL and WAGGLE_API_KEY (or WAGGLE_API_KEY_FILE), else the `waggle up` of this
    folder or one above it. A request may take `timeout` seconds. One that fails, or is answered with 429 or 503, is repeated for `retry_for` seconds, as
    Retry-After says, if it cannot do anything twice; submissions cannot, because each has an idempotency key.
    Raises WrongAddressError; all methods raise UnreachableError and ResponseError.
    """

    def __init__(self, url: str | None = None, api_key: str | None = None, *, timeout: float = 30.0, retry_for: float = 30.0, connections: int = 20) -> None:
        self._calls = SyncCalls(url, api_key, timeout=timeout, retry_for=retry_for, connections=connections)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections. It can be used again."""
        self._calls.close()

    def enqueue(self, type: str, payload: Mapping[str, Any] | None = None, **options: Unpack[TaskOptions]) -> SyncTaskHandle[Any]:
        """Submit a task of a type by its name; it is stored when this returns. Raises InvalidTaskError when it does not fit the type."""
        return self.submit(new_task(type, payload, **options))

    def submit(self, task: PreparedTask[R]) -> SyncTaskHandle[R]:
        """Submit a task as `handler.prepare(…)` makes it; it is stored when this returns."""
        answer = self._calls.call("POST", "tasks", body=task.text, key=token_hex(16) if task.key is None else task.key)
        return SyncTaskHandle(self, read_id(answer.body).id, task.returns)

    def submit_many(self, tasks: Iterable[PreparedTask[R]]) -> list[SyncTaskHandle[R]]:
        """Submit tasks, 1,000 in a request. Of each request's tasks all are stored or none; when one is refused, those of the requests before it stay."""
        handles: list[SyncTaskHandle[R]] = []
        for batch in batches(tasks):
            answer = self._calls.call("POST", "tasks", "batch", body=batch.text, key=batch.key, takes=60.0)
            created = read_ids(answer.body).items
            handles += [SyncTaskHandle(self, one.id, task.returns) for task, one in zip(batch.tasks, created, strict=True)]
        return handles

    def in_transaction(self, connection: Any) -> SyncTaskTransaction:
        """Submits inside the transaction of this connection, of asyncpg, psycopg, SQLAlchemy or (synchronous) Django. It needs no API; the handles do."""
        return SyncTaskTransaction(self, connection)

    def handle(self, task_id: UUID | str) -> SyncTaskHandle[Any]:
        """The handle of a task that was submitted elsewhere."""
        return SyncTaskHandle(self, UUID(str(task_id)))

    def task(self, task_id: UUID | str) -> TaskSnapshot:
        """A task as it is now. Raises TaskNotFoundError."""
        return read_task((self._calls.call("GET", "tasks", str(task_id))).body)

    def wait(self, task_id: UUID | str, timeout: float | None = None) -> TaskSnapshot:
        """A task once it is completed, failed, cancelled or a dead letter. Raises TaskTimeoutError after `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = WAIT_SECONDS if end is None else min(max(end - time.monotonic(), 0.0), WAIT_SECONDS)
            answer = self._calls.call("GET", "tasks", str(task_id), query={"wait": round(left, 3)}, takes=left)
            task = read_task(answer.body)
            if task.status in AT_REST:
                return task
            if timeout is not None and end is not None and time.monotonic() >= end:
                raise TaskTimeoutError(task, timeout)

    def cancel(self, task_id: UUID | str) -> TaskSnapshot:
        """Cancel a task; a running handler is asked to stop. Raises ConflictError if it has ended in another way."""
        return read_task((self._calls.call("DELETE", "tasks", str(task_id))).body)

    def tasks(
        self,
        *,
        status: Sequence[str] = (),
        type: Sequence[str] = (),
        queue: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Iterator[TaskSnapshot]:
        """Tasks that match, the newest first, without payloads. Pages are fetched as they are needed."""
        wanted = {"status": list(status), "type": list(type), "queue": queue, "metadata": None if metadata is None else msgspec.json.encode(metadata).decode()}
        for item in self._items("tasks", query=wanted):
            yield read_task(item)

    def dead_letters(self, *, type: Sequence[str] = (), code: Sequence[str] = (), queue: str | None = None, text: str | None = None) -> Iterator[TaskSnapshot]:
        """Dead letters that match, the newest first, without payloads; `text` is searched for in their errors."""
        for item in self._items("dlq", query={"type": list(type), "code": list(code), "queue": queue, "text": text}):
            yield read_task(item)

    def retry(self, task_id: UUID | str, payload: Mapping[str, Any] | None = None) -> TaskSnapshot:
        """Run a dead letter again, with its payload or another one."""
        body = b"" if payload is None else msgspec.json.encode({"payload": payload}, enc_hook=models.revealed)
        return read_task((self._calls.call("POST", "dlq", str(task_id), "retry", body=body, safe=False)).body)

    def logs(self, task_id: UUID | str) -> Iterator[Json]:
        """What the handler of a task has logged through `ctx.log`, the first line first."""
        for item in self._items("tasks", str(task_id), "logs"):
            yield msgspec.json.decode(item)

    def emitted(self, task_id: UUID | str) -> Iterator[Any]:
        """What the handler of a task emits through `ctx.emit`, as it comes, until the task has ended. A value comes once at most."""
        for event in self._calls.events("tasks", str(task_id), "stream"):
            if not event.name:
                yield event.data["value"]

    def events(
        self, *, status: Sequence[str] = (), type: Sequence[str] = (), queue: str | None = None, task_id: UUID | str | None = None, after: str = ""
    ) -> Iterator[TaskSign]:
        """What happens to tasks from now on, or since the event with the id `after`, without an end. An event is a hint, and can be lost."""
        for event in self._calls.events("events", query={"status": list(status), "type": list(type), "queue": queue, "task_id": task_id}, after=after):
            yield event

    def timeline(self, task_id: UUID | str) -> Iterator[Json]:
        """The life of a task, its first event first."""
        for item in self._items("tasks", str(task_id), "timeline"):
            yield msgspec.json.decode(item)

    def explain(self, task_id: UUID | str) -> Json:
        """Why a task does not run now, or how it ended."""
        return self._json("GET", "tasks", str(task_id), "explain")

    def queues(self) -> list[Json]:
        """The queues, with how many tasks are ready, run or wait for later."""
        found: list[Json] = (self._json("GET", "queues"))["items"]
        return found

    def pause(self, queue: str) -> Json:
        """Start nothing more of a queue; what runs goes on."""
        return self._json("POST", "queues", queue, "pause")

    def resume(self, queue: str) -> Json:
        """Start tasks of a paused queue again."""
        return self._json("POST", "queues", queue, "resume")

    def types(self) -> list[Json]:
        """The task types: their defaults, and the JSON Schemas of their payloads."""
        found: list[Json] = (self._json("GET", "types"))["items"]
        return found

    def _json(self, method: str, *path: str) -> Json:
        found: Json = msgspec.json.decode((self._calls.call(method, *path)).body)
        return found

    def _items(self, *path: str, query: Mapping[str, Any] | None = None) -> Iterator[msgspec.Raw]:
        cursor = None
        while True:
            answer = self._calls.call("GET", *path, query={**(query or {}), "limit": PAGE_LIMIT, "cursor": cursor})
            page = read_page(answer.body)
            for item in page.items:
                yield item
            cursor = page.next_cursor
            if cursor is None:
                return
