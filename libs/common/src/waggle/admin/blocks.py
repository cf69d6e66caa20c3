"""Addresses that may not sign in or try keys: blocked by an API after repeated failures, or by an admin. All APIs read them every few seconds."""

from datetime import datetime
from typing import Final

import asyncpg
import msgspec
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from waggle.admin.statements import SECOND, fetch, fetchrow
from waggle.admin.tables import BLOCKED_ADDRESSES
from waggle.store.client import Connection

KEPT_SECONDS: Final = 86_400.0  # after its end
MOST: Final = 10_000  # that an API holds; the ones that end last


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A blocked address: of IPv6, the /64 network that it is in."""

    address: str
    reason: str
    created: datetime
    created_by: str
    until: datetime


async def add(connection: Connection, address: str, seconds: float, reason: str, by: str) -> Block:
    """Block an address for so long from now on. A block that ends later already stays. Blocks that ended a day ago are removed."""
    await fetch(connection, delete(BLOCKED_ADDRESSES).where(BLOCKED_ADDRESSES.c.until < func.now() - KEPT_SECONDS * SECOND))
    new = insert(BLOCKED_ADDRESSES).values(address=address, reason=reason, created_by=by, until=func.now() + seconds * SECOND)
    later = func.greatest(BLOCKED_ADDRESSES.c.until, new.excluded.until)
    put = new.on_conflict_do_update(index_elements=["address"], set_={"until": later, "reason": reason, "created_by": by})
    row = await fetchrow(connection, put.returning(BLOCKED_ADDRESSES))
    assert row is not None
    return Block(**row)


async def lift(connection: Connection, address: str) -> Block | None:
    """The block that was there; None if there was none."""
    row = await fetchrow(connection, delete(BLOCKED_ADDRESSES).where(BLOCKED_ADDRESSES.c.address == address).returning(BLOCKED_ADDRESSES))
    return None if row is None else Block(**row)


async def page(connection: Connection, after: str | None, most: int) -> list[Block]:
    """Up to `most` blocks that have not ended, by their addresses, those after `after`."""
    table = BLOCKED_ADDRESSES.c
    wanted = select(BLOCKED_ADDRESSES).where(table.until > func.now()).order_by(table.address).limit(most)
    return [Block(**row) for row in await fetch(connection, wanted if after is None else wanted.where(table.address > after))]


async def standing(connection: Connection) -> list[asyncpg.Record]:
    """The addresses that are blocked now, each with the seconds that are left."""
    table = BLOCKED_ADDRESSES.c
    left = func.extract("epoch", table.until - func.now()).label("seconds")
    return await fetch(connection, select(table.address, left).where(table.until > func.now()).order_by(table.until.desc()).limit(MOST))
