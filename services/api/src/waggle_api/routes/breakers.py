"""`/api/breakers`: the circuit breakers of all workers, as the bucket holds them, and their reset. Times are those of the bucket's server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

import msgspec
import structlog
from litestar.types import ASGIApp

from waggle.bus import breakers as bucket
from waggle.bus.breakers import Entry, State
from waggle.bus.connection import NATS_OUTAGE, Bus
from waggle.field_errors import did_you_mean
from waggle.scopes import Scope
from waggle_api.http import answers
from waggle_api.http.answers import Page
from waggle_api.http.routing import Group
from waggle_api.refusals import NotFound, Unavailable
from waggle_api.resources import Call
from waggle_api.routes import acts, parameters

log = structlog.get_logger()

SNAPSHOT_TIMEOUT_SECONDS: Final = 5.0

ROUTES: Final = Group("Circuit breakers", {"name": parameters.BREAKER})


class SharedBreaker(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A circuit breaker. `failures` in a row and `error` opened it at `opened_at`; at `retry_at` one call may probe. `trips`: how often it opened."""

    name: str
    state: State
    failures: int
    trips: int
    opened_at: datetime | None = None
    retry_at: datetime | None = None
    error: str | None = None
    updated: datetime


@ROUTES.route("GET", "/breakers", name="breakers_listing", scope=Scope.TASKS_READ, answers={200: Page[SharedBreaker]})
async def list_breakers(call: Call) -> ASGIApp:
    """Every circuit breaker that was used or opened in the last seven days, by name."""
    async with _bucket_answers():
        found = await _all(call.resources.bus)
    return answers.page([_as_json(found[name]) for name in sorted(found)])


@ROUTES.route("GET", "/breakers/{name}", name="breakers_show", scope=Scope.TASKS_READ, answers={200: SharedBreaker})
async def get_breaker(call: Call, name: str) -> ASGIApp:
    """One circuit breaker."""
    async with _bucket_answers():
        found = await _all(call.resources.bus)
    if name not in found:
        raise _not_found(name, found)
    return answers.ok(_as_json(found[name]))


@ROUTES.route("POST", "/breakers/{name}/reset", name="breakers_reset", scope=Scope.QUEUES_WRITE, answers={200: SharedBreaker})
async def reset_breaker(call: Call, name: str) -> ASGIApp:
    """Close a circuit breaker for all workers, at once. Tasks that wait for it return at the times already set. Repeating it is harmless."""
    async with _bucket_answers():
        found = await _all(call.resources.bus)
        entry = await bucket.reset(call.resources.bus, name) if name in found else None
    if entry is None:
        raise _not_found(name, found)
    await acts.record_alone(call, "breaker.reset", name, after={"was": found[name].record.state})
    log.warning("circuit breaker reset", breaker=name, was=found[name].record.state, by=call.caller.name)
    return answers.ok(_as_json(entry))


async def _all(bus: Bus) -> dict[str, Entry]:
    return {entry.record.name: entry async for entry in bucket.entries(bus)}


@asynccontextmanager
async def _bucket_answers() -> AsyncIterator[None]:
    """Raises Unavailable if the bucket does not answer in time."""
    try:
        async with asyncio.timeout(SNAPSHOT_TIMEOUT_SECONDS):
            yield
    except NATS_OUTAGE as error:
        raise Unavailable("NATS, which holds the circuit breakers, does not answer") from error


def _not_found(name: str, found: dict[str, Entry]) -> NotFound:
    return NotFound(f"there is no circuit breaker with this name{did_you_mean(name, found)}")


def _as_json(entry: Entry) -> SharedBreaker:
    record = entry.record
    return SharedBreaker(
        name=record.name,
        state=record.state,
        failures=record.failures,
        trips=record.trips,
        opened_at=record.opened_at,
        retry_at=record.retry_at,
        error=record.error,
        updated=entry.updated,
    )
