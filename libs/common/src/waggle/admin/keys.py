"""API keys as admins manage them: create, list, replace the secret, revoke. A revoked key stays in the table, so that old log lines can be understood."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec
from sqlalchemy import case, func, select, update
from sqlalchemy.dialects.postgresql import insert

from waggle import api_keys
from waggle.admin.statements import SECOND, fetch, fetchrow
from waggle.admin.tables import API_KEYS
from waggle.api_keys import ApiKey, Fingerprints
from waggle.field_errors import FieldErrors
from waggle.scopes import GRANTED, Scope
from waggle.store.client import Connection
from waggle.task import QUEUE_LENGTH, QUEUE_PATTERN, TYPE_LENGTH, TYPE_PATTERN

SHOWN: Final = ("id", "comment", "scopes", "queues", "types", "created", "created_by", "expires", "revoked", "last_used")
COMMENT_LENGTH: Final = 200


class ManagedKey(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An API key, without its secret. Without `queues` or `types` it is for all. While its secret is replaced, the one before works until `previous_until`."""

    id: str
    comment: str
    scopes: list[Scope]
    queues: list[str] | None = None
    types: list[str] | None = None
    created: datetime
    created_by: str
    expires: datetime | None = None
    revoked: datetime | None = None
    last_used: datetime | None = None
    previous_until: datetime | None = None


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """What a new key may do, and for how many seconds it works; None: until it is revoked."""

    comment: str
    scopes: Sequence[str]
    queues: Sequence[str] | None = None
    types: Sequence[str] | None = None
    seconds: float | None = None


def check(wanted: NewKey) -> None:
    """Raises Invalid with every error; its fields are named as in the REST API."""
    errors = FieldErrors()
    if not wanted.comment.strip():
        errors.add("comment", "is missing: say what the key is for")
    elif len(wanted.comment) > COMMENT_LENGTH or "\x00" in wanted.comment:
        errors.add("comment", f"must have at most {COMMENT_LENGTH} characters, without U+0000")
    if not wanted.scopes:
        errors.add("scopes", f"is missing: name some of {', '.join(sorted(GRANTED))}")
    for number, name in enumerate(wanted.scopes):
        if name not in GRANTED:
            errors.add(f"scopes[{number}]", f"is no scope{errors.propose(name, sorted(GRANTED))}")
    limits = (("queues", wanted.queues, QUEUE_PATTERN, QUEUE_LENGTH), ("types", wanted.types, TYPE_PATTERN, TYPE_LENGTH))
    for field, names, pattern, longest in limits:
        for number, name in enumerate(names or ()):
            if len(name) > longest or not re.fullmatch(pattern, name):
                errors.add(f"{field}[{number}]", f"must have at most {longest} characters and match {pattern}")
        if names is not None and Scope.ADMIN in wanted.scopes:
            errors.add(field, "cannot limit a key with the scope admin, who may give themselves another key")
    errors.check()


async def create(connection: Connection, wanted: NewKey, by: str, fingerprints: Fingerprints) -> tuple[ManagedKey, ApiKey]:
    """A new key: what is stored of it, and its text, which nobody can find out later. Raises Invalid."""
    check(wanted)
    key = api_keys.new()
    row = await fetchrow(
        connection,
        insert(API_KEYS)
        .values(
            id=key.id,
            comment=wanted.comment.strip(),
            scopes=sorted(set(wanted.scopes)),
            queues=_sorted(wanted.queues),
            types=_sorted(wanted.types),
            secret=fingerprints.of(key.text.encode()),
            created_by=by,
            expires=_in(wanted.seconds),
        )
        .returning(*_shown()),
    )
    assert row is not None
    return _as_key(row), key


async def page(connection: Connection, after: str | None, most: int) -> list[ManagedKey]:
    """Up to `most` keys by their ids, those after `after`."""
    wanted = select(*_shown()).order_by(API_KEYS.c.id).limit(most)
    return [_as_key(row) for row in await fetch(connection, wanted if after is None else wanted.where(API_KEYS.c.id > after))]


async def get(connection: Connection, key_id: str) -> ManagedKey | None:
    row = await fetchrow(connection, select(*_shown()).where(API_KEYS.c.id == key_id))
    return None if row is None else _as_key(row)


async def replace_secret(connection: Connection, key_id: str, overlap: float, fingerprints: Fingerprints) -> tuple[ManagedKey, ApiKey] | None:
    """A new secret; the one before works for `overlap` more seconds, one before that no longer. None for a key that is revoked, expired or not there."""
    key = api_keys.new(key_id)
    row = await fetchrow(
        connection,
        update(API_KEYS)
        .where(API_KEYS.c.id == key_id, API_KEYS.c.revoked.is_(None), func.coalesce(API_KEYS.c.expires > func.now(), True))
        .values(secret=fingerprints.of(key.text.encode()), previous_secret=API_KEYS.c.secret, previous_until=_in(overlap))
        .returning(*_shown()),
    )
    return None if row is None else (_as_key(row), key)


async def revoke(connection: Connection, key_id: str) -> ManagedKey | None:
    """The key, which works no longer; revoking it again changes nothing. None for one that is not there."""
    row = await fetchrow(
        connection,
        update(API_KEYS).where(API_KEYS.c.id == key_id).values(revoked=func.coalesce(API_KEYS.c.revoked, func.now())).returning(*_shown()),
    )
    return None if row is None else _as_key(row)


def _shown() -> list[Any]:
    until = case((API_KEYS.c.previous_until > func.now(), API_KEYS.c.previous_until)).label("previous_until")
    return [*(API_KEYS.c[name] for name in SHOWN), until]


def _in(seconds: float | None) -> Any:
    """That many seconds from now, by the database's clock."""
    return None if seconds is None else func.now() + seconds * SECOND


def _sorted(names: Sequence[str] | None) -> list[str] | None:
    return None if names is None else sorted(set(names))


def _as_key(row: asyncpg.Record) -> ManagedKey:
    known = [Scope(name) for name in row["scopes"] if name in list(Scope)]
    return ManagedKey(**{**row, "scopes": known})
