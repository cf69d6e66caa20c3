"""The audit trail: every administrative act and security event, in the transaction of the act where it has one.

Each row holds an HMAC over itself and the row before, so that a row that was changed or is missing shows. Its key follows from WAGGLE_API_SECRET: who can
write to the database, but has not that secret, cannot make the chain fit again. That the last rows were cut off shows only to who knows a later hash: each
one is in the log too.
"""

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import asyncpg
import msgspec
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from waggle.admin.statements import fetch, fetchrow
from waggle.admin.tables import AUDIT_TRAIL
from waggle.store.client import Connection, SingleConnection

PURPOSE: Final = b"waggle audit trail 1"
VERIFY_BATCH: Final = 1_000

_encode: Final = msgspec.json.Encoder(order="sorted").encode


class Event(NamedTuple):
    """What happened: `actor` did `action` to `target`, from `address`, in a request. `before` and `after`: what changed, without secrets."""

    actor: str
    action: str
    target: str
    address: str
    request_id: str
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None


class Added(NamedTuple):
    """The number and the hash of a row, for the log."""

    seq: int
    hash: str


class AuditEntry(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A row of the trail."""

    seq: int
    at: datetime
    actor: str
    action: str
    target: str
    address: str
    request_id: str
    before: msgspec.Raw | None = None
    after: msgspec.Raw | None = None
    hash: str


class Verified(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What a look through the whole trail found: how many rows, the hash of the last one, and the first row that does not fit."""

    entries: int
    fits: bool
    last_hash: str | None = None
    broken_at: int | None = None
    problem: str | None = None


class Trail:
    """Writes and verifies. `secret` is that of the installation."""

    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), PURPOSE, "sha256")

    async def add(self, connection: SingleConnection, event: Event) -> Added:
        """Add a row, in the transaction of the caller if there is one. Rows are added one after the other: each holds the hash of the one before."""
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('waggle audit trail'))")
            last = await fetchrow(connection, select(AUDIT_TRAIL.c.seq, AUDIT_TRAIL.c.hash).order_by(AUDIT_TRAIL.c.seq.desc()).limit(1))
            seq, before = (1, b"") if last is None else (last["seq"] + 1, last["hash"])
            at = await connection.fetchval("SELECT clock_timestamp()")
            texts = [None if value is None else _encode(value).decode() for value in (event.before, event.after)]
            made = self._hash(before, seq, at, *event[:5], *texts)
            values = {"seq": seq, "at": at, "hash": made, **dict(zip(Event._fields[:5], event[:5], strict=True))}
            await fetch(connection, insert(AUDIT_TRAIL).values(**values, before=texts[0], after=texts[1]))
        return Added(seq, made.hex())

    async def verify(self, connection: Connection) -> Verified:
        """Compute every hash again, from the first row on."""
        before, expected = b"", 1
        while True:
            wanted = select(AUDIT_TRAIL).where(AUDIT_TRAIL.c.seq >= expected).order_by(AUDIT_TRAIL.c.seq).limit(VERIFY_BATCH)
            rows = await fetch(connection, wanted)
            for row in rows:
                if row["seq"] != expected:
                    return self._broken(expected, before, "this row is missing")
                if not hmac.compare_digest(row["hash"], self._hash(before, *(row[name] for name in COLUMNS))):
                    return self._broken(expected, before, "this row, or the secret of this installation, was changed")
                before, expected = row["hash"], expected + 1
            if len(rows) < VERIFY_BATCH:
                return Verified(entries=expected - 1, fits=True, last_hash=before.hex() or None)

    def _broken(self, seq: int, before: bytes, problem: str) -> Verified:
        return Verified(entries=seq - 1, fits=False, last_hash=before.hex() or None, broken_at=seq, problem=problem)

    def _hash(self, before: bytes, seq: int, at: datetime, *texts: str | None) -> bytes:
        return hmac.digest(self._key, before + _encode([seq, at.astimezone(UTC).isoformat(), *texts]), "sha256")


COLUMNS: Final = ("seq", "at", "actor", "action", "target", "address", "request_id", "before", "after")


class TrailFilter(NamedTuple):
    """Which rows of the trail; None does not filter."""

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    since: datetime | None = None
    until: datetime | None = None


async def page(connection: Connection, wanted: TrailFilter, before: int | None, most: int) -> list[AuditEntry]:
    """Up to `most` rows, the newest first, those with smaller numbers than `before`."""
    table = AUDIT_TRAIL.c
    asked = select(AUDIT_TRAIL).order_by(table.seq.desc()).limit(most)
    if before is not None:
        asked = asked.where(table.seq < before)
    for column, value in ((table.actor, wanted.actor), (table.action, wanted.action), (table.target, wanted.target)):
        if value is not None:
            asked = asked.where(column == value)
    if wanted.since is not None:
        asked = asked.where(table.at >= wanted.since)
    if wanted.until is not None:
        asked = asked.where(table.at < wanted.until)
    return [_as_entry(row) for row in await fetch(connection, asked)]


def _as_entry(row: asyncpg.Record) -> AuditEntry:
    changes = {name: None if row[name] is None else msgspec.Raw(row[name].encode()) for name in ("before", "after")}
    return AuditEntry(**{**row, **changes, "hash": row["hash"].hex()})
