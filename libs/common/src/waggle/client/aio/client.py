"""The client: tasks in, results out, and what operators do from a program."""

import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import suppress
from secrets import token_hex
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar, Unpack
from uuid import UUID

import msgspec

from waggle import models
from waggle.client.aio.calls import AsyncCalls
from waggle.client.answers import TaskSnapshot, read_id, read_ids, read_page, read_task
from waggle.client.databases import async_ids
from waggle.client.errors import ResultError, TaskFailedError, TaskTimeoutError
from waggle.client.new_task import PreparedTask, TaskOptions, batches, new_task
from waggle.client.sse import TaskSign
from waggle.task import AT_REST, Status

R = TypeVar("R")
Json = dict[str, Any]

WAIT_SECONDS: Final = 20.0
"""One request waits for a task this long; longer waits are several requests."""
PAGE_LIMIT: Final = 1_000
LOOK_SECONDS: Final = 1.0
"""How often the timeline of a task that goes on is looked at."""


class TaskHandle(Generic[R]):
    """A task that was submitted: wait for its result, or look at it."""

    def __init__(self, client: "Client", task_id: UUID, returns: Any = Any) -> None:
        self._client, self.id, self._returns = client, task_id, returns

    def __repr__(self) -> str:
        return f"<TaskHandle {self.id}>"

    async def task(self) -> TaskSnapshot:
        """The task as it is now."""
        return await self._client.task(self.id)

    async def status(self) -> Status:
        return (await self.task()).status

    async def result(self, timeout: float | None = None) -> R:
        """Wait for its end, at most `timeout` seconds, and return what the handler returned. Raises TaskFailedError, with the task's own error,
        TaskTimeoutError, and ResultError when the result cannot be read.
        """
        task = await self._client.wait(self.id, timeout)
        if task.status != Status.COMPLETED:
            raise TaskFailedError(task)
        if "result" in task.hidden:
            raise ResultError("the key may not see results: it needs the scope payloads:read")
        try:
            found: R = msgspec.json.decode(task.result_json, type=self._returns, dec_hook=models.decoded)
        except ValueError as error:
            raise ResultError(f"the result of task {task.id} ({task.type}) is not of the type that its handler returns here: {error}") from error
        return found

    async def cancel(self) -> TaskSnapshot:
        """Cancel it; a running handler is asked to stop. Raises ConflictError if it has ended in another way."""
        return await self._client.cancel(self.id)

    def logs(self) -> AsyncIterator[Json]:
        """What its handler has logged through `ctx.log`, the first line first."""
        return self._client.logs(self.id)

    async def events(self) -> AsyncIterator[Json]:
        """Its timeline, from its submission on, as it grows until the task has ended: an event comes within about a second."""
        seen: set[bytes] = set()
        before = None
        while True:
            task = await self.task()  # before its timeline: what comes later is looked for again
            if task.updated != before:
                async for event in self._client.timeline(self.id):
                    if (key := msgspec.json.encode(event)) not in seen:
                        seen.add(key)
                        yield event
                before = task.updated
            if task.status in AT_REST:
                return
            with suppress(TaskTimeoutError):
                await self._client.wait(self.id, LOOK_SECONDS)

    def emitted(self) -> AsyncIterator[Any]:
        """What its handler emits through `ctx.emit`, as it comes, until the task has ended."""
        return self._client.emitted(self.id)


class TaskTransaction:
    """Submits tasks inside a transaction of a caller's own: they exist exactly when it commits (docs/sql.md). Its methods raise what the library of the
    connection raises: a refusal is an error of SQL, with SQLSTATE `WG422` and the like.
    """

    def __init__(self, client: "Client", connection: Any) -> None:
        self._client, self._connection = client, connection

    async def enqueue(self, type: str, payload: Mapping[str, Any] | None = None, **options: Unpack[TaskOptions]) -> TaskHandle[Any]:
        """Submit a task of a type by its name."""
        return await self.submit(new_task(type, payload, **options))

    async def submit(self, task: PreparedTask[R]) -> TaskHandle[R]:
        """Submit a task as `handler.prepare(…)` makes it."""
        [task_id] = await async_ids(self._connection, f"[{task.text.decode()}]", task.key)
        return TaskHandle(self._client, task_id, task.returns)

    async def submit_many(self, tasks: Iterable[PreparedTask[R]]) -> list[TaskHandle[R]]:
        """Submit tasks, 1,000 in a statement."""
        handles: list[TaskHandle[R]] = []
        for batch in batches(tasks):
            ids = await async_ids(self._connection, batch.json_list, None)
            handles += [TaskHandle(self._client, task_id, task.returns) for task, task_id in zip(batch.tasks, ids, strict=True)]
        return handles


class Client:
    """Waggle from code, over HTTP. One for a program is enough: it is safe for many coroutines at once, and keeps its connections.

    Where the API is and the key for it: `url` and `api_key`, else WAGGLE_URL and WAGGLE_API_KEY (or WAGGLE_API_KEY_FILE), else the `waggle up` of this
    folder or one above it. A request may take `timeout` seconds. One that fails, or is answered with 429 or 503, is repeated for `retry_for` seconds, as
    Retry-After says, if it cannot do anything twice; submissions cannot, because each has an idempotency key.
    Raises WrongAddressError; all methods raise UnreachableError and ResponseError.
    """

    def __init__(self, url: str | None = None, api_key: str | None = None, *, timeout: float = 30.0, retry_for: float = 30.0, connections: int = 20) -> None:
        self._calls = AsyncCalls(url, api_key, timeout=timeout, retry_for=retry_for, connections=connections)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections. It can be used again."""
        await self._calls.close()

    async def enqueue(self, type: str, payload: Mapping[str, Any] | None = None, **options: Unpack[TaskOptions]) -> TaskHandle[Any]:
        """Submit a task of a type by its name; it is stored when this returns. Raises InvalidTaskError when it does not fit the type."""
        return await self.submit(new_task(type, payload, **options))

    async def submit(self, task: PreparedTask[R]) -> TaskHandle[R]:
        """Submit a task as `handler.prepare(…)` makes it; it is stored when this returns."""
        answer = await self._calls.call("POST", "tasks", body=task.text, key=token_hex(16) if task.key is None else task.key)
        return TaskHandle(self, read_id(answer.body).id, task.returns)

    async def submit_many(self, tasks: Iterable[PreparedTask[R]]) -> list[TaskHandle[R]]:
        """Submit tasks, 1,000 in a request. Of each request's tasks all are stored or none; when one is refused, those of the requests before it stay."""
        handles: list[TaskHandle[R]] = []
        for batch in batches(tasks):
            answer = await self._calls.call("POST", "tasks", "batch", body=batch.text, key=batch.key, takes=60.0)
            created = read_ids(answer.body).items
            handles += [TaskHandle(self, one.id, task.returns) for task, one in zip(batch.tasks, created, strict=True)]
        return handles

    def in_transaction(self, connection: Any) -> TaskTransaction:
        """Submits inside the transaction of this connection, of asyncpg, psycopg, SQLAlchemy or (synchronous) Django. It needs no API; the handles do."""
        return TaskTransaction(self, connection)

    def handle(self, task_id: UUID | str) -> TaskHandle[Any]:
        """The handle of a task that was submitted elsewhere."""
        return TaskHandle(self, UUID(str(task_id)))

    async def task(self, task_id: UUID | str) -> TaskSnapshot:
        """A task as it is now. Raises TaskNotFoundError."""
        return read_task((await self._calls.call("GET", "tasks", str(task_id))).body)

    async def wait(self, task_id: UUID | str, timeout: float | None = None) -> TaskSnapshot:
        """A task once it is completed, failed, cancelled or a dead letter. Raises TaskTimeoutError after `timeout` seconds."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = WAIT_SECONDS if end is None else min(max(end - time.monotonic(), 0.0), WAIT_SECONDS)
            answer = await self._calls.call("GET", "tasks", str(task_id), query={"wait": round(left, 3)}, takes=left)
            task = read_task(answer.body)
            if task.status in AT_REST:
                return task
            if timeout is not None and end is not None and time.monotonic() >= end:
                raise TaskTimeoutError(task, timeout)

    async def cancel(self, task_id: UUID | str) -> TaskSnapshot:
        """Cancel a task; a running handler is asked to stop. Raises ConflictError if it has ended in another way."""
        return read_task((await self._calls.call("DELETE", "tasks", str(task_id))).body)

    async def tasks(
        self,
        *,
        status: Sequence[str] = (),
        type: Sequence[str] = (),
        queue: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[TaskSnapshot]:
        """Tasks that match, the newest first, without payloads. Pages are fetched as they are needed."""
        wanted = {"status": list(status), "type": list(type), "queue": queue, "metadata": None if metadata is None else msgspec.json.encode(metadata).decode()}
        async for item in self._items("tasks", query=wanted):
            yield read_task(item)

    async def dead_letters(
        self, *, type: Sequence[str] = (), code: Sequence[str] = (), queue: str | None = None, text: str | None = None
    ) -> AsyncIterator[TaskSnapshot]:
        """Dead letters that match, the newest first, without payloads; `text` is searched for in their errors."""
        async for item in self._items("dlq", query={"type": list(type), "code": list(code), "queue": queue, "text": text}):
            yield read_task(item)

    async def retry(self, task_id: UUID | str, payload: Mapping[str, Any] | None = None) -> TaskSnapshot:
        """Run a dead letter again, with its payload or another one."""
        body = b"" if payload is None else msgspec.json.encode({"payload": payload}, enc_hook=models.revealed)
        return read_task((await self._calls.call("POST", "dlq", str(task_id), "retry", body=body, safe=False)).body)

    async def logs(self, task_id: UUID | str) -> AsyncIterator[Json]:
        """What the handler of a task has logged through `ctx.log`, the first line first."""
        async for item in self._items("tasks", str(task_id), "logs"):
            yield msgspec.json.decode(item)

    async def emitted(self, task_id: UUID | str) -> AsyncIterator[Any]:
        """What the handler of a task emits through `ctx.emit`, as it comes, until the task has ended. A value comes once at most."""
        async for event in self._calls.events("tasks", str(task_id), "stream"):
            if not event.name:
                yield event.data["value"]

    async def events(
        self, *, status: Sequence[str] = (), type: Sequence[str] = (), queue: str | None = None, task_id: UUID | str | None = None, after: str = ""
    ) -> AsyncIterator[TaskSign]:
        """What happens to tasks from now on, or since the event with the id `after`, without an end. An event is a hint, and can be lost."""
        async for event in self._calls.events("events", query={"status": list(status), "type": list(type), "queue": queue, "task_id": task_id}, after=after):
            yield event

    async def timeline(self, task_id: UUID | str) -> AsyncIterator[Json]:
        """The life of a task, its first event first."""
        async for item in self._items("tasks", str(task_id), "timeline"):
            yield msgspec.json.decode(item)

    async def explain(self, task_id: UUID | str) -> Json:
        """Why a task does not run now, or how it ended."""
        return await self._json("GET", "tasks", str(task_id), "explain")

    async def queues(self) -> list[Json]:
        """The queues, with how many tasks are ready, run or wait for later."""
        found: list[Json] = (await self._json("GET", "queues"))["items"]
        return found

    async def pause(self, queue: str) -> Json:
        """Start nothing more of a queue; what runs goes on."""
        return await self._json("POST", "queues", queue, "pause")

    async def resume(self, queue: str) -> Json:
        """Start tasks of a paused queue again."""
        return await self._json("POST", "queues", queue, "resume")

    async def types(self) -> list[Json]:
        """The task types: their defaults, and the JSON Schemas of their payloads."""
        found: list[Json] = (await self._json("GET", "types"))["items"]
        return found

    async def _json(self, method: str, *path: str) -> Json:
        found: Json = msgspec.json.decode((await self._calls.call(method, *path)).body)
        return found

    async def _items(self, *path: str, query: Mapping[str, Any] | None = None) -> AsyncIterator[msgspec.Raw]:
        cursor = None
        while True:
            answer = await self._calls.call("GET", *path, query={**(query or {}), "limit": PAGE_LIMIT, "cursor": cursor})
            page = read_page(answer.body)
            for item in page.items:
                yield item
            cursor = page.next_cursor
            if cursor is None:
                return
