"""The Litestar application: its routes, what surrounds them, and how errors are answered."""

from typing import Any, Final

from litestar import Litestar, Request, Router
from litestar.di import Provide
from litestar.types import ASGIApp

from waggle_api import problems, routes_health, routes_overview, routes_tasks
from waggle_api.door import Door
from waggle_api.envelope import Envelope
from waggle_api.refusals import Unavailable

PREFIXES: Final = ("/api", "/api/v1")  # the same tree
API: Final = (
    routes_tasks.create,
    routes_tasks.create_batch,
    routes_tasks.listing,
    routes_tasks.show,
    routes_tasks.timeline,
    routes_tasks.cancel,
    routes_overview.queues,
    routes_overview.workers,
    routes_overview.types,
)
PROBES: Final = (
    routes_health.health,
    routes_health.health_db,
    routes_health.health_nats,
    routes_health.livez,
    routes_health.readyz,
    routes_health.metrics,
)


def create_app(door: Door) -> ASGIApp:
    """The API on these resources; whoever opened them closes them."""

    async def refuse_until_open(_: Request[Any, Any, Any]) -> None:
        if not door.health.is_open:
            raise Unavailable("the API is starting")

    api = [Router(prefix, route_handlers=list(API), before_request=refuse_until_open) for prefix in PREFIXES]
    litestar = Litestar(
        [*api, *PROBES],
        dependencies={"door": Provide(lambda: door, use_cache=True, sync_to_thread=False)},
        exception_handlers={Exception: problems.answer},
        openapi_config=None,
        logging_config=None,
    )
    return Envelope(litestar)
