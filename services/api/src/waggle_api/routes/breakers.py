"""`/api/breakers`: the circuit breakers of the fleet, as the bucket has them, and their reset. Times are those of the bucket's server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, get, post
from litestar.types import ASGIApp

from waggle.bus import breakers as bucket
from waggle.bus.breakers import Entry, State
from waggle.bus.connection import OUTAGE
from waggle.field_errors import did_you_mean
from waggle_api.callers import submitter
from waggle_api.http import answers, queries
from waggle_api.http.answers import Answer, encode
from waggle_api.refusals import NotFound, Unavailable
from waggle_api.resources import Door

log = structlog.get_logger()

PATIENCE: Final = 5.0


class Breaker(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A circuit breaker. `failures` in a row and `error` opened it at `opened_at`; at `retry_at` one call may probe. `trips`: how often it opened."""

    name: str
    state: State
    failures: int
    trips: int
    opened_at: datetime | None = None
    retry_at: datetime | None = None
    error: str | None = None
    updated: datetime


@get("/breakers")
async def listing(request: Request[Any, Any, Any], door: Door) -> ASGIApp:
    """Every circuit breaker that was used or opened in the last seven days, by name."""
    queries.read(request, queries.NOTHING)
    async with _answering():
        found = await _all(door)
    return answers.items([_shown(found[name]) for name in sorted(found)])


@get("/breakers/{name:str}")
async def show(request: Request[Any, Any, Any], name: str, door: Door) -> ASGIApp:
    """One circuit breaker."""
    queries.read(request, queries.NOTHING)
    async with _answering():
        found = await _all(door)
    if name not in found:
        raise _not_there(name, found)
    return Answer(200, encode(_shown(found[name])))


@post("/breakers/{name:str}/reset", status_code=200)
async def reset(request: Request[Any, Any, Any], name: str, door: Door) -> ASGIApp:
    """Close a circuit breaker for all workers, at once; tasks that wait for it come back at the time that they were given. Repeating it is fine."""
    queries.read(request, queries.NOTHING)
    async with _answering():
        found = await _all(door)
        entry = await bucket.reset(door.bus, name) if name in found else None
    if entry is None:
        raise _not_there(name, found)
    log.warning("circuit breaker reset", breaker=name, was=found[name].record.state, by=submitter(request))
    return Answer(200, encode(_shown(entry)))


async def _all(door: Door) -> dict[str, Entry]:
    return {entry.record.name: entry async for entry in bucket.entries(door.bus)}


@asynccontextmanager
async def _answering() -> AsyncIterator[None]:
    """The bucket must answer. Raises Unavailable."""
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    except OUTAGE as error:
        raise Unavailable("NATS, which holds the circuit breakers, does not answer") from error


def _not_there(name: str, found: dict[str, Entry]) -> NotFound:
    return NotFound(f"there is no circuit breaker of this name{did_you_mean(name, found)}")


def _shown(entry: Entry) -> Breaker:
    record = entry.record
    return Breaker(
        name=record.name,
        state=record.state,
        failures=record.failures,
        trips=record.trips,
        opened_at=record.opened_at,
        retry_at=record.retry_at,
        error=record.error,
        updated=entry.updated,
    )
