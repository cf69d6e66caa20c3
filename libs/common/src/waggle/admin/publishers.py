"""Publishers as admins manage them: who may hand over tasks by NATS. Their passwords are made here and shown once; NATS checks them by the hash."""

import re
import secrets
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
import bcrypt
import msgspec
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from waggle.admin.statements import fetch, fetchrow
from waggle.admin.tables import PUBLISHERS
from waggle.field_errors import FieldErrors
from waggle.store.client import Connection
from waggle.task import QUEUE_LENGTH, QUEUE_PATTERN, TYPE_LENGTH, TYPE_PATTERN

SHOWN: Final = ("name", "queues", "types", "events", "created", "created_by", "rotated")
ROUNDS: Final = 6  # of bcrypt: the passwords are random, and NATS hashes at each connection


class Publisher(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A publisher, without the password. Without `queues` or `types` it may use all. `events`: it may hear the events of all tasks."""

    name: str
    queues: list[str] | None = None
    types: list[str] | None = None
    events: bool = False
    created: datetime
    created_by: str
    rotated: datetime | None = None


class NewPublisher(msgspec.Struct, frozen=True, kw_only=True):
    """What a new publisher may use, and hear."""

    name: str
    queues: Sequence[str] | None = None
    types: Sequence[str] | None = None
    events: bool = False


def new_password() -> str:
    return secrets.token_urlsafe(24)


def hashed(password: str) -> str:
    """As nats-server takes it."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(ROUNDS, prefix=b"2a")).decode()


def fits(password: str, hash_of_one: str) -> bool:
    """Whether a hash is that of this password."""
    return bcrypt.checkpw(password.encode(), hash_of_one.encode())


def check(wanted: NewPublisher) -> None:
    """Raises Invalid with every error; its fields are named as in the REST API."""
    errors = FieldErrors()
    names = [("name", wanted.name, QUEUE_PATTERN, QUEUE_LENGTH)]
    names += [(f"queues[{number}]", name, QUEUE_PATTERN, QUEUE_LENGTH) for number, name in enumerate(wanted.queues or ())]
    names += [(f"types[{number}]", name, TYPE_PATTERN, TYPE_LENGTH) for number, name in enumerate(wanted.types or ())]
    for field, name, pattern, longest in names:
        if len(name) > longest or not re.fullmatch(pattern, name):
            errors.add(field, f"must have at most {longest} characters and match {pattern}")
    errors.check()


async def create(connection: Connection, wanted: NewPublisher, by: str, password: str) -> Publisher | None:
    """A new publisher; None if there is one of this name. Raises Invalid."""
    check(wanted)
    values = {
        "name": wanted.name,
        "password": hashed(password),
        "queues": None if wanted.queues is None else sorted(set(wanted.queues)),
        "types": None if wanted.types is None else sorted(set(wanted.types)),
        "events": wanted.events,
        "created_by": by,
    }
    row = await fetchrow(connection, insert(PUBLISHERS).values(**values).on_conflict_do_nothing().returning(*_shown()))
    return None if row is None else _as_publisher(row)


async def page(connection: Connection, after: str | None, most: int) -> list[Publisher]:
    """Up to `most` by their names, those after `after`."""
    wanted = select(*_shown()).order_by(PUBLISHERS.c.name).limit(most)
    return [_as_publisher(row) for row in await fetch(connection, wanted if after is None else wanted.where(PUBLISHERS.c.name > after))]


async def rotate(connection: Connection, name: str, password: str) -> Publisher | None:
    """Another password; NATS takes the one before until it reads its configuration again. None for one that is not there."""
    row = await fetchrow(
        connection, update(PUBLISHERS).where(PUBLISHERS.c.name == name).values(password=hashed(password), rotated=func.now()).returning(*_shown())
    )
    return None if row is None else _as_publisher(row)


async def remove(connection: Connection, name: str) -> Publisher | None:
    """The publisher that there was: from now on what it publishes is rejected."""
    row = await fetchrow(connection, delete(PUBLISHERS).where(PUBLISHERS.c.name == name).returning(*_shown()))
    return None if row is None else _as_publisher(row)


def _shown() -> list[Any]:
    return [PUBLISHERS.c[name] for name in SHOWN]


def _as_publisher(row: asyncpg.Record) -> Publisher:
    return Publisher(**row)
