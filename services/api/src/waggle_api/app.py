"""The Litestar application and the OpenAPI document, both derived from the routes."""

from collections.abc import Sequence
from functools import cache
from itertools import chain
from typing import Any, Final

from litestar import Litestar, Request, Router
from litestar.types import ASGIApp

from waggle_api.edge.pages import PageGate, Pages
from waggle_api.http import problems, routing
from waggle_api.http.compression import Compressing
from waggle_api.http.envelope import Envelope
from waggle_api.http.heads import HeadGate
from waggle_api.http.routing import Group, Identify
from waggle_api.openapi.document import encoded
from waggle_api.refusals import Unavailable
from waggle_api.resources import Resources
from waggle_api.routes import (
    access,
    alerts,
    breakers,
    dlq,
    events,
    explain,
    health,
    keys,
    oidc,
    overview,
    publishers,
    queues,
    rejected,
    schema,
    tasks,
    trail,
    users,
)

PREFIXES: Final = ("/api", "/api/v1")  # the same tree


@cache
def document() -> bytes:
    """The OpenAPI document as JSON."""
    return encoded(PREFIXES[0], GROUPS)


PROBES: Final = health.ROUTES
ACCESS: Final = (access.ROUTES, oidc.ROUTES, keys.ROUTES, users.ROUTES, trail.ROUTES, access.KEY_SET)
GROUPS: Final[tuple[Group, ...]] = (
    tasks.ROUTES,
    explain.ROUTES,
    events.ROUTES,
    alerts.ROUTES,
    breakers.ROUTES,
    dlq.ROUTES,
    queues.ROUTES,
    publishers.ROUTES,
    rejected.ROUTES,
    overview.ROUTES,
    *ACCESS,
    PROBES,
    schema.routes(document),
)


def create_app(resources: Resources, identify: Identify, pages: Pages, groups: Sequence[Group] = GROUPS) -> ASGIApp:
    """The API on these resources; whatever opened them closes them. `pages`: which web pages may use it."""
    return Envelope(PageGate(HeadGate(Compressing(routed(resources, identify, groups))), pages))


def routed(resources: Resources, identify: Identify, groups: Sequence[Group] = GROUPS) -> Litestar:
    """Every route of these groups at its addresses."""

    async def refuse_until_open(_: Request[Any, Any, Any]) -> None:
        if not resources.health.is_open:
            raise Unavailable("the API is starting")

    api = list(chain.from_iterable(group for group in groups if not group.is_probe))
    probes = list(chain.from_iterable(group for group in groups if group.is_probe))
    handlers = [*routing.options(api), *(route.bound(resources, identify) for route in api)]
    return Litestar(
        [
            *(Router(prefix, route_handlers=handlers, before_request=refuse_until_open) for prefix in PREFIXES),
            *routing.options(probes),
            *(route.bound(resources, identify) for route in probes),
        ],
        exception_handlers={Exception: problems.answer},
        openapi_config=None,
        logging_config=None,
    )
