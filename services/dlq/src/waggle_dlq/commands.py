"""The commands of operators: each one a transaction, safe to repeat, with one log line that says who asked for what."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg
import msgspec
import structlog

from waggle import nesting
from waggle.bus import dlq_commands, subjects
from waggle.bus.dlq_commands import Cleaned, Command, Refusal, Refused
from waggle.redrive import Redrive
from waggle.settings.services import DlqSettings
from waggle.store import dead_letters, redrives, tasks
from waggle.store.client import Connection, SingleConnection
from waggle.store.postgres import OUTAGE, REFUSED
from waggle.task import Status
from waggle_dlq import cleanup, metrics

log = structlog.get_logger()

C = TypeVar("C", bound=Command)

ACQUIRE_SECONDS: Final = 4.0
KEY_TRIES: Final = 3
OBSTACLES: Final[Mapping[str, str]] = {
    "deadline": "the task's deadline has passed: it cannot be retried",
    "unique_key": "another task of this type that has not ended has the same unique_key",
}


class Commands:
    """What this service does when it is asked; `wake` is set when a redrive began."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", settings: DlqSettings, wake: asyncio.Event) -> None:
        self._pool, self._settings, self._wake = pool, settings, wake

    def handlers(self) -> dict[str, Callable[[bytes], Awaitable[bytes]]]:
        """By their subjects."""
        return {
            subjects.DLQ_RETRY: _taking(dlq_commands.Retry, self.retry),
            subjects.DLQ_REMOVE: _taking(dlq_commands.Remove, self.remove),
            subjects.DLQ_CLEANUP: _taking(dlq_commands.Cleanup, self.clean),
            subjects.DLQ_REDRIVE: _taking(dlq_commands.BeginRedrive, self.begin_redrive),
            subjects.DLQ_CANCEL: _taking(dlq_commands.CancelRedrive, self.cancel_redrive),
        }

    async def retry(self, command: dlq_commands.Retry) -> object:
        """One dead letter becomes pending."""
        if command.payload is not None:
            nesting.check(command.payload.encode())
        for left in reversed(range(KEY_TRIES)):
            try:
                found = await self._retry(command)
                break
            except asyncpg.UniqueViolationError:
                if not left:
                    raise Refused(Refusal.CONFLICT, OBSTACLES["unique_key"]) from None
        metrics.RETRIED.labels("manual").inc()
        log.info("dead letter retried", task_id=str(command.id), edited=command.payload is not None, asked_by=command.asked_by)
        return found

    async def _retry(self, command: dlq_commands.Retry) -> object:
        async with self._transaction(command) as connection:
            revival = await dead_letters.retry(connection, [command.id], how="manual", retried_by=command.asked_by, payload=command.payload)
            if command.id in revival.obstacles:
                raise Refused(Refusal.CONFLICT, OBSTACLES[revival.obstacles[command.id]])
            return await _task(connection, command.id, bool(revival.retried))

    async def remove(self, command: dlq_commands.Remove) -> object:
        """One dead letter becomes failed."""
        async with self._transaction(command) as connection:
            found = await _task(connection, command.id, await dead_letters.remove(connection, command.id))
        metrics.REMOVED.inc()
        log.info("dead letter removed", task_id=str(command.id), asked_by=command.asked_by)
        return found

    async def clean(self, command: dlq_commands.Cleanup) -> Cleaned:
        """By the settings, or what is older than the command says, whatever the size."""
        async with self._transaction(command):
            pass
        if command.older_than is None:
            done = await cleanup.clean(self._pool, self._settings.dlq_retention_period_ms / 1000, self._settings.dlq_max_size)
        else:
            done = await cleanup.clean(self._pool, command.older_than, None)
        log.info("dead letters cleaned up on request", older_than=command.older_than, cleaned=done.cleaned, asked_by=command.asked_by)
        return done

    async def begin_redrive(self, command: dlq_commands.BeginRedrive) -> Redrive:
        """A row; the loop does the rest."""
        rate = self._settings.dlq_redrive_rate if command.rate is None else command.rate
        async with self._transaction(command) as connection:
            await redrives.begin(connection, command.id, command.filter, rate=rate, limit=command.limit, submitted_by=command.asked_by)
            begun = await redrives.get(connection, command.id)
        assert begun is not None
        self._wake.set()
        log.info("redrive began", redrive_id=str(command.id), matched=begun.matched, rate=rate, limit=command.limit, asked_by=command.asked_by)
        return begun

    async def cancel_redrive(self, command: dlq_commands.CancelRedrive) -> Redrive:
        """Cancelling it again is fine."""
        async with self._transaction(command) as connection:
            cancelled = await redrives.cancel(connection, command.id, f"cancelled by {command.asked_by}")
            found = await redrives.get(connection, command.id)
        if found is None:
            raise Refused(Refusal.NOT_FOUND, "there is no bulk retry with this id")
        if found.state != "cancelled":
            raise Refused(Refusal.CONFLICT, f"the bulk retry has ended already: {found.state}")
        if cancelled:
            metrics.REDRIVES.labels("cancelled").inc()
            log.info("redrive cancelled", redrive_id=str(command.id), retried=found.retried, asked_by=command.asked_by)
        return found

    @asynccontextmanager
    async def _transaction(self, command: Command) -> AsyncIterator[SingleConnection]:
        """A transaction, if the caller still waits for it by the database's clock."""
        async with self._pool.acquire(timeout=ACQUIRE_SECONDS) as connection, connection.transaction():
            if await dead_letters.now(connection) > command.until:
                raise Refused(Refusal.TOO_LATE, "the request came so late that nobody waits for it any more: nothing was done")
            yield connection


async def _task(connection: Connection, task_id: UUID, changed: bool) -> object:
    """The task after its change, without its payload. Raises Refused when it was no dead letter."""
    found = (await tasks.get_many(connection, [task_id])).get(task_id)
    if found is None:
        raise Refused(Refusal.NOT_FOUND, "there is no task with this id")
    if not changed:
        told = "has been a dead letter for no time at all: repeat the request" if found.status is Status.DEAD_LETTER else f"is {found.status}"
        raise Refused(Refusal.NOT_FOUND, f"there is no dead letter with this id: the task {told}")
    return found


def _taking(of: type[C], do: Callable[[C], Awaitable[Any]]) -> Callable[[bytes], Awaitable[bytes]]:
    """A handler of raw requests. Raises Refused."""
    decoder = msgspec.json.Decoder(of)

    async def handle(data: bytes) -> bytes:
        try:
            nesting.check(data)
            return msgspec.json.encode(await do(decoder.decode(data)))
        except Refused as refused:
            metrics.REFUSED.labels(refused.refusal.value).inc()
            raise
        except (msgspec.DecodeError, RecursionError) as error:
            metrics.REFUSED.labels(Refusal.UNREADABLE.value).inc()
            raise Refused(Refusal.UNREADABLE, str(error)) from error
        except REFUSED as error:
            metrics.REFUSED.labels(Refusal.INVALID.value).inc()
            raise Refused(Refusal.INVALID, "the database does not take a value of this request") from error
        except OUTAGE as error:
            log.warning("command without an answer of the database", error=str(error) or type(error).__name__)
            metrics.REFUSED.labels(Refusal.UNKNOWN.value).inc()
            raise Refused(Refusal.UNKNOWN, "the database does not answer; what was sent may or may not have been done") from error

    return handle
