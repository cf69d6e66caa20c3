"""Users: people who sign in with a name and a password. Their role says what they may do. A deleted user's sessions end with them."""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
import msgspec
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from waggle.admin.passwords import LONGEST, SHORTEST
from waggle.admin.statements import fetch, fetchrow
from waggle.admin.tables import SESSIONS, USERS
from waggle.field_errors import FieldErrors
from waggle.scopes import Role
from waggle.store.client import Connection, PooledConnection

NAME_PATTERN: Final = r"^[a-z0-9][a-z0-9._@+-]*$"
NAME_LENGTH: Final = 64
SHOWN: Final = ("name", "role", "disabled", "created", "last_login")


class User(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A user. One that is `disabled` cannot sign in, and their sessions have ended."""

    name: str
    role: Role
    disabled: bool = False
    created: datetime
    last_login: datetime | None = None


class Credentials(NamedTuple):
    """What signing in needs to know of a user."""

    id: UUID
    name: str
    role: str
    password: str | None
    disabled: bool


class NameTaken(Exception):
    """Another user has this name."""


class WithoutPassword(Exception):
    """This user signs in at an identity provider."""


class Disabled(Exception):
    """An admin does not let this user in."""


class LastAdmin(Exception):
    """Nobody could manage users any more."""


def check(name: str | None, role: str | None, password: str | None) -> None:
    """Raises Invalid with every error; what is None is not checked."""
    errors = FieldErrors()
    if name is not None and (len(name) > NAME_LENGTH or not re.fullmatch(NAME_PATTERN, name)):
        errors.add("name", f"must have at most {NAME_LENGTH} characters and match {NAME_PATTERN}")
    if role is not None and role not in list(Role):
        errors.add("role", f"must be one of {', '.join(Role)}{errors.propose(role, list(Role))}")
    if password is not None and not SHORTEST <= len(password) <= LONGEST:
        errors.add("password", f"must have {SHORTEST} to {LONGEST} characters")
    errors.check()


async def create(connection: Connection, name: str, role: str, password_hash: str) -> User:
    """A new user. Raises NameTaken."""
    new = insert(USERS).values(name=name, role=role, password=password_hash).on_conflict_do_nothing(index_elements=["name"])
    row = await fetchrow(connection, new.returning(*_shown()))
    if row is None:
        raise NameTaken
    return _as_user(row)


async def page(connection: Connection, after: str | None, most: int) -> list[User]:
    """Up to `most` users by their names, those after `after`."""
    wanted = select(*_shown()).order_by(USERS.c.name).limit(most)
    return [_as_user(row) for row in await fetch(connection, wanted if after is None else wanted.where(USERS.c.name > after))]


async def get(connection: Connection, name: str) -> User | None:
    row = await fetchrow(connection, select(*_shown()).where(USERS.c.name == name))
    return None if row is None else _as_user(row)


async def credentials(connection: Connection, name: str) -> Credentials | None:
    columns = (USERS.c.id, USERS.c.name, USERS.c.role, USERS.c.password, USERS.c.disabled)
    row = await fetchrow(connection, select(*columns).where(USERS.c.name == name))
    return None if row is None else Credentials(*row)


async def of_subject(connection: PooledConnection, subject: str, name: str, role: str) -> Credentials:
    """The user of an identity provider, with the role that they have there now; made at their first login. Raises NameTaken or Disabled."""
    if len(name) > NAME_LENGTH or not re.fullmatch(NAME_PATTERN, name):
        name = f"subject-{hashlib.sha256(subject.encode()).hexdigest()[:16]}"
    new = insert(USERS).values(name=name, role=role, subject=subject).on_conflict_do_nothing()
    await fetch(connection, new)
    columns = (USERS.c.id, USERS.c.name, USERS.c.role, USERS.c.password, USERS.c.disabled)
    row = await fetchrow(connection, update(USERS).where(USERS.c.subject == subject).values(role=role).returning(*columns))
    if row is None:
        raise NameTaken
    found = Credentials(*row)
    if found.disabled:
        raise Disabled
    return found


async def change(connection: PooledConnection, name: str, changes: Mapping[str, Any]) -> User | None:
    """The user with these columns changed. Who is disabled, or gets another password, is signed out everywhere. None for one that is not there.

    Raises LastAdmin or WithoutPassword.
    """
    async with connection.transaction():
        before = await fetchrow(connection, select(USERS.c.role, USERS.c.disabled, USERS.c.subject).where(USERS.c.name == name).with_for_update())
        if before is not None and before["subject"] is not None and "password" in changes:
            raise WithoutPassword
        row = await fetchrow(connection, update(USERS).where(USERS.c.name == name).values(**changes).returning(USERS.c.id, *_shown()))
        if row is None or before is None:
            return None
        if _is_admin(before) and not _is_admin(row):
            await _require_admin(connection)
        if changes.get("disabled") or "password" in changes:
            await fetch(connection, update(SESSIONS).where(SESSIONS.c.user_id == row["id"], SESSIONS.c.ended.is_(None)).values(ended=func.now()))
    return _as_user(row)


async def remove(connection: PooledConnection, name: str) -> User | None:
    """The user who was there; None if there was none. Raises LastAdmin."""
    async with connection.transaction():
        row = await fetchrow(connection, delete(USERS).where(USERS.c.name == name).returning(*_shown()))
        if row is not None and _is_admin(row):
            await _require_admin(connection)
    return None if row is None else _as_user(row)


async def _require_admin(connection: Connection) -> None:
    """Raises LastAdmin. The lock makes two admins who remove each other at the same moment wait for each other."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtext('waggle last admin'))")
    left = await fetchrow(connection, select(func.count()).select_from(USERS).where(USERS.c.role == Role.ADMIN, USERS.c.disabled.is_(False)))
    assert left is not None
    if not left[0]:
        raise LastAdmin


def _is_admin(row: asyncpg.Record) -> bool:
    """Whether this user can manage users."""
    return bool(row["role"] == Role.ADMIN and not row["disabled"])


def _shown() -> list[Any]:
    return [USERS.c[name] for name in SHOWN]


def _as_user(row: asyncpg.Record) -> User:
    return User(**{name: row[name] for name in SHOWN} | {"role": Role(row["role"])})
