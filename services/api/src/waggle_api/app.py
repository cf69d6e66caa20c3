"""The Litestar application: its routes, what surrounds them, and how errors are answered."""

from collections.abc import Sequence
from typing import Any, Final

from litestar import Litestar, Request, Router, route
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp

from waggle_api.http import problems
from waggle_api.http.answers import TEXT, Answer
from waggle_api.http.envelope import Envelope
from waggle_api.openapi import document as openapi
from waggle_api.refusals import Unavailable
from waggle_api.resources import Door
from waggle_api.routes import breakers as routes_breakers
from waggle_api.routes import dlq as routes_dlq
from waggle_api.routes import health as routes_health
from waggle_api.routes import overview as routes_overview
from waggle_api.routes import queues as routes_queues
from waggle_api.routes import schema as routes_schema
from waggle_api.routes import tasks as routes_tasks

PREFIXES: Final = ("/api", "/api/v1")  # the same tree
API: Final = (
    routes_tasks.create,
    routes_tasks.create_batch,
    routes_tasks.listing,
    routes_tasks.show,
    routes_tasks.timeline,
    routes_tasks.cancel,
    routes_queues.listing,
    routes_queues.show,
    routes_queues.pause,
    routes_queues.resume,
    routes_queues.stats,
    routes_queues.purge,
    routes_breakers.listing,
    routes_breakers.show,
    routes_breakers.reset,
    routes_overview.workers,
    routes_overview.types,
    routes_dlq.listing,
    routes_dlq.groups,
    routes_dlq.show,
    routes_dlq.retry,
    routes_dlq.remove,
    routes_dlq.clean_up,
    routes_dlq.retry_many,
    routes_dlq.redrive_listing,
    routes_dlq.show_redrive,
    routes_dlq.cancel_redrive,
)
PROBES: Final = (
    routes_health.health,
    routes_health.health_db,
    routes_health.health_nats,
    routes_health.livez,
    routes_health.readyz,
    routes_health.metrics,
    routes_schema.page,
    routes_schema.openapi_json,
    routes_schema.script,
)


def _options(routes: Sequence[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    """The answers to OPTIONS. Litestar's own names only the methods of the route that was registered first at an address."""
    methods: dict[str, set[str]] = {}
    for one in routes:
        for path in one.paths:
            methods.setdefault(path, {"OPTIONS"}).update(one.http_methods)
    return [_option(path, ", ".join(sorted(allowed)).encode()) for path, allowed in methods.items()]


def _option(path: str, allowed: bytes) -> HTTPRouteHandler:
    @route(path, http_method=["OPTIONS"], status_code=200)
    async def options() -> ASGIApp:
        return Answer(200, b"", (b"allow", allowed), content_type=TEXT)

    return options


def create_app(door: Door) -> ASGIApp:
    """The API on these resources; whoever opened them closes them."""

    async def refuse_until_open(_: Request[Any, Any, Any]) -> None:
        if not door.health.is_open:
            raise Unavailable("the API is starting")

    api = [Router(prefix, route_handlers=[*_options(API), *API], before_request=refuse_until_open) for prefix in PREFIXES]
    litestar = Litestar(
        [*api, *_options(PROBES), *PROBES],
        dependencies={
            "door": Provide(lambda: door, use_cache=True, sync_to_thread=False),
            "document": Provide(openapi.document, use_cache=True, sync_to_thread=False),
        },
        exception_handlers={Exception: problems.answer},
        openapi_config=None,
        logging_config=None,
    )
    return Envelope(litestar)
