"""What routes write to the audit trail about an act: who did it, from where, in which request."""

from collections.abc import Mapping
from typing import Any

import structlog

from waggle.admin.trail import Event
from waggle.store.client import PooledConnection
from waggle_api.edge import addresses
from waggle_api.resources import Call

log = structlog.get_logger()


def address(call: Call) -> str:
    """Where the request comes from."""
    return addresses.client(call.request.scope, call.resources.proxies)


async def record(
    call: Call,
    connection: PooledConnection,
    action: str,
    target: str,
    *,
    actor: str | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Add an act to the trail, in the transaction of the act if the caller has one."""
    request_id = call.request.scope["state"]["request_id"]
    event = Event(actor or call.caller.name, action, target, address(call), request_id, before, after)
    added = await call.resources.trail.add(connection, event)
    log.info("audit", seq=added.seq, hash=added.hash, actor=event.actor, action=action, target=target)


async def record_alone(call: Call, action: str, target: str, after: Mapping[str, Any] | None = None) -> None:
    """Add an act that has been done elsewhere."""
    async with call.resources.connection() as connection:
        await record(call, connection, action, target, after=after)
