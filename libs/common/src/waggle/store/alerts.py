"""Alerts in Postgres: raised by whichever scheduler sees the reason, sent once. Each function is one statement."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID, uuid4

import asyncpg
import msgspec

from waggle.store.client import Connection
from waggle.store.sql import statement

MOST: Final = 5  # messages that one scheduler sends in a turn: a webhook that hangs takes 10 s for each
CLAIM_SECONDS: Final = 60.0  # that it has for them


class Alert(NamedTuple):
    """A reason to tell somebody. `key` is what it is about: the same alert is raised once. `labels` is for machines."""

    key: str
    name: str
    severity: str
    summary: str
    labels: dict[str, str]
    value: float | None = None


class Message(NamedTuple):
    """An alert whose message is to be sent: that it fires, or that it is over."""

    id: UUID
    key: str
    name: str
    severity: str
    summary: str
    labels: str
    value: float | None
    since: datetime
    resolved_at: datetime | None


async def raise_all(connection: Connection, alerts: Sequence[Alert]) -> list[str]:
    """Raise these; returns the keys of those that are new."""
    if not alerts:
        return []
    rows = await statement("alerts/raise").fetch(
        connection,
        keys=[alert.key for alert in alerts],
        names=[alert.name for alert in alerts],
        severities=[alert.severity for alert in alerts],
        summaries=[alert.summary for alert in alerts],
        labels=[msgspec.json.encode(alert.labels).decode() for alert in alerts],
        values=[alert.value for alert in alerts],
    )
    return [row["key"] for row in rows if row["is_new"]]


async def resolve(connection: Connection, seconds: float) -> list[str]:
    """What nobody has seen for `seconds` is over; returns the keys."""
    return [row["key"] for row in await statement("alerts/resolve").fetch(connection, seconds=seconds)]


async def claim(connection: Connection) -> list[Message]:
    """Messages for this scheduler to send."""
    return [Message(*row) for row in await statement("alerts/claim").fetch(connection, most=MOST, seconds=CLAIM_SECONDS)]


async def sent(connection: Connection, message: Message, error: str | None) -> None:
    """The message was sent, or handed to a task that repeats it: then `error` says why it was not taken."""
    what = "firing" if message.resolved_at is None else "resolved"
    await statement("alerts/sent").execute(connection, id=message.id, sent=what, error=error)


async def listing(connection: Connection, firing: bool | None, most: int) -> list[asyncpg.Record]:
    """Those that fire first, then the newest: see the statement."""
    return await statement("alerts/list").fetch(connection, firing=firing, most=most)


async def get(connection: Connection, alert_id: UUID) -> asyncpg.Record | None:
    return await statement("alerts/get").fetchrow(connection, id=alert_id)


async def test(connection: Connection, by: str) -> UUID:
    """Raise an alert that says who asked for it; it is over after a while, as every one that nobody sees."""
    made: UUID = await statement("alerts/test").fetchval(connection, key=f"test:{uuid4()}", summary=f"A test, asked for by {by}")
    return made


async def delete_old(connection: Connection, seconds: float) -> int:
    return await statement("alerts/delete_old").execute(connection, seconds=seconds)


async def recent_dead(connection: Connection, seconds: float, most: int) -> int:
    """Tasks that became dead letters in the last `seconds`; `most` for that many or more."""
    return int(await statement("alerts/recent_dead").fetchval(connection, seconds=seconds, most=most))
