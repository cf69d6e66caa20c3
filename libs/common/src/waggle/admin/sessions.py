"""Sessions: one for each login, until it is signed out, expires, or an old refresh token of it comes back.

A refresh token is good once: refreshing moves the session to its next generation (RFC 9700, section 4.14.2). For GRACE_SECONDS the generation before
gets the same successor, so that a lost answer, or two tabs at once, sign nobody out. Any older one means that somebody copied a token: the session ends.
"""

from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import Float, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from waggle.admin.statements import SECOND, fetch, fetchrow
from waggle.admin.tables import SESSIONS, USERS
from waggle.store.client import Connection

GRACE_SECONDS: Final = 30.0
SESSION_SECONDS: Final = 30 * 86_400.0  # from the login on, however often it is refreshed


class Session(NamedTuple):
    """A session that lives: its generation, whose it is, and for how many more seconds."""

    id: UUID
    generation: int
    name: str
    role: str
    seconds: float


async def begin(connection: Connection, user_id: UUID) -> UUID:
    """A new session; the user has signed in. Those of theirs that have ended or expired are removed."""
    over = or_(SESSIONS.c.ended.is_not(None), SESSIONS.c.expires < func.now())
    await fetch(connection, delete(SESSIONS).where(SESSIONS.c.user_id == user_id, over))
    new = insert(SESSIONS).values(user_id=user_id, expires=func.now() + SESSION_SECONDS * SECOND).returning(SESSIONS.c.id)
    row = await fetchrow(connection, new)
    assert row is not None
    await fetch(connection, update(USERS).where(USERS.c.id == user_id).values(last_login=func.now()))
    session_id: UUID = row["id"]
    return session_id


async def refresh(connection: Connection, session_id: UUID, generation: int) -> tuple[Session | None, str | None]:
    """The session at the generation after this one; None if it has ended. If it ends now, because the generation is an old one, the name of its user."""
    await fetch(
        connection,
        update(SESSIONS)
        .where(SESSIONS.c.id == session_id, SESSIONS.c.generation == generation, SESSIONS.c.ended.is_(None), SESSIONS.c.expires > func.now())
        .values(generation=generation + 1, refreshed=func.now()),
    )
    row = await fetchrow(
        connection,
        select(
            SESSIONS.c.generation,
            USERS.c.name,
            USERS.c.role,
            func.extract("epoch", SESSIONS.c.expires - func.now()).cast(Float),
            (SESSIONS.c.refreshed > func.now() - GRACE_SECONDS * SECOND).label("fresh"),
        )
        .join(USERS, USERS.c.id == SESSIONS.c.user_id)
        .where(SESSIONS.c.id == session_id, SESSIONS.c.ended.is_(None), SESSIONS.c.expires > func.now(), USERS.c.disabled.is_(False)),
    )
    if row is None:
        return None, None
    now, name, role, seconds, fresh = row
    if now != generation + 1 or not fresh:
        await end(connection, session_id)
        return None, name
    return Session(session_id, now, name, role, seconds), None


async def end(connection: Connection, session_id: UUID) -> None:
    """Sign out. A session that has ended stays as it is."""
    await fetch(connection, update(SESSIONS).where(SESSIONS.c.id == session_id, SESSIONS.c.ended.is_(None)).values(ended=func.now()))


async def end_all(connection: Connection, session_id: UUID) -> None:
    """Sign the user of this session out everywhere."""
    user = select(SESSIONS.c.user_id).where(SESSIONS.c.id == session_id).scalar_subquery()
    await fetch(connection, update(SESSIONS).where(SESSIONS.c.user_id == user, SESSIONS.c.ended.is_(None)).values(ended=func.now()))
