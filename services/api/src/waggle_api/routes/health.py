"""Health and probes, outside of `/api`: they answer at any time, and their 503 is a report and not an error."""

import prometheus_client
from litestar import get
from litestar.types import ASGIApp

from waggle.telemetry.endpoint import metrics_page
from waggle_api.health import check, report
from waggle_api.http.answers import TEXT, Answer, encode
from waggle_api.resources import Door


@get("/health")
async def health(door: Door) -> ASGIApp:
    """How the API is: ok, degraded (NATS is away: work is accepted and delayed) or unavailable (503)."""
    found = await report(door.health)
    return Answer(503 if found.status == "unavailable" else 200, encode(found))


@get("/health/db")
async def health_db(door: Door) -> ASGIApp:
    """Whether Postgres answers."""
    return _one(await door.health.db())


@get(["/health/nats", "/health/redis"])
async def health_nats(door: Door) -> ASGIApp:
    """Whether NATS is connected.

    `redis` is the seed's name for the part that NATS plays here.
    """
    return _one(door.health.nats())


def _one(is_well: bool) -> Answer:
    return Answer(200 if is_well else 503, encode(check(is_well)))


@get("/livez")
async def livez() -> ASGIApp:
    """Whether the process lives."""
    return Answer(200, b"alive\n", content_type=TEXT)


@get("/readyz")
async def readyz(door: Door) -> ASGIApp:
    """Whether it can take requests: Postgres answers."""
    return Answer(200, b"ready\n", content_type=TEXT) if await door.health.ready() else Answer(503, b"not ready\n", content_type=TEXT)


@get("/metrics")
async def metrics() -> ASGIApp:
    """The metrics of this process, for Prometheus."""
    return Answer(200, metrics_page(), content_type=prometheus_client.CONTENT_TYPE_LATEST.encode())
