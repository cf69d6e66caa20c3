"""`/api/auth`: signing in with a name and a password, going on with a refresh token, signing out, and who I am."""

from typing import Annotated, Final

import msgspec
from litestar.types import ASGIApp
from msgspec import Meta

from waggle.admin import sessions, users
from waggle.admin.passwords import LONGEST, SHORTEST
from waggle.admin.users import NAME_LENGTH
from waggle.scopes import Scope
from waggle_api.edge.addresses import bucket
from waggle_api.edge.identity import Identity
from waggle_api.edge.rates import Policy
from waggle_api.edge.tokens import ACCESS_SECONDS
from waggle_api.http import answers, bodies
from waggle_api.http.answers import EncodedResponse, encode
from waggle_api.http.routing import Group
from waggle_api.refusals import Conflict, Unauthenticated
from waggle_api.resources import Call
from waggle_api.routes import acts

BODY_BYTES: Final = 16 << 10
TOKEN_LENGTH: Final = 256

ROUTES: Final = Group("Access")

Text = Annotated[str, Meta(min_length=1, max_length=LONGEST)]


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A user's name and password. `cookie`: for a browser, which gets a cookie instead of tokens."""

    name: Annotated[str, Meta(min_length=1, max_length=NAME_LENGTH)]
    password: Text
    cookie: bool | None = None


class Refresh(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The refresh token of the answer before."""

    refresh_token: Annotated[str, Meta(min_length=1, max_length=TOKEN_LENGTH)]


class Logout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`everywhere`: all sessions of this user, not only this one."""

    everywhere: bool | None = None


class ChangePassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The password of now, and the new one. All sessions of the user end."""

    password: Text
    new_password: Annotated[str, Meta(min_length=SHORTEST, max_length=LONGEST)]


class SignedIn(msgspec.Struct, frozen=True, kw_only=True):
    """An access token for `expires_in` seconds, and the refresh token that brings the next one, good once and for `refresh_expires_in` seconds."""

    access_token: str
    token_type: str
    expires_in: int
    refresh_token: str
    refresh_expires_in: int


class BrowserSession(msgspec.Struct, frozen=True):
    """A session whose cookie the browser has. Each write needs the header X-CSRF-Token with this token."""

    csrf_token: str
    expires_in: int


class Me(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who sends this request, and what they may do. Without `queues` or `types`: all. `csrf_token`: of a browser session."""

    name: str
    scopes: list[Scope]
    queues: list[str] | None = None
    types: list[str] | None = None
    csrf_token: str | None = None


@ROUTES.route(
    "POST",
    "/auth/login",
    name="auth_login",
    scope=Scope.PUBLIC,
    body=bodies.of_fields(Login, BODY_BYTES, required=True),
    answers={200: [SignedIn, BrowserSession]},
    refuses=(401, 403, 409, 429),
)
async def login(call: Call, body: Login) -> ASGIApp:
    """Sign in. The answer is the same whether there is no such user, the password is wrong, or the user is disabled."""
    identity, name = identity_of(call), body.name.lower()
    call.resources.blocking.check(acts.address(call))
    await limit(call, call.resources.policies.logins)
    async with call.resources.connection() as connection:
        found = await users.credentials(connection, name)
    fits = await call.resources.passwords.fits(None if found is None else found.password, body.password)
    if not fits or found is None or found.disabled:
        await _count_failure(call)
        # A name that is none may be a password in the wrong field: the log does not hold it.
        raise Unauthenticated("no such user" if found is None else f"{'disabled' if fits else 'wrong password'}: {found.name}")
    async with call.resources.connection() as connection, connection.transaction():
        session_id = await sessions.begin(connection, found.id)
        await acts.record(call, connection, "session.begin", str(session_id), actor=f"user:{found.name}")
    if body.cookie:
        made = BrowserSession(identity.tokens.csrf(session_id), int(sessions.SESSION_SECONDS))
        return EncodedResponse(200, encode(made), session_cookie(identity, identity.tokens.cookie(session_id), int(sessions.SESSION_SECONDS)))
    return _tokens(identity, sessions.Session(session_id, 0, found.name, found.role, sessions.SESSION_SECONDS))


@ROUTES.route(
    "POST",
    "/auth/refresh",
    name="auth_refresh",
    scope=Scope.PUBLIC,
    body=bodies.of_fields(Refresh, BODY_BYTES, required=True),
    answers={200: SignedIn},
    refuses=(401, 403, 409, 429),
)
async def refresh(call: Call, body: Refresh) -> ASGIApp:
    """New tokens for a refresh token. For half a minute the one before brings the same ones; an older one ends the session: somebody has a copy."""
    identity = identity_of(call)
    await limit(call, call.resources.policies.refreshes)
    session_id, generation = identity.tokens.read_refresh(body.refresh_token)
    async with call.resources.connection() as connection, connection.transaction():
        found, ended = await sessions.refresh(connection, session_id, generation)
        if ended:  # somebody has a copy of a token
            await acts.record(call, connection, "session.reused", str(session_id), actor=f"user:{ended}")
    if found is None:
        identity.forget(str(session_id))
        raise Unauthenticated("the session has ended")
    return _tokens(identity, found)


@ROUTES.route(
    "POST",
    "/auth/logout",
    name="auth_logout",
    scope=Scope.SIGNED_IN,
    limited=True,
    body=bodies.of_fields(Logout, BODY_BYTES),
    answers={204: None},
    refuses=(409,),
)
async def logout(call: Call, body: Logout) -> ASGIApp:
    """End this session, or all sessions of its user."""
    identity, session_id = identity_of(call), call.caller.session
    if session_id is None:
        raise Conflict("this request came with an API key, which is no session: an admin revokes keys")
    async with call.resources.connection() as connection, connection.transaction():
        await (sessions.end_all if body.everywhere else sessions.end)(connection, session_id)
        await acts.record(call, connection, "session.end", "all" if body.everywhere else str(session_id))
    identity.forget_user(call.caller.name.removeprefix("user:"))
    answer = answers.no_content()
    if call.caller.by_cookie:
        answer.headers = [*answer.headers, session_cookie(identity, "", 0)]
    return answer


@ROUTES.route(
    "POST",
    "/auth/password",
    name="auth_change_password",
    scope=Scope.SIGNED_IN,
    limited=True,
    body=bodies.of_fields(ChangePassword, BODY_BYTES, required=True),
    answers={204: None},
    refuses=(409,),
)
async def change_password(call: Call, body: ChangePassword) -> ASGIApp:
    """Change my password. All my sessions end."""
    identity, name = identity_of(call), call.caller.name.removeprefix("user:")
    if call.caller.session is None:
        raise Conflict("this request came with an API key, which has no password")
    call.resources.blocking.check(acts.address(call))
    await limit(call, call.resources.policies.logins)
    async with call.resources.connection() as connection:
        found = await users.credentials(connection, name)
    if not await call.resources.passwords.fits(None if found is None else found.password, body.password):
        await _count_failure(call)
        raise Unauthenticated("wrong password")
    new = await call.resources.passwords.hashed(body.new_password)
    async with call.resources.connection() as connection, connection.transaction():
        await users.change(connection, name, {"password": new})
        await acts.record(call, connection, "user.password", name)
    identity.forget_user(name)
    return answers.no_content()


@ROUTES.route("GET", "/auth/me", name="auth_me", scope=Scope.SIGNED_IN, limited=True, answers={200: Me})
async def get_me(call: Call) -> ASGIApp:
    """Who I am."""
    caller = call.caller
    identity, csrf_token = call.resources.identity, None
    if identity is not None and caller.by_cookie and caller.session is not None:
        csrf_token = identity.tokens.csrf(caller.session)
    return answers.ok(Me(caller.name, sorted(caller.scopes), _listed(caller.queues), _listed(caller.types), csrf_token))


KEY_SET: Final = Group("Access", is_probe=True)


class KeySet(msgspec.Struct, frozen=True):
    """The public keys of access tokens (RFC 7517): the one before, the one of now, and the next."""

    keys: list[dict[str, str]]


@KEY_SET.route("GET", "/.well-known/jwks.json", name="auth_key_set", scope=Scope.PUBLIC, answers={200: KeySet})
async def get_key_set(call: Call) -> ASGIApp:
    """With which keys others can check access tokens. A key signs at most 30 days, and is listed 30 days before and after."""
    identity = call.resources.identity
    return EncodedResponse(200, encode({"keys": []} if identity is None else identity.tokens.key_set()), (b"cache-control", b"public, max-age=3600"))


def session_cookie(identity: Identity, value: str, seconds: int) -> tuple[bytes, bytes]:
    """The header that sets the cookie: no script reads it, no page of another site sends it, and only over TLS or to this machine (RFC 6265bis)."""
    return cookie_header(identity.tokens.cookie_name, value, seconds, "Strict")


def cookie_header(name: bytes, value: str, seconds: int, same_site: str) -> tuple[bytes, bytes]:
    """The header that sets a cookie, or removes it (0 seconds)."""
    return b"set-cookie", name + f"={value}; Path=/; Max-Age={seconds}; HttpOnly; Secure; SameSite={same_site}".encode()


def identity_of(call: Call) -> Identity:
    """Raises Conflict where nobody is asked who they are."""
    if call.resources.identity is None:
        raise Conflict("this API asks nobody who they are (WAGGLE_API_AUTH=none)")
    return call.resources.identity


async def limit(call: Call, policy: Policy) -> None:
    """Raises OverQuota or Unavailable."""
    await call.resources.rates.admit(policy, bucket(acts.address(call)))


async def _count_failure(call: Call) -> None:
    """A wrong password: it may have been a guess."""
    await call.resources.blocking.failed(acts.address(call), call.request.scope["state"]["request_id"])


def _tokens(identity: Identity, session: sessions.Session) -> EncodedResponse:
    return answers.ok(
        SignedIn(
            access_token=identity.tokens.access(session.id, session.name),
            token_type="Bearer",  # noqa: S106  # the name of the scheme
            expires_in=int(ACCESS_SECONDS),
            refresh_token=identity.tokens.refresh(session.id, session.generation),
            refresh_expires_in=int(session.seconds),
        )
    )


def _listed(names: frozenset[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)
