"""`/api/auth/keys`: API keys. Only admins manage keys; a key's text is shown once, when it is made or its secret is replaced."""

from typing import Annotated, Any, Final

import msgspec
from litestar.types import ASGIApp
from msgspec import Meta

from waggle.admin import keys
from waggle.admin.keys import COMMENT_LENGTH, ManagedKey, NewKey
from waggle.api_keys import ID_LENGTH, ApiKey
from waggle.scopes import GRANTED, Scope
from waggle.store.client import Connection
from waggle.task import QUEUE_LENGTH, QUEUE_PATTERN, TYPE_LENGTH, TYPE_PATTERN
from waggle_api.http import answers, bodies, queries
from waggle_api.http.answers import EncodedResponse, Page, encode
from waggle_api.http.queries import Parameter
from waggle_api.http.routing import Group
from waggle_api.refusals import Conflict, Forbidden, NotFound
from waggle_api.resources import Call
from waggle_api.routes import acts
from waggle_api.routes.access import identity_of

BODY_BYTES: Final = 64 << 10
NAMES_LIMIT: Final = 100
YEARS: Final = 10 * 365 * 86_400.0  # seconds
OVERLAP_DEFAULT: Final = 86_400.0  # seconds
OVERLAP_LIMIT: Final = 90 * 86_400.0

_key_id: Final = queries.name(rf"[0-9A-Za-z]{{{ID_LENGTH}}}", ID_LENGTH)
NO_KEY: Final = "there is no API key with this id"


def _path_id(values: list[str]) -> str:
    try:
        return _key_id(values[0])
    except ValueError:
        raise NotFound(NO_KEY) from None


KEY_ID: Final = Parameter(_path_id, _key_id.schema, "the id of an API key: the part between its underscores")
KEYS: Final = {"limit": queries.LIMIT, "cursor": queries.one(_key_id, "the `next_cursor` of the previous page")}

ROUTES: Final = Group("Access", {"key_id": KEY_ID})

QueueName = Annotated[str, Meta(pattern=QUEUE_PATTERN, max_length=QUEUE_LENGTH)]
TypeName = Annotated[str, Meta(pattern=TYPE_PATTERN, max_length=TYPE_LENGTH)]


ScopeName = Annotated[str, Meta(extra_json_schema={"enum": sorted(GRANTED)})]


class CreateKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new API key. `comment` says what it is for; `expires_in` is in seconds; `queues` and `types` limit it to tasks of these."""

    comment: Annotated[str, Meta(max_length=COMMENT_LENGTH, extra_json_schema={"pattern": r"\S"})]
    scopes: Annotated[list[ScopeName], Meta(min_length=1, max_length=len(GRANTED))]
    queues: Annotated[list[QueueName], Meta(min_length=1, max_length=NAMES_LIMIT)] | None = None
    types: Annotated[list[TypeName], Meta(min_length=1, max_length=NAMES_LIMIT)] | None = None
    expires_in: Annotated[float, Meta(gt=0, le=YEARS)] | None = None


class ReplaceSecret(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For how many seconds the secret before works, too: a day if not given."""

    overlap: Annotated[float, Meta(ge=0, le=OVERLAP_LIMIT)] | None = None


class MadeKey(ManagedKey, frozen=True, omit_defaults=True, kw_only=True):
    """An API key with its text, `key`, which is shown this once."""

    key: str


@ROUTES.route("GET", "/auth/keys", name="keys_listing", scope=Scope.ADMIN, query=KEYS, answers={200: Page[ManagedKey]})
async def list_keys(call: Call, limit: int = queries.PAGE_DEFAULT, cursor: str | None = None) -> ASGIApp:
    """A page of API keys by their ids, revoked and expired ones, too."""
    async with call.resources.connection() as connection:
        found = await keys.page(connection, cursor, limit + 1)
    return answers.page(found[:limit], found[limit - 1].id if len(found) > limit else None)


@ROUTES.route(
    "POST",
    "/auth/keys",
    name="keys_create",
    scope=Scope.ADMIN,
    body=bodies.of_fields(CreateKey, BODY_BYTES, required=True),
    answers={201: MadeKey},
    refuses=(409,),
)
async def create_key(call: Call, body: CreateKey) -> ASGIApp:
    """Create an API key. Its text is in the answer and nowhere else. A key that expires makes none that lives longer."""
    wanted, identity = _wanted(body), identity_of(call)
    async with call.resources.connection() as connection, connection.transaction():
        stored, key = await keys.create(connection, wanted, call.caller.name, identity.fingerprints)
        await _check_life(connection, call, stored)
        await acts.record(call, connection, "key.create", stored.id, after=_facts(stored))
    return EncodedResponse(201, encode(_made(stored, key)), (b"location", f"{call.path}/{stored.id}".encode()))


@ROUTES.route("GET", "/auth/keys/{key_id}", name="keys_show", scope=Scope.ADMIN, answers={200: ManagedKey})
async def get_key(call: Call, key_id: str) -> ASGIApp:
    """One API key, without its secret."""
    async with call.resources.connection() as connection:
        return answers.ok(_existing(await keys.get(connection, key_id)))


@ROUTES.route(
    "POST",
    "/auth/keys/{key_id}/replace",
    name="keys_replace_secret",
    scope=Scope.ADMIN,
    body=bodies.of_fields(ReplaceSecret, BODY_BYTES),
    answers={200: MadeKey},
    refuses=(409,),
)
async def replace_secret(call: Call, key_id: str, body: ReplaceSecret) -> ASGIApp:
    """Give an API key a new secret. The one before works for a time, so that clients can change over one by one."""
    identity, overlap = identity_of(call), OVERLAP_DEFAULT if body.overlap is None else body.overlap
    async with call.resources.connection() as connection, connection.transaction():
        replaced = await keys.replace_secret(connection, key_id, overlap, identity.fingerprints)
        if replaced is None:
            _existing(await keys.get(connection, key_id))
            raise Conflict("this key is revoked or has expired: create another one")
        await acts.record(call, connection, "key.replace", key_id, after={"overlap": overlap})
    identity.forget(key_id)
    return EncodedResponse(200, encode(_made(*replaced)))


@ROUTES.route("DELETE", "/auth/keys/{key_id}", name="keys_revoke", scope=Scope.ADMIN, answers={200: ManagedKey})
async def revoke_key(call: Call, key_id: str) -> ASGIApp:
    """Revoke an API key: within two seconds no API accepts it any more. Revoking it again is harmless."""
    async with call.resources.connection() as connection, connection.transaction():
        revoked = _existing(await keys.revoke(connection, key_id))
        await acts.record(call, connection, "key.revoke", key_id)
    if call.resources.identity is not None:
        call.resources.identity.forget(key_id)
    return answers.ok(revoked)


def _wanted(body: CreateKey) -> NewKey:
    """Raises Invalid with every error."""
    wanted = NewKey(comment=body.comment, scopes=body.scopes, queues=body.queues, types=body.types, seconds=body.expires_in)
    keys.check(wanted)
    return wanted


async def _check_life(connection: Connection, call: Call, made: ManagedKey) -> None:
    """Nobody hands out more than they hold. Raises Forbidden; in a transaction of the caller, which undoes what was made."""
    kind, _, key_id = call.caller.name.partition(":")
    own = await keys.get(connection, key_id) if kind == "key" else None
    if own is not None and own.expires is not None and (made.expires is None or made.expires > own.expires):
        raise Forbidden(f"your own key expires at {own.expires:%Y-%m-%dT%H:%M:%SZ}: a key that it makes expires no later (expires_in)")


def _existing(found: ManagedKey | None) -> ManagedKey:
    if found is None:
        raise NotFound(NO_KEY)
    return found


def _made(stored: ManagedKey, key: ApiKey) -> MadeKey:
    return MadeKey(**msgspec.structs.asdict(stored), key=key.text)


def _facts(key: ManagedKey) -> dict[str, Any]:
    """What the audit trail says of a key."""
    found = {name: getattr(key, name) for name in ("comment", "scopes", "queues", "types", "expires")}
    return {name: value for name, value in found.items() if value is not None}
