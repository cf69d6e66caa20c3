"""`/api/audit` and `/api/blocks`: the audit trail, and addresses that may not sign in. Only admins."""

import ipaddress
from datetime import datetime
from typing import Annotated, Final

import msgspec
from litestar.types import ASGIApp
from msgspec import Meta

from waggle.admin import blocks, trail
from waggle.admin.blocks import Block
from waggle.admin.trail import AuditEntry, TrailFilter, Verified
from waggle.field_errors import FieldErrors
from waggle.scopes import Scope
from waggle_api.edge import addresses
from waggle_api.http import answers, bodies, queries
from waggle_api.http.answers import EncodedResponse, Page, encode
from waggle_api.http.queries import Parameter, Value
from waggle_api.http.routing import Group
from waggle_api.refusals import NotFound
from waggle_api.resources import Call
from waggle_api.routes import acts

BODY_BYTES: Final = 16 << 10
TEXT_LENGTH: Final = 200
LONGEST_SECONDS: Final = 366 * 86_400.0
DEFAULT_SECONDS: Final = 86_400.0


def _words(text: str) -> str:
    if not 1 <= len(text) <= TEXT_LENGTH or "\x00" in text:
        raise ValueError(f"must have 1 to {TEXT_LENGTH} characters, without U+0000")
    return text


_text: Final = Value(_words, {"type": "string", "minLength": 1, "maxLength": TEXT_LENGTH})

ENTRIES: Final = {
    "actor": queries.one(_text, "what this user or key did, such as user:anna or key:b62nQo1mCncr"),
    "action": queries.one(_text, "acts of this kind, such as user.create"),
    "target": queries.one(_text, "what was done to this user, key, queue or address"),
    "since": queries.one(queries.moment, "at this time or later; with an offset"),
    "until": queries.one(queries.moment, "before this time; with an offset"),
    "limit": queries.LIMIT,
    "cursor": queries.one(queries.NUMBER, "the `next_cursor` of the previous page"),
}
BLOCKS: Final = {"limit": queries.LIMIT, "cursor": queries.one(_text, "the `next_cursor` of the previous page")}

ROUTES: Final = Group(
    "Access",
    {"address": Parameter(lambda values: values[0], {"type": "string", "maxLength": TEXT_LENGTH}, "as the list shows it; of a network, without the slash")},
)


class BlockAddress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which address to block, for how many seconds (a day if not given), and why. Of an IPv6 address its /64 network is blocked."""

    address: Annotated[str, Meta(max_length=TEXT_LENGTH, extra_json_schema={"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]})]
    seconds: Annotated[float, Meta(gt=0, le=LONGEST_SECONDS)] | None = None
    reason: Annotated[str, Meta(max_length=TEXT_LENGTH)] | None = None


BLOCK: Final = bodies.of_fields(BlockAddress, BODY_BYTES, required=True)


@ROUTES.route("GET", "/audit", name="audit_listing", scope=Scope.ADMIN, query=ENTRIES, answers={200: Page[AuditEntry]})
async def list_entries(
    call: Call,
    limit: int = queries.PAGE_DEFAULT,
    cursor: int | None = None,
    actor: str | None = None,
    action: str | None = None,
    target: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> ASGIApp:
    """A page of the audit trail, the newest entry first."""
    async with call.resources.connection() as connection:
        found = await trail.page(connection, TrailFilter(actor, action, target, since, until), cursor, limit + 1)
    return answers.page(found[:limit], str(found[limit - 1].seq) if len(found) > limit else None)


@ROUTES.route("GET", "/audit/verify", name="audit_verify", scope=Scope.ADMIN, answers={200: Verified})
async def verify(call: Call) -> ASGIApp:
    """Compute the hash of every entry again: `fits` is false if one was changed or is missing, and `broken_at` is the first such.

    That the last entries were cut off shows only in comparison with a `last_hash` of before, or with the log.
    """
    async with call.resources.connection() as connection:
        return answers.ok(await call.resources.trail.verify(connection))


@ROUTES.route("GET", "/blocks", name="blocks_listing", scope=Scope.ADMIN, query=BLOCKS, answers={200: Page[Block]})
async def list_blocks(call: Call, limit: int = queries.PAGE_DEFAULT, cursor: str | None = None) -> ASGIApp:
    """A page of the addresses that are blocked now."""
    async with call.resources.connection() as connection:
        found = await blocks.page(connection, cursor, limit + 1)
    return answers.page(found[:limit], found[limit - 1].address if len(found) > limit else None)


@ROUTES.route("POST", "/blocks", name="blocks_add", scope=Scope.ADMIN, body=BLOCK, answers={201: Block})
async def add_block(call: Call, body: BlockAddress) -> ASGIApp:
    """Block an address: nobody signs in from it, and keys from it are not looked up. Within two seconds all APIs know it."""
    name, reason = _address(body), body.reason or "blocked by an admin"
    async with call.resources.connection() as connection, connection.transaction():
        made = await blocks.add(connection, name, body.seconds or DEFAULT_SECONDS, reason, call.caller.name)
        await acts.record(call, connection, "block.add", name, after={"until": made.until, "reason": reason})
    await call.resources.blocking.look()
    return EncodedResponse(201, encode(made))


@ROUTES.route("DELETE", "/blocks/{address}", name="blocks_lift", scope=Scope.ADMIN, answers={200: Block})
async def lift_block(call: Call, address: str) -> ASGIApp:
    """Lift a block."""
    name = addresses.bucket(address.partition("/")[0])
    async with call.resources.connection() as connection, connection.transaction():
        lifted = await blocks.lift(connection, name)
        if lifted is None:
            raise NotFound("this address is not blocked")
        await acts.record(call, connection, "block.lift", name)
    call.resources.blocking.lift(name)
    return answers.ok(lifted)


def _address(body: BlockAddress) -> str:
    """Raises Invalid."""
    errors = FieldErrors()
    try:
        ipaddress.ip_address(body.address)
    except ValueError:
        errors.add("address", "must be an IP address such as 203.0.113.7 or 2001:db8::7")
    if "\x00" in (body.reason or ""):
        errors.add("reason", "must not contain U+0000")
    errors.check()
    return addresses.bucket(body.address)
