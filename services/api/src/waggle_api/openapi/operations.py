"""What each route takes and answers, for the OpenAPI document; a test holds the table and the routes against each other.

A route's docstring is its summary and its description. What follows from the rest is not repeated here: a body brings 400, 408, 413 and 415, an id in the
path brings 404, `keyed` (it takes an Idempotency-Key) brings 409.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from litestar.handlers import HTTPRouteHandler

from waggle.bus.dlq_commands import Cleaned
from waggle.redrive import Redrive
from waggle.store.dead_letters import DeadLetter, DeadLetterGroup
from waggle.submission import Batch, CreateTask, Tasks
from waggle.task import BREAKER_LENGTH, BREAKER_PATTERN, Task
from waggle_api.health import Check, Report
from waggle_api.http import queries
from waggle_api.http.answers import Page
from waggle_api.http.queries import Parameter
from waggle_api.routes import breakers as routes_breakers
from waggle_api.routes import dlq as routes_dlq
from waggle_api.routes import dlq_requests, parameters
from waggle_api.routes import health as routes_health
from waggle_api.routes import overview as routes_overview
from waggle_api.routes import queues as routes_queues
from waggle_api.routes import schema as routes_schema
from waggle_api.routes import tasks as routes_tasks
from waggle_api.routes.dlq_requests import Matched, RetryDeadLetters

TEXT: Final = ("text/plain",)
TASK_ID: Final = Parameter(str, {"type": "string", "format": "uuid"}, "the task's id")
PATH_PARAMETERS: Final[Mapping[str, Parameter]] = {
    "task_id": TASK_ID,
    "redrive_id": Parameter(str, {"type": "string", "format": "uuid"}, "the bulk retry's id"),
    "queue": Parameter(str, parameters.queue_name.schema, "the queue's name"),
    "name": Parameter(str, {"type": "string", "pattern": BREAKER_PATTERN, "maxLength": BREAKER_LENGTH}, "the circuit breaker's name"),
}


class Operation(NamedTuple):
    """`answers`: a struct, a list of them (one of these), media types, or None for no content, by status; `headers` of answers by status.

    `refuses`: statuses of errors.
    `leads_to`: routes that take a field of the answer as a parameter: (route, parameter, field).
    """

    route: HTTPRouteHandler
    answers: Mapping[int, Any]
    query: Mapping[str, Parameter] = queries.NOTHING
    body: Any = None
    needs_body: bool = True
    keyed: bool = False
    refuses: tuple[int, ...] = ()
    headers: Mapping[int, tuple[str, ...]] = {}
    leads_to: tuple[tuple[HTTPRouteHandler, str, str], ...] = ()


TO_ONE: Final = tuple([(route, "task_id", "id") for route in (routes_tasks.show, routes_tasks.timeline, routes_tasks.cancel)])

API: Final[Mapping[str, tuple[Operation, ...]]] = {
    "Tasks": (
        Operation(routes_tasks.create, {201: Task, 200: Task}, body=CreateTask, keyed=True, headers={201: ("Location",), 200: ("Location",)}, leads_to=TO_ONE),
        Operation(routes_tasks.create_batch, {201: Page[Task], 200: Page[Task]}, body=Batch | Tasks, keyed=True),
        Operation(routes_tasks.listing, {200: Page[Task]}, query=parameters.TASKS),
        Operation(routes_tasks.show, {200: Task}, query=parameters.ONE_TASK),
        Operation(routes_tasks.timeline, {200: Page[routes_tasks.Attempt]}),
        Operation(routes_tasks.cancel, {200: Task, 204: None}, query=parameters.CANCEL, refuses=(409,)),
    ),
    "Circuit breakers": (
        Operation(routes_breakers.listing, {200: Page[routes_breakers.Breaker]}),
        Operation(routes_breakers.show, {200: routes_breakers.Breaker}),
        Operation(routes_breakers.reset, {200: routes_breakers.Breaker}),
    ),
    "Dead letters": (
        Operation(routes_dlq.listing, {200: Page[Task]}, query=dlq_requests.DEAD_LETTERS),
        Operation(routes_dlq.groups, {200: Page[DeadLetterGroup]}, query=dlq_requests.GROUPS),
        Operation(routes_dlq.show, {200: DeadLetter}),
        Operation(routes_dlq.retry, {200: Task}, body=dlq_requests.RetryDeadLetter, needs_body=False, refuses=(409,)),
        Operation(routes_dlq.remove, {200: Task}),
        Operation(routes_dlq.clean_up, {200: Cleaned}, body=dlq_requests.CleanUpDeadLetters, needs_body=False),
        Operation(routes_dlq.retry_many, {202: Redrive, 200: [Redrive, Matched]}, body=RetryDeadLetters, headers={202: ("Location",)}),
        Operation(routes_dlq.redrive_listing, {200: Page[Redrive]}, query=dlq_requests.REDRIVES),
        Operation(routes_dlq.show_redrive, {200: Redrive}),
        Operation(routes_dlq.cancel_redrive, {200: Redrive}, refuses=(409,)),
    ),
    "Queues, workers, types": (
        Operation(routes_queues.listing, {200: Page[routes_queues.Queue]}),
        Operation(routes_queues.show, {200: routes_queues.Queue}),
        Operation(routes_queues.pause, {200: routes_queues.Queue}),
        Operation(routes_queues.resume, {200: routes_queues.Queue}),
        Operation(routes_queues.stats, {200: routes_queues.QueueStats}, query=parameters.STATS),
        Operation(routes_queues.purge, {200: routes_queues.Purged}, body=routes_queues.PurgeQueue, needs_body=False),
        Operation(routes_overview.workers, {200: Page[routes_overview.Worker]}),
        Operation(routes_overview.types, {200: Page[routes_overview.Type]}),
    ),
}
PROBES: Final[Mapping[str, tuple[Operation, ...]]] = {
    "Health and metrics": (
        Operation(routes_health.health, {200: Report, 503: Report}),
        Operation(routes_health.health_db, {200: Check, 503: Check}),
        Operation(routes_health.health_nats, {200: Check, 503: Check}),
        Operation(routes_health.livez, {200: TEXT}),
        Operation(routes_health.readyz, {200: TEXT, 503: TEXT}),
        Operation(routes_health.metrics, {200: TEXT}),
    ),
    "This document": (
        Operation(routes_schema.page, {200: ("application/json", "text/html")}),
        Operation(routes_schema.openapi_json, {200: ("application/json",)}),
        Operation(routes_schema.script, {200: ("text/javascript",)}),
    ),
}
