"""Idempotency keys: which tasks a submitter's key stands for. Written in the transaction that inserts the tasks."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from waggle.store.client import Connection
from waggle.store.sql import statement


class Key(NamedTuple):
    """A submitter's key; the same key with another body is a conflict."""

    submitter: str
    key: str
    body_hash: bytes
    task_ids: tuple[UUID, ...]


async def take(connection: Connection, keys: Sequence[Key]) -> set[tuple[str, str]]:
    """Take keys; returns those that were free."""
    rows = await statement("keys/take").fetch(
        connection, submitters=[k.submitter for k in keys], keys=[k.key for k in keys], body_hashes=[k.body_hash for k in keys], ids=[_joined(k) for k in keys]
    )
    return {(row["submitter"], row["key"]) for row in rows}


async def find(connection: Connection, keys: Sequence[Key]) -> dict[tuple[str, str], Key]:
    """What stands under these keys."""
    rows = await statement("keys/find").fetch(connection, submitters=[k.submitter for k in keys], keys=[k.key for k in keys])
    return {(row["submitter"], row["key"]): Key(row["submitter"], row["key"], row["body_hash"], tuple(row["task_ids"])) for row in rows}


async def point(connection: Connection, keys: Sequence[Key]) -> None:
    """Point keys, taken in this transaction, at other tasks."""
    await statement("keys/point").execute(connection, submitters=[k.submitter for k in keys], keys=[k.key for k in keys], ids=[_joined(k) for k in keys])


async def unique_holders(connection: Connection, wanted: Sequence[tuple[str, str]]) -> dict[tuple[str, str], UUID]:
    """The unfinished tasks that hold these (type, unique key) pairs."""
    rows = await statement("tasks/unique_holders").fetch(connection, types=[t for t, _ in wanted], unique_keys=[k for _, k in wanted])
    return {(row["type"], row["unique_key"]): row["id"] for row in rows}


def _joined(key: Key) -> str:
    return ",".join(str(task_id) for task_id in key.task_ids)
