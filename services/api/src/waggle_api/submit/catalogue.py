"""A copy of the catalogue for checking submissions: task types with their compiled schemas, queues, and the database's clock.

A payload may be that of any version that a live worker serves; while nobody lives, that of the version that was served last.

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
import structlog

from waggle import secret_fields
from waggle.field_errors import ERROR_LIMIT, FieldErrors
from waggle.loops import periodic
from waggle.store import catalogue, waiting
from waggle.store.postgres import POSTGRES_OUTAGE
from waggle.validators import compiled
from waggle_api.connections import borrowed

log = structlog.get_logger()

REFRESH_SECONDS: Final = 2.0
REFRESH_PAUSE_SECONDS: Final = 0.25
REFRESH_TIMEOUT_SECONDS: Final = 3.0


class KnownType(NamedTuple):
    """A task type: the defaults of its newest version, and the validators of its versions, the newest first. `timeout` is in seconds.

    A version without a usable schema takes any payload; there are no validators then.
    """

    name: str
    queue: str
    max_retries: int
    timeout: float
    validators: tuple[jsonschema_rs.Validator, ...] = ()
    schemas: tuple[str, ...] = ()  # of the versions that new tasks may have
    hiding: tuple[str, ...] = ()  # of all versions that hide values
    secrets: dict[str, Any] | None = None  # one schema for the hidden values of all these versions

    def fits(self, payload: dict[str, Any]) -> bool:
        """Whether any version takes it."""
        return not self.validators or any(validator.is_valid(payload) for validator in self.validators)

    def add_errors(self, payload: dict[str, Any], field: str, errors: FieldErrors, *, all_errors: bool) -> None:
        """Add what is wrong with a payload that does not fit, for the newest version: every error, or the first one."""
        newest = self.validators[0]
        for error in itertools.islice(newest.iter_errors(payload), ERROR_LIMIT) if all_errors else _first(newest, payload):
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
            versions = await catalogue.versions(connection)
            self.queues = await catalogue.queues(connection)
        self.types = {name: self._known(list(rows)) for name, rows in itertools.groupby(versions, lambda row: row.name)}
        self._began = began

    def _known(self, versions: list[catalogue.TypeVersion]) -> KnownType:
        """A type from its versions, the newest first. Compiled again only when one came or went."""
        newest = versions[0]
        schemas = tuple([row.schema for row in versions if row.accepted])
        hiding = tuple([row.schema for row in versions if secret_fields.has_any(row.schema)])
        before = self.types.get(newest.name)
        if before is None or (before.schemas, before.hiding) != (schemas, hiding):
            secrets = secret_fields.combined(hiding) if hiding else None
            before = KnownType(newest.name, "", 0, 0.0, _validators(newest.name, schemas), schemas, hiding, secrets)
        return before._replace(queue=newest.queue, max_retries=newest.max_retries, timeout=newest.timeout)


def _validators(task_type: str, schemas: tuple[str, ...]) -> tuple[jsonschema_rs.Validator, ...]:
    """Nothing if one of them cannot be used: it takes any payload."""
    found = [compiled(task_type, schema) for schema in schemas]
    return tuple([validator for validator in found if validator is not None]) if all(found) else ()
