"""`/api/publishers`: who may publish tasks to NATS. Only admins manage them; a password is shown once, when it is made."""

from typing import Annotated, Any, Final

import msgspec
from litestar.types import ASGIApp
from msgspec import Meta

from waggle.admin import publishers
from waggle.admin.publishers import NewPublisher, Publisher
from waggle.bus import users
from waggle.bus.users import NatsPublisher
from waggle.scopes import Scope
from waggle.store import publishers as stored
from waggle.task import QUEUE_LENGTH, QUEUE_PATTERN
from waggle_api.http import answers, bodies, queries
from waggle_api.http.answers import EncodedResponse, Page, encode
from waggle_api.http.queries import Parameter
from waggle_api.http.routing import Group
from waggle_api.refusals import Conflict, NotFound
from waggle_api.resources import Call
from waggle_api.routes import acts
from waggle_api.routes.keys import NAMES_LIMIT, QueueName, TypeName

BODY_BYTES: Final = 64 << 10
NO_PUBLISHER: Final = "there is no publisher with this name"

_name: Final = queries.name(QUEUE_PATTERN, QUEUE_LENGTH)


def _path_name(values: list[str]) -> str:
    try:
        return _name(values[0])
    except ValueError:
        raise NotFound(NO_PUBLISHER) from None


NAME: Final = Parameter(_path_name, _name.schema, "the name of a publisher")
PAGE: Final = {"limit": queries.LIMIT, "cursor": queries.one(_name, "the `next_cursor` of the previous page")}

ROUTES: Final = Group("Publishers", {"publisher": NAME})


class CreatePublisher(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new publisher: it publishes to `waggle.submit.<name>.<type>`. `queues` and `types` limit what it may submit; `events`: it may hear those of all."""

    name: QueueName
    queues: Annotated[list[QueueName], Meta(min_length=1, max_length=NAMES_LIMIT)] | None = None
    types: Annotated[list[TypeName], Meta(min_length=1, max_length=NAMES_LIMIT)] | None = None
    events: bool = False


class MadePublisher(Publisher, frozen=True, omit_defaults=True, kw_only=True):
    """A publisher with the name of its NATS user and its password, which is shown this once. NATS takes it once its configuration has it."""

    user: str
    password: str


class NatsConfiguration(msgspec.Struct, frozen=True):
    """The file of the publishers for nats-server. It holds hashes of their passwords."""

    text: str


@ROUTES.route("GET", "/publishers", name="publishers_listing", scope=Scope.ADMIN, query=PAGE, answers={200: Page[Publisher]})
async def list_publishers(call: Call, limit: int = queries.PAGE_DEFAULT, cursor: str | None = None) -> ASGIApp:
    """A page of publishers by their names."""
    async with call.resources.connection() as connection:
        found = await publishers.page(connection, cursor, limit + 1)
    return answers.page(found[:limit], found[limit - 1].name if len(found) > limit else None)


@ROUTES.route(
    "POST",
    "/publishers",
    name="publishers_create",
    scope=Scope.ADMIN,
    body=bodies.of_fields(CreatePublisher, BODY_BYTES, required=True),
    answers={201: MadePublisher},
    refuses=(409,),
)
async def create_publisher(call: Call, body: CreatePublisher) -> ASGIApp:
    """Create a publisher. Its password is in the answer and nowhere else."""
    wanted, password = NewPublisher(name=body.name, queues=body.queues, types=body.types, events=body.events), publishers.new_password()
    async with call.resources.connection() as connection, connection.transaction():
        made = await publishers.create(connection, wanted, call.caller.name, password)
        if made is None:
            raise Conflict("there is a publisher with this name")
        await acts.record(call, connection, "publisher.create", made.name, after=_facts(made))
    return EncodedResponse(201, encode(_made(made, password)))


@ROUTES.route("GET", "/nats/publishers", name="publishers_nats", scope=Scope.ADMIN, answers={200: NatsConfiguration})
async def get_configuration(call: Call) -> ASGIApp:
    """The file that a NATS server of `waggle nats config` includes: an account for each publisher."""
    async with call.resources.connection() as connection:
        found = await stored.everybody(connection)
    configuration = NatsConfiguration(users.publishers(NatsPublisher(each.name, each.password, each.events) for each in found))
    return EncodedResponse(200, encode(configuration), answers.SECRET)


@ROUTES.route("POST", "/publishers/{publisher}/rotate", name="publishers_rotate", scope=Scope.ADMIN, answers={200: MadePublisher})
async def rotate_password(call: Call, publisher: str) -> ASGIApp:
    """Give a publisher another password. NATS takes the one before until it reads the new file of publishers."""
    password = publishers.new_password()
    async with call.resources.connection() as connection, connection.transaction():
        found = _existing(await publishers.rotate(connection, publisher, password))
        await acts.record(call, connection, "publisher.rotate", publisher)
    return answers.ok(_made(found, password))


@ROUTES.route("DELETE", "/publishers/{publisher}", name="publishers_remove", scope=Scope.ADMIN, answers={200: Publisher})
async def remove_publisher(call: Call, publisher: str) -> ASGIApp:
    """Remove a publisher: within two seconds all that it publishes is rejected. Its tasks stay."""
    async with call.resources.connection() as connection, connection.transaction():
        before = _existing(await publishers.remove(connection, publisher))
        await acts.record(call, connection, "publisher.remove", publisher, before=_facts(before))
    return answers.ok(before)


def _existing(found: Publisher | None) -> Publisher:
    if found is None:
        raise NotFound(NO_PUBLISHER)
    return found


def _made(found: Publisher, password: str) -> MadePublisher:
    return MadePublisher(**msgspec.structs.asdict(found), user=users.PUBLISHER + found.name, password=password)


def _facts(found: Publisher) -> dict[str, Any]:
    """What the audit trail says of it."""
    facts = {"queues": found.queues, "types": found.types, "events": found.events or None}
    return {name: value for name, value in facts.items() if value is not None}
