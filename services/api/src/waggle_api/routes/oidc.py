"""`/api/auth/oidc`: signing in at an identity provider, in a browser."""

from typing import Final

from litestar.types import ASGIApp

from waggle.admin import sessions, users
from waggle.scopes import Scope
from waggle_api.edge.identity import cookie_value
from waggle_api.edge.provider import LOGIN_SECONDS, Provider
from waggle_api.http import queries
from waggle_api.http.answers import EncodedResponse
from waggle_api.http.queries import Value
from waggle_api.http.routing import Group
from waggle_api.refusals import Forbidden, NotFound, Unauthenticated
from waggle_api.resources import Call
from waggle_api.routes import acts
from waggle_api.routes.access import cookie_header, identity_of, limit, session_cookie

AFTER_LOGIN: Final = "/schema"  # the page that there is

ROUTES: Final = Group("Access")


@ROUTES.route("GET", "/auth/oidc/login", name="oidc_login", scope=Scope.PUBLIC, answers={302: None}, headers={302: ("Location",)}, refuses=(404, 429))
async def begin_at_provider(call: Call) -> ASGIApp:
    """Sign in at the identity provider: the browser is sent there, and comes back to /api/auth/oidc/callback."""
    identity_of(call)
    await limit(call, call.resources.policies.refreshes)
    url, cookie = await _provider(call).begin()
    return _redirect(url, cookie_header(_provider(call).cookie_name, cookie, LOGIN_SECONDS, "Lax"))


BACK: Final = {
    name: queries.one(Value(str, {"type": "string"}), about)
    for name, about in {
        "code": "the code that the provider gave",
        "state": "the state of the login",
        "iss": "the provider",
        "session_state": "of the provider",
        "scope": "what the provider granted",
        "error": "why the provider let nobody in",
        "error_description": "the same in words",
    }.items()
}


@ROUTES.route(
    "GET",
    "/auth/oidc/callback",
    name="oidc_callback",
    scope=Scope.PUBLIC,
    query=BACK,
    answers={302: None},
    headers={302: ("Location",)},
    refuses=(401, 403, 404, 429),
)
async def back_from_provider(call: Call, code: str = "", state: str = "", error: str = "", **_: str) -> ASGIApp:
    """Where the identity provider sends the browser back. Whoever is in a group that may come in gets a session."""
    identity, provider = identity_of(call), _provider(call)
    await limit(call, call.resources.policies.refreshes)
    if error:
        raise Unauthenticated(f"the identity provider says {error[:100]!r}", counts=False)
    there = await provider.finish(cookie_value(call.request.scope["headers"], provider.cookie_name), state, code)
    try:
        async with call.resources.connection() as connection, connection.transaction():
            found = await users.of_subject(connection, there.subject, there.name, there.role)
            session_id = await sessions.begin(connection, found.id)
            await acts.record(call, connection, "session.begin", str(session_id), actor=f"user:{found.name}", after={"role": there.role, "by": "oidc"})
    except users.NameTaken:
        raise Forbidden("another user has this name here; an admin can delete them") from None
    except users.Disabled:
        raise Forbidden("an admin does not let you in") from None
    answer = _redirect(AFTER_LOGIN, session_cookie(identity, identity.tokens.cookie(session_id), int(sessions.SESSION_SECONDS)))
    answer.headers = [*answer.headers, cookie_header(provider.cookie_name, "", 0, "Lax")]
    return answer


def _provider(call: Call) -> Provider:
    """Raises NotFound where there is none."""
    if call.resources.provider is None:
        raise NotFound("no identity provider is set up here (WAGGLE_OIDC_ISSUER)")
    return call.resources.provider


def _redirect(url: str, cookie: tuple[bytes, bytes]) -> EncodedResponse:
    return EncodedResponse(302, b"", (b"location", url.encode()), cookie)
