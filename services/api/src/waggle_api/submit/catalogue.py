"""A copy of the catalogue for checking submissions: task types with their compiled schemas, queues, and the database's clock.

Refreshed every 2 s, and at once (up to four times a second) when a name is unknown. Formats in schemas are not checked: msgspec accepts times
without an offset, RFC 3339 does not; the worker has the last word.
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

from waggle import secret_fields
from waggle.field_errors import ERROR_LIMIT, FieldErrors
from waggle.loops import periodic
from waggle.store import catalogue, waiting
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle_api.connections import borrowed

log = structlog.get_logger()

REFRESH_SECONDS: Final = 2.0
REFRESH_PAUSE_SECONDS: Final = 0.25
REFRESH_TIMEOUT_SECONDS: Final = 3.0


class KnownType(NamedTuple):
    """A task type: its defaults, and the validator of its payloads if it has a usable schema. `timeout` is in seconds."""

    name: str
    queue: str
    max_retries: int
    timeout: float
    validator: jsonschema_rs.Validator | None
    schema: str = ""
    secrets: dict[str, Any] | None = None  # the schema, if it has fields whose values are hidden

    def fits(self, payload: dict[str, Any]) -> bool:
        return self.validator is None or self.validator.is_valid(payload)

    def add_errors(self, payload: dict[str, Any], field: str, errors: FieldErrors, *, all_errors: bool) -> None:
        """Add what is wrong with a payload that does not fit: every error, or the first one."""
        assert self.validator is not None
        for error in itertools.islice(self.validator.iter_errors(payload), ERROR_LIMIT) if all_errors else _first(self.validator, payload):
            _add_error(error, field + _path(error.instance_path), errors)


def _first(validator: jsonschema_rs.Validator, payload: dict[str, Any]) -> list[jsonschema_rs.ValidationError]:
    try:
        validator.validate(payload)
    except jsonschema_rs.ValidationError as error:
        return [error]
    return []


def _path(places: list[str | int]) -> str:
    return "".join([f"[{place}]" if isinstance(place, int) else f".{place}" for place in places])


def _add_error(error: jsonschema_rs.ValidationError, field: str, errors: FieldErrors) -> None:
    kind: Any = error.kind
    match kind.name:
        case "required":
            errors.add(f"{field}.{kind.property}", "is required")
        case "additionalProperties":
            for name in kind.unexpected:
                errors.add(f"{field}.{name}", "is not a field of this payload")
        case _:
            errors.add(field, error.message)


class Catalogue:
    """The copy; while Postgres answers it is at most 2 s old."""

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self.types: Mapping[str, KnownType] = {}
        self.queues: Mapping[str, bool] = {}
        self._pool = pool
        self._lock = asyncio.Lock()
        self._began = 0.0  # when the last successful refresh began; 0: never
        self._clock: tuple[datetime, float] | None = None

    def now(self) -> datetime:
        """The database's clock, as of the last refresh."""
        assert self._clock is not None
        read, at = self._clock
        return read + timedelta(seconds=time.monotonic() - at)

    async def refresh(self) -> None:
        """Return once a refresh that began after this call is done. Raises one of POSTGRES_OUTAGE."""
        asked = time.monotonic()
        async with self._lock:
            if self._began <= asked:
                await asyncio.sleep(self._began + REFRESH_PAUSE_SECONDS - time.monotonic())
                await self._read()

    async def keep(self, stopping: asyncio.Event) -> None:
        """The loop that refreshes the copy."""

        async def step() -> bool:
            async with self._lock:
                await self._read()
            return False

        await periodic(REFRESH_SECONDS, step, POSTGRES_OUTAGE, stopping)

    async def _read(self) -> None:
        began = time.monotonic()
        async with borrowed(self._pool, REFRESH_TIMEOUT_SECONDS) as connection:
            asked = time.monotonic()
            now = await waiting.now(connection)
            self._clock = (now, (asked + time.monotonic()) / 2)
            rows = await catalogue.types(connection)
            self.queues = await catalogue.queues(connection)
        self.types = {row.name: self._known(row) for row in rows}
        self._began = began

    def _known(self, row: catalogue.TaskType) -> KnownType:
        before = self.types.get(row.name)
        if before is not None and before.schema == row.schema:
            return before._replace(queue=row.queue, max_retries=row.max_retries, timeout=row.timeout)
        secrets = msgspec.json.decode(row.schema, type=dict[str, Any]) if secret_fields.has_any(row.schema) else None
        return KnownType(row.name, row.queue, row.max_retries, row.timeout, _compile(row), row.schema, secrets)


def _compile(row: catalogue.TaskType) -> jsonschema_rs.Validator | None:
    """The validator of a type's payloads. Its messages contain no values, and it fetches nothing from the network."""
    try:
        schema = msgspec.json.decode(row.schema)
        return jsonschema_rs.validator_for(schema, mask="the value", offline=True)
    except ValueError as error:
        log.warning("unusable schema of a task type; only its workers check payloads", task_type=row.name, error=str(error)[:200])
        return None
