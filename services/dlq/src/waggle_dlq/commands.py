"""The commands of operators: each is a transaction, safe to repeat, and logs one line with its caller."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg
import msgspec
import structlog

from waggle import nesting
from waggle.bus import dlq_commands, due, events, subjects
from waggle.bus.connection import Bus
from waggle.bus.dlq_commands import Cleaned, CommandRefused, DlqCommand, RefusalCode
from waggle.bus.events import TaskEvent
from waggle.redrive import Redrive
from waggle.settings.services import DlqSettings
from waggle.store import dead_letters, redrives, tasks
from waggle.store.client import Connection, SingleConnection
from waggle.store.postgres import POSTGRES_OUTAGE, REFUSED
from waggle.task import Status, Task
from waggle_dlq import cleanup, metrics, telling

log = structlog.get_logger()

C = TypeVar("C", bound=DlqCommand)

ACQUIRE_SECONDS: Final = 4.0
KEY_TRIES: Final = 3
OBSTACLES: Final[Mapping[str, str]] = {
    "deadline": "the task's deadline has passed; it cannot be retried",
    "unique_key": "another unfinished task of this type has the same unique_key",
}


class Commands:
    """Executes commands; sets `wake` when a redrive began."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", bus: Bus, settings: DlqSettings, wake: asyncio.Event) -> None:
        self._pool, self._bus, self._settings, self._wake = pool, bus, settings, wake

    def handlers(self) -> dict[str, Callable[[bytes], Awaitable[bytes]]]:
        """The handlers, by subject."""
        return {
            subjects.DLQ_RETRY: _taking(dlq_commands.RetryTask, self.retry),
            subjects.DLQ_REMOVE: _taking(dlq_commands.RemoveTask, self.remove),
            subjects.DLQ_CLEANUP: _taking(dlq_commands.CleanUp, self.clean),
            subjects.DLQ_REDRIVE: _taking(dlq_commands.BeginRedrive, self.begin_redrive),
            subjects.DLQ_CHANGING_REDRIVE: _taking(dlq_commands.BeginChangingRedrive, self.begin_redrive),
            subjects.DLQ_CANCEL: _taking(dlq_commands.CancelRedrive, self.cancel_redrive),
        }

    async def retry(self, command: dlq_commands.RetryTask) -> object:
        """Retry one dead letter: it becomes pending."""
        if command.payload is not None:
            nesting.check(command.payload.encode())
        for left in reversed(range(KEY_TRIES)):
            try:
                found = await self._retry(command)
                break
            except asyncpg.UniqueViolationError:
                if not left:
                    raise CommandRefused(RefusalCode.CONFLICT, OBSTACLES["unique_key"]) from None
        await due.announce(self._bus)
        await self._tell(found)
        metrics.RETRIED.labels("manual").inc()
        log.info("dead letter retried", task_id=str(command.id), edited=command.payload is not None, asked_by=command.asked_by)
        return found

    async def _retry(self, command: dlq_commands.RetryTask) -> Task:
        async with self._transaction(command) as connection:
            revival = await dead_letters.retry(
                connection, [command.id], how="manual", retried_by=command.asked_by, payloads=None if command.payload is None else [command.payload]
            )
            if command.id in revival.obstacles:
                raise CommandRefused(RefusalCode.CONFLICT, OBSTACLES[revival.obstacles[command.id]])
            return await _task(connection, command.id, bool(revival.retried))

    async def remove(self, command: dlq_commands.RemoveTask) -> object:
        """Remove one dead letter: it becomes failed."""
        async with self._transaction(command) as connection:
            found = await _task(connection, command.id, await dead_letters.remove(connection, command.id))
        metrics.REMOVED.inc()
        await self._tell(found)
        log.info("dead letter removed", task_id=str(command.id), asked_by=command.asked_by)
        return found

    async def _tell(self, task: Task) -> None:
        code = None if task.error is None else task.error.code
        await events.tell(self._bus, [TaskEvent(task.id, task.type, task.queue, task.status, task.attempt, events.now(), code)])

    async def clean(self, command: dlq_commands.CleanUp) -> Cleaned:
        """Clean up by the settings, or only by the age in the command."""
        async with self._transaction(command):
            pass
        if command.older_than is None:
            done = await cleanup.clean(self._pool, partial(telling.tell, self._bus), self._settings.dlq_retention_period_ms / 1000, self._settings.dlq_max_size)
        else:
            done = await cleanup.clean(self._pool, partial(telling.tell, self._bus), command.older_than, None)
        log.info("dead letters cleaned up on request", older_than=command.older_than, cleaned=done.cleaned, asked_by=command.asked_by)
        return done

    async def begin_redrive(self, command: dlq_commands.BeginRedrive) -> Redrive:
        """Insert the redrive; the loop does the rest."""
        rate = self._settings.dlq_redrive_rate if command.rate is None else command.rate
        changes = command.changes if isinstance(command, dlq_commands.BeginChangingRedrive) else None
        async with self._transaction(command) as connection:
            await redrives.begin(*(connection, command.id, command.filter), rate=rate, limit=command.limit, submitted_by=command.asked_by, changes=changes)
            begun = await redrives.get(connection, command.id)
        assert begun is not None
        self._wake.set()
        log.info(
            "redrive began",
            redrive_id=str(command.id),
            matched=begun.matched,
            rate=rate,
            limit=command.limit,
            changing=changes is not None,
            asked_by=command.asked_by,
        )
        return begun

    async def cancel_redrive(self, command: dlq_commands.CancelRedrive) -> Redrive:
        """Cancel a redrive; safe to repeat."""
        async with self._transaction(command) as connection:
            cancelled = await redrives.cancel(connection, command.id, f"cancelled by {command.asked_by}")
            found = await redrives.get(connection, command.id)
        if found is None:
            raise CommandRefused(RefusalCode.NOT_FOUND, "there is no redrive with this id")
        if found.state != "cancelled":
            raise CommandRefused(RefusalCode.CONFLICT, f"the redrive has already ended: {found.state}")
        if cancelled:
            metrics.REDRIVES.labels("cancelled").inc()
            log.info("redrive cancelled", redrive_id=str(command.id), retried=found.retried, asked_by=command.asked_by)
        return found

    @asynccontextmanager
    async def _transaction(self, command: DlqCommand) -> AsyncIterator[SingleConnection]:
        """A transaction, if the caller still waits, by the clock of the database."""
        async with self._pool.acquire(timeout=ACQUIRE_SECONDS) as connection, connection.transaction():
            if await dead_letters.now(connection) > command.until:
                raise CommandRefused(RefusalCode.TOO_LATE, "the request arrived after its caller stopped waiting; nothing was done")
            yield connection


async def _task(connection: Connection, task_id: UUID, changed: bool) -> Task:
    """The changed task, without its payload. Raises CommandRefused when it was no dead letter."""
    found = (await tasks.get_many(connection, [task_id])).get(task_id)
    if found is None:
        raise CommandRefused(RefusalCode.NOT_FOUND, "there is no task with this id")
    if not changed:
        now = "has just become a dead letter; repeat the request" if found.status is Status.DEAD_LETTER else f"is {found.status}"
        raise CommandRefused(RefusalCode.NOT_FOUND, f"there is no dead letter with this id: the task {now}")
    return found


def _taking(of: type[C], do: Callable[[C], Awaitable[Any]]) -> Callable[[bytes], Awaitable[bytes]]:
    """A handler that decodes its request. Raises CommandRefused."""
    decoder = msgspec.json.Decoder(of)

    async def handle(data: bytes) -> bytes:
        try:
            nesting.check(data)
            return msgspec.json.encode(await do(decoder.decode(data)))
        except CommandRefused as refused:
            metrics.REFUSED.labels(refused.refusal.value).inc()
            raise
        except (msgspec.DecodeError, RecursionError) as error:
            metrics.REFUSED.labels(RefusalCode.UNREADABLE.value).inc()
            raise CommandRefused(RefusalCode.UNREADABLE, str(error)) from error
        except REFUSED as error:
            metrics.REFUSED.labels(RefusalCode.INVALID.value).inc()
            raise CommandRefused(RefusalCode.INVALID, "Postgres refuses a value of this request") from error
        except POSTGRES_OUTAGE as error:
            log.warning("command failed, Postgres unavailable", error=str(error) or type(error).__name__)
            metrics.REFUSED.labels(RefusalCode.UNKNOWN.value).inc()
            raise CommandRefused(RefusalCode.UNKNOWN, "Postgres does not answer; the request may or may not have been done") from error

    return handle
