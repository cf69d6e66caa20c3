"""`/api/users`: who may sign in, and as what. Only admins; at least one admin always stays."""

from typing import Annotated, Any, Final

import msgspec
from litestar.types import ASGIApp
from msgspec import Meta

from waggle.admin import users
from waggle.admin.passwords import LONGEST, SHORTEST
from waggle.admin.users import NAME_LENGTH, NAME_PATTERN, LastAdmin, NameTaken, User, WithoutPassword
from waggle.field_errors import FieldErrors
from waggle.scopes import Role, Scope
from waggle_api.http import answers, bodies, queries
from waggle_api.http.answers import EncodedResponse, Page, encode
from waggle_api.http.queries import Parameter
from waggle_api.http.routing import Group
from waggle_api.refusals import Conflict, NotFound
from waggle_api.resources import Call
from waggle_api.routes import acts
from waggle_api.routes.access import identity_of

BODY_BYTES: Final = 16 << 10
NO_USER: Final = "there is no user with this name"
LAST_ADMIN: Final = "nobody could manage users any more: make another user an admin first"

_name: Final = queries.name(NAME_PATTERN, NAME_LENGTH)


def _path_name(values: list[str]) -> str:
    try:
        return _name(values[0].lower())
    except ValueError:
        raise NotFound(NO_USER) from None


ROUTES: Final = Group("Access", {"user": Parameter(_path_name, _name.schema, "the user's name")})
USERS: Final = {"limit": queries.LIMIT, "cursor": queries.one(_name, "the `next_cursor` of the previous page")}


Password = Annotated[str, Meta(min_length=SHORTEST, max_length=LONGEST)]


class CreateUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new user: a name, a role (viewer, operator or admin) and a password of 12 characters or more."""

    name: Annotated[str, Meta(pattern=NAME_PATTERN, max_length=NAME_LENGTH)]
    role: Role
    password: Password


class ChangeUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change of a user. A new password, or being disabled, ends all their sessions."""

    role: Role | None = None
    password: Password | None = None
    disabled: bool | None = None


@ROUTES.route("GET", "/users", name="users_listing", scope=Scope.ADMIN, query=USERS, answers={200: Page[User]})
async def list_users(call: Call, limit: int = queries.PAGE_DEFAULT, cursor: str | None = None) -> ASGIApp:
    """A page of users by their names."""
    async with call.resources.connection() as connection:
        found = await users.page(connection, cursor, limit + 1)
    return answers.page(found[:limit], found[limit - 1].name if len(found) > limit else None)


@ROUTES.route(
    "POST", "/users", name="users_create", scope=Scope.ADMIN, body=bodies.of_fields(CreateUser, BODY_BYTES, required=True), answers={201: User}, refuses=(409,)
)
async def create_user(call: Call, body: CreateUser) -> ASGIApp:
    """Create a user."""
    identity_of(call)
    name = body.name
    users.check(name, body.role, body.password)
    password = await call.resources.passwords.hashed(body.password)
    try:
        async with call.resources.connection() as connection, connection.transaction():
            made = await users.create(connection, name, body.role, password)
            await acts.record(call, connection, "user.create", name, after={"role": made.role})
    except NameTaken:
        raise Conflict("another user has this name") from None
    return EncodedResponse(201, encode(made), (b"location", f"{call.path}/{name}".encode()))


@ROUTES.route("GET", "/users/{user}", name="users_show", scope=Scope.ADMIN, answers={200: User})
async def get_user(call: Call, user: str) -> ASGIApp:
    """One user."""
    async with call.resources.connection() as connection:
        return answers.ok(_existing(await users.get(connection, user)))


@ROUTES.route(
    "PATCH",
    "/users/{user}",
    name="users_change",
    scope=Scope.ADMIN,
    body=bodies.of_fields(ChangeUser, BODY_BYTES, required=True),
    answers={200: User},
    refuses=(409,),
)
async def change_user(call: Call, user: str, body: ChangeUser) -> ASGIApp:
    """Change a user's role or password, or whether they may sign in. A role counts at once, a disabled user is signed out everywhere."""
    identity = identity_of(call)
    users.check(None, body.role, body.password)
    changes: dict[str, Any] = {name: value for name in ("role", "disabled") if (value := getattr(body, name)) is not None}
    if body.password is not None:
        changes["password"] = await call.resources.passwords.hashed(body.password)
    if not changes:
        errors = FieldErrors()
        errors.add("role", "give at least one of role, password and disabled")
        errors.check()
    try:
        async with call.resources.connection() as connection, connection.transaction():
            before = _existing(await users.get(connection, user))
            changed = _existing(await users.change(connection, user, changes))
            await acts.record(call, connection, "user.change", user, before=_facts(before), after={**_facts(changed), "password": "password" in changes})
    except LastAdmin:
        raise Conflict(LAST_ADMIN) from None
    except WithoutPassword:
        raise Conflict("this user signs in at the identity provider and has no password here") from None
    identity.forget_user(user)
    return answers.ok(changed)


@ROUTES.route("DELETE", "/users/{user}", name="users_remove", scope=Scope.ADMIN, answers={200: User}, refuses=(409,))
async def remove_user(call: Call, user: str) -> ASGIApp:
    """Delete a user, and end their sessions."""
    identity = identity_of(call)
    try:
        async with call.resources.connection() as connection, connection.transaction():
            removed = _existing(await users.remove(connection, user))
            await acts.record(call, connection, "user.delete", user, before=_facts(removed))
    except LastAdmin:
        raise Conflict(LAST_ADMIN) from None
    identity.forget_user(user)
    return answers.ok(removed)


def _facts(user: User) -> dict[str, Any]:
    """What the audit trail says of a user."""
    return {"role": user.role, "disabled": user.disabled}


def _existing(found: User | None) -> User:
    if found is None:
        raise NotFound(NO_USER)
    return found
