"""`/api/alerts`: what schedulers have raised, and a test of the webhook."""

from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import asyncpg
import msgspec
from litestar.types import ASGIApp

from waggle.scopes import Scope
from waggle.store import alerts
from waggle_api.http import answers, queries
from waggle_api.http.answers import EncodedResponse, Page, encode
from waggle_api.http.queries import Parameter
from waggle_api.http.routing import Group
from waggle_api.refusals import NotFound
from waggle_api.resources import Call
from waggle_api.routes import acts

MOST: Final = 200


def _id(values: list[str]) -> UUID:
    try:
        return UUID(values[0])
    except ValueError:
        raise NotFound("there is no alert with this id: ids are UUIDs") from None


ALERTS: Final = {"firing": queries.one(queries.boolean, "true: only those that fire; false: only those that are over")}
ROUTES: Final = Group("Alerts", {"alert_id": Parameter(_id, {"type": "string", "format": "uuid"}, "the alert's id")})


class RaisedAlert(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An alert. It fires until `resolved_at`. `sent`: the last message that was sent to the webhook, at `sent_at`; `error` says why it was not taken."""

    id: UUID
    key: str
    name: str
    severity: Literal["page", "ticket"]
    summary: str
    labels: dict[str, str]
    since: datetime
    value: float | None = None
    resolved_at: datetime | None = None
    sent: Literal["firing", "resolved"] | None = None
    sent_at: datetime | None = None
    error: str | None = None


@ROUTES.route("GET", "/alerts", name="alerts_listing", scope=Scope.TASKS_READ, query=ALERTS, answers={200: Page[RaisedAlert]})
async def list_alerts(call: Call, firing: bool | None = None) -> ASGIApp:
    """The alerts of the last 30 days, those that fire first, then the newest; 200 at most. None are raised without `WAGGLE_ALERT_URL`."""
    async with call.resources.connection() as connection:
        return answers.page([_as_json(row) for row in await alerts.listing(connection, firing, MOST)])


@ROUTES.route("GET", "/alerts/{alert_id}", name="alerts_show", scope=Scope.TASKS_READ, answers={200: RaisedAlert})
async def get_alert(call: Call, alert_id: UUID) -> ASGIApp:
    """One alert."""
    async with call.resources.connection() as connection:
        return answers.ok(_existing(await alerts.get(connection, alert_id)))


@ROUTES.route("POST", "/alerts/test", name="alerts_test", scope=Scope.ADMIN, answers={201: RaisedAlert})
async def send_test(call: Call) -> ASGIApp:
    """Raise an alert that says it is a test. A scheduler sends it within seconds: `sent` says so. It is over after a minute."""
    async with call.resources.connection() as connection:
        async with connection.transaction():
            made = await alerts.test(connection, call.caller.name)
            await acts.record(call, connection, "alert.test", str(made))
        return EncodedResponse(201, encode(_existing(await alerts.get(connection, made))))


def _existing(row: asyncpg.Record | None) -> RaisedAlert:
    """Raises NotFound."""
    if row is None:
        raise NotFound("there is no alert with this id")
    return _as_json(row)


def _as_json(row: asyncpg.Record) -> RaisedAlert:
    fields: dict[str, Any] = {**row, "labels": msgspec.json.decode(row["labels"])}
    return RaisedAlert(**fields)
