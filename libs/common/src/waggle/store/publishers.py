"""Publishers as the services look them up; `waggle.admin.publishers` manages them."""

from typing import NamedTuple

from waggle.store.client import Connection
from waggle.store.sql import statement


class StoredPublisher(NamedTuple):
    """Somebody who hands over tasks by NATS: a bcrypt hash, and the queues and types that they may use (None: all)."""

    name: str
    password: str
    queues: list[str] | None
    types: list[str] | None
    events: bool


async def everybody(connection: Connection) -> list[StoredPublisher]:
    """All of them, by their names."""
    return [StoredPublisher(*row) for row in await statement("publishers/list").fetch(connection)]
