"""Tells what happened to tasks, on `waggle.event.<status>.<id>.<type>`: after the commit, by whoever committed.

An event is a hint: one that is published while NATS is away, or whose process dies before it, is lost. Postgres is the truth, and
`GET /api/tasks?updated_after=` the way to catch up.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import msgspec

from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.task import AT_REST, Status
from waggle.telemetry import catalogue

SOURCE: Final = "/waggle"
TOLD: Final = catalogue.EVENTS.create()

encode: Final = msgspec.json.Encoder().encode


class TaskEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """A task has this status since `time`, by the clock of whoever tells. `error_code` is that of the try that ended."""

    id: UUID
    type: str
    queue: str
    status: Status
    attempt: int
    time: datetime
    error_code: str | None = None


class CloudEvent(msgspec.Struct, frozen=True):
    """The same as a CloudEvent 1.0 in structured mode; `source` and `id` name it."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    datacontenttype: str
    data: TaskEvent


def now() -> datetime:
    """The time for events of one commit."""
    return datetime.now(UTC)


def wants(bus: Bus, status: Status) -> bool:
    """Whether it is published that a task got this status."""
    return bus.events == "all" or (bus.events == "final" and status in AT_REST)


async def tell(bus: Bus, events: Iterable[TaskEvent]) -> None:
    """Publish those that are asked for. Names that SQL made up and that no subject can hold are left out."""
    encoded = _cloud if bus.cloud_events else encode
    messages = [
        (subjects.event(event.status, event.id, event.type), encoded(event)) for event in events if wants(bus, event.status) and subjects.names(event.type)
    ]
    if messages and await bus.publish_all(messages):
        TOLD.inc(len(messages))


def _cloud(event: TaskEvent) -> bytes:
    name = f"{event.id}/{event.attempt}/{event.status}"
    return encode(CloudEvent("1.0", name, SOURCE, f"waggle.task.{event.status}", str(event.id), event.time, "application/json", event))
