"""What the doors know of the catalogue: task types with their compiled schemas, queues, and the database's clock.

Read anew every 2 s, and at once (at most four times a second) when a name is unknown. Formats in schemas are not checked: msgspec takes times
without an offset, which RFC 3339 does not; the worker has the last word.
"""

import asyncio
import itertools
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import asyncpg
import jsonschema_rs
import msgspec
import structlog

from waggle.field_errors import MOST_ERRORS, Findings
from waggle.loops import periodic
from waggle.store import catalogue, waiting
from waggle.store.postgres import OUTAGE
from waggle_api.connections import borrowed

log = structlog.get_logger()

EVERY: Final = 2.0
AT_LEAST: Final = 0.25
READ_PATIENCE: Final = 3.0


class KnownType(NamedTuple):
    """A task type: its defaults and the validator of its payloads, if it has a schema that can be used. `timeout` is in seconds."""

    name: str
    queue: str
    max_retries: int
    timeout: float
    validator: jsonschema_rs.Validator | None
    schema: str = ""

    def fits(self, payload: dict[str, Any]) -> bool:
        return self.validator is None or self.validator.is_valid(payload)

    def find(self, payload: dict[str, Any], field: str, findings: Findings, *, all_errors: bool) -> None:
        """Tell what is wrong with a payload that does not fit: everything, or the first error."""
        assert self.validator is not None
        for error in itertools.islice(self.validator.iter_errors(payload), MOST_ERRORS) if all_errors else _first(self.validator, payload):
            _tell(error, field + _path(error.instance_path), findings)


def _first(validator: jsonschema_rs.Validator, payload: dict[str, Any]) -> list[jsonschema_rs.ValidationError]:
    try:
        validator.validate(payload)
    except jsonschema_rs.ValidationError as error:
        return [error]
    return []


def _path(places: list[str | int]) -> str:
    return "".join([f"[{place}]" if isinstance(place, int) else f".{place}" for place in places])


def _tell(error: jsonschema_rs.ValidationError, field: str, findings: Findings) -> None:
    kind: Any = error.kind
    match kind.name:
        case "required":
            findings.add(f"{field}.{kind.property}", "is required")
        case "additionalProperties":
            for name in kind.unexpected:
                findings.add(f"{field}.{name}", "is not a field of this payload")
        case _:
            findings.add(field, error.message)


class Catalogue:
    """A copy of the catalogue that is at most 2 s old while Postgres answers."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self.types: Mapping[str, KnownType] = {}
        self.queues: Mapping[str, bool] = {}
        self._pool = pool
        self._lock = asyncio.Lock()
        self._began = 0.0  # when the last successful reading began; 0 means never
        self._clock: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        """The database's clock, as the last reading told it."""
        assert self._clock is not None
        told, at = self._clock
        return told + timedelta(seconds=time.monotonic() - at)

    async def newer(self) -> None:
        """Return when the catalogue was read by a reading that began after this call. Raises one of OUTAGE."""
        asked = time.monotonic()
        async with self._lock:
            if self._began <= asked:
                await asyncio.sleep(self._began + AT_LEAST - time.monotonic())
                await self._read()

    async def keep(self, stopping: asyncio.Event) -> None:
        """The loop that keeps the copy young."""

        async def step() -> bool:
            async with self._lock:
                await self._read()
            return False

        await periodic(EVERY, step, OUTAGE, stopping)

    async def _read(self) -> None:
        began = time.monotonic()
        async with borrowed(self._pool, READ_PATIENCE) as connection:
            asked = time.monotonic()
            told = await waiting.now(connection)
            self._clock = (told, (asked + time.monotonic()) / 2)
            rows = await catalogue.types(connection)
            self.queues = await catalogue.queues(connection)
        self.types = {row.name: self._known(row) for row in rows}
        self._began = began

    def _known(self, row: catalogue.TaskType) -> KnownType:
        before = self.types.get(row.name)
        validator = before.validator if before is not None and before.schema == row.schema else _compile(row)
        return KnownType(row.name, row.queue, row.max_retries, row.timeout, validator, row.schema)


def _compile(row: catalogue.TaskType) -> jsonschema_rs.Validator | None:
    """The validator of a type's payloads; values do not appear in its messages, and it fetches nothing from anywhere."""
    try:
        schema = msgspec.json.decode(row.schema)
        return jsonschema_rs.validator_for(schema, mask="the value", offline=True)
    except ValueError as error:
        log.warning("the schema of a task type cannot be used; its payloads are checked by its workers only", task_type=row.name, error=str(error)[:200])
        return None
