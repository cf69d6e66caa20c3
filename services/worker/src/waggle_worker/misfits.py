"""Tasks whose payload this worker cannot read: what the version of another live worker can read goes back without cost; the rest fails.

While old and new code run side by side, a misfit says something of one worker, not yet of the task. But where a worker's own schema takes the payload, and
its code does not (a class that checks its own values), the task fails at once: two such versions would leave it to each other without an end.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

import msgspec
import structlog

from waggle.errors import ErrorCode, TaskError
from waggle.retry import SNOOZE_CAP_SECONDS
from waggle.store import catalogue
from waggle.store.catalogue import ServedVersion, version_of
from waggle.store.client import Connection
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle.task import Claimed, Failed, Snoozed, other_version_delay
from waggle.validation import Validation, compiled
from waggle_worker import metrics
from waggle_worker.settler import Settler

log = structlog.get_logger()

RETRY_SECONDS: Final = 0.5
RETURNS_A_SECOND: Final = 50
BATCH: Final = 100  # payloads that are checked without a pause for other tasks of the loop


class Misfit(NamedTuple):
    """An attempt that failed because its payload does not fit, and how its failure would be settled."""

    claimed: Claimed
    worker_id: str
    failed: Failed
    rest: dict[str, Any]


class Misfits:
    """Decides what becomes of misfits, with one look at the live versions for all that wait. `schemas` are the texts of those of this worker's types."""

    def __init__(self, connection: Connection, settler: Settler, schemas: Mapping[str, str]) -> None:
        self._connection, self._settler, self._schemas = connection, settler, schemas
        self._waiting: asyncio.Queue[Misfit] = asyncio.Queue()
        self._returns = 0.0  # the monotonic time at which the last of those that went back comes again

    def settle(self, claimed: Claimed, worker_id: str, failed: Failed, **rest: Any) -> None:
        """As Settler.settle, once it is known whether another worker can read the payload."""
        self._settler.expect(claimed, worker_id)
        self._waiting.put_nowait(Misfit(claimed, worker_id, failed, rest))

    async def loop(self) -> None:
        while True:
            batch = [await self._waiting.get()]
            while len(batch) < BATCH and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            served = await self._served({one.claimed.type for one in batch})
            left = Counter([one.claimed.type for one in batch if self._is_left(one, served)])
            for task_type, count in left.items():
                metrics.MISFITS_LEFT.labels(task_type).inc(count)
                log.info("payloads left to another version", task_type=task_type, count=count, version=version_of(self._schemas[task_type]))

    async def _served(self, names: set[str]) -> list[ServedVersion]:
        while True:
            try:
                return await catalogue.served(self._connection, names)
            except POSTGRES_OUTAGE as error:
                log.warning("live versions not read", types=sorted(names), error=str(error) or type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)

    def _is_left(self, misfit: Misfit, served: list[ServedVersion]) -> bool:
        """Settle one; whether it goes back."""
        claimed, schema = misfit.claimed, self._schemas[misfit.claimed.type]
        others = [each for each in served if each.name == claimed.type and each.schema != schema and claimed.queue in each.queues]
        reader = None
        if not _takes(claimed.type, schema, claimed.payload):
            reader = next((each.version for each in others if _takes(claimed.type, each.schema, claimed.payload)), None)
        if reader is None:
            self._settler.settle(claimed, misfit.worker_id, misfit.failed, **misfit.rest)
            return False
        own = version_of(schema)
        message = f"this worker serves version {own} of the type, which cannot read the payload; the task waits for a worker with version {reader}"
        why = TaskError(ErrorCode.VALIDATION_ERROR, message, retryable=True, details={"version": own, "reader": reader})
        self._settler.settle(claimed, misfit.worker_id, Snoozed(self._delay(claimed), error=why))
        return True

    def _delay(self, claimed: Claimed) -> float:
        """Seconds until it comes again; many misfits come one after another, so that their claims in vain stay few."""
        now = time.monotonic()
        self._returns = max(self._returns, now) + 1 / RETURNS_A_SECOND
        return max(other_version_delay(claimed.attempt, claimed.retry_count), min(self._returns - now, SNOOZE_CAP_SECONDS))


def _takes(task_type: str, schema: str, payload: str) -> bool:
    """Whether a version takes a payload. One without a usable schema may: its worker says so."""
    validation = _validation(task_type, schema)
    try:
        return validation is None or validation.of(payload).is_valid(msgspec.json.decode(payload))
    except (ValueError, msgspec.MsgspecError, RecursionError):  # inserted by SQL: no version reads it
        return False


@lru_cache(maxsize=100)
def _validation(task_type: str, schema: str) -> Validation | None:
    return compiled(schema, task_type)
