"""Health and probes, outside `/api`: they answer at any time, and their 503 is a report, not an error."""

from typing import Final

from litestar.types import ASGIApp

from waggle.scopes import Scope
from waggle.telemetry.endpoint import metrics_page
from waggle_api.health import HealthCheck, HealthReport, check, report
from waggle_api.http.answers import TEXT, EncodedResponse, encode
from waggle_api.http.routing import Group
from waggle_api.resources import Call

TEXT_PLAIN: Final = ("text/plain",)

ROUTES: Final = Group("Health and metrics", is_probe=True)


@ROUTES.route("GET", "/health", name="health", scope=Scope.PUBLIC, answers={200: HealthReport, 503: HealthReport})
async def get_health(call: Call) -> ASGIApp:
    """The state of the API: ok, degraded (NATS is unavailable: work is accepted but delayed) or unavailable (503)."""
    found = await report(call.resources.health)
    return EncodedResponse(503 if found.status == "unavailable" else 200, encode(found))


@ROUTES.route("GET", "/health/db", name="health_db", scope=Scope.PUBLIC, answers={200: HealthCheck, 503: HealthCheck})
async def get_health_db(call: Call) -> ASGIApp:
    """Whether Postgres answers."""
    return _checked(await call.resources.health.db())


@ROUTES.route("GET", "/health/nats", "/health/redis", name="health_nats", scope=Scope.PUBLIC, answers={200: HealthCheck, 503: HealthCheck})
async def get_health_nats(call: Call) -> ASGIApp:
    """Whether NATS is connected.

    `/health/redis` answers the same: existing clients look for the message broker there.
    """
    return _checked(call.resources.health.nats())


def _checked(is_ok: bool) -> EncodedResponse:
    return EncodedResponse(200 if is_ok else 503, encode(check(is_ok)))


@ROUTES.route("GET", "/livez", name="health_livez", scope=Scope.PUBLIC, answers={200: TEXT_PLAIN})
async def get_livez(call: Call) -> ASGIApp:  # noqa: ARG001
    """Whether the process is alive."""
    return EncodedResponse(200, b"alive\n", content_type=TEXT)


@ROUTES.route("GET", "/readyz", name="health_readyz", scope=Scope.PUBLIC, answers={200: TEXT_PLAIN, 503: TEXT_PLAIN})
async def get_readyz(call: Call) -> ASGIApp:
    """Whether it can take requests: Postgres answers."""
    is_ready = await call.resources.health.ready()
    return EncodedResponse(200, b"ready\n", content_type=TEXT) if is_ready else EncodedResponse(503, b"not ready\n", content_type=TEXT)


@ROUTES.route("GET", "/metrics", name="health_metrics", scope=Scope.PUBLIC, answers={200: TEXT_PLAIN})
async def get_metrics(call: Call) -> ASGIApp:
    """The metrics of this process, for Prometheus; with exemplars for who accepts OpenMetrics."""
    page, content_type = metrics_page(call.request.headers.get("accept", ""))
    return EncodedResponse(200, page, content_type=content_type.encode())
