"""Who calls the API, as each request asks: API keys and sessions by their ids, and when keys were last used. Managing them is waggle.admin's."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from waggle.store.client import Connection
from waggle.store.sql import statement


class StoredKey(NamedTuple):
    """A key that may be used now. `queues` and `types`: what it is limited to. It stays as it is for `seconds`, unless an admin changes it."""

    id: str
    scopes: list[str]
    queues: list[str] | None
    types: list[str] | None
    secret: bytes
    previous_secret: bytes | None
    seconds: float | None


async def find_key(connection: Connection, key_id: str) -> StoredKey | None:
    """The key with this id, unless it is revoked or has expired."""
    row = await statement("callers/find_key").fetchrow(connection, id=key_id)
    return None if row is None else StoredKey(*row)


async def note_used(connection: Connection, ids: Sequence[str]) -> None:
    """Write that these keys were used."""
    await statement("callers/note_used").execute(connection, ids=list(ids))


class StoredSession(NamedTuple):
    """A session that lives: its user, their role, and for how many more seconds."""

    name: str
    role: str
    seconds: float


async def find_session(connection: Connection, session_id: UUID) -> StoredSession | None:
    """The session with this id, unless it has ended or its user may not sign in."""
    row = await statement("callers/find_session").fetchrow(connection, id=session_id)
    return None if row is None else StoredSession(*row)
