"""`/schema`: the OpenAPI document, and a page that shows it. Both come from here: the page works without any network."""

from collections.abc import Callable
from importlib.resources import files
from typing import Final

from litestar.types import ASGIApp

from waggle.scopes import Scope
from waggle_api.http.answers import EncodedResponse
from waggle_api.http.routing import Group
from waggle_api.resources import Call

PAGE_FOLDER: Final = files("waggle_api") / "page"
SCRIPT: Final = "rapidoc-9.3.8.min.js"
VARY: Final = (b"vary", b"accept")
# The script styles its elements one by one; nothing may come from, or be sent to, any other place.
POLICY: Final = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'",
)
IMMUTABLE: Final = (b"cache-control", b"public, max-age=31536000, immutable")  # the version is in the name


def routes(document: Callable[[], bytes]) -> Group:
    """The routes that show `document`, which describes them too."""
    group = Group("This document", is_probe=True)

    @group.route("GET", "/schema", name="schema_page", scope=Scope.PUBLIC, answers={200: ("application/json", "text/html")})
    async def get_page(call: Call) -> ASGIApp:
        """The page for browsers, the document for other clients.

        A client that accepts `text/html` gets the page.
        """
        if "text/html" in call.request.headers.get("accept", ""):
            return EncodedResponse(200, (PAGE_FOLDER / "index.html").read_bytes(), POLICY, VARY, content_type=b"text/html; charset=utf-8")
        return EncodedResponse(200, document(), VARY)

    @group.route("GET", "/", "/docs", name="schema_home", scope=Scope.PUBLIC, answers={302: None}, headers={302: ("Location",)})
    async def go_to_page(call: Call) -> ASGIApp:  # noqa: ARG001
        """Lead to the page."""
        return EncodedResponse(302, b"", (b"location", b"/schema"))

    @group.route("GET", "/schema/openapi.json", name="schema_openapi_json", scope=Scope.PUBLIC, answers={200: ("application/json",)})
    async def get_document(call: Call) -> ASGIApp:  # noqa: ARG001
        """This document."""
        return EncodedResponse(200, document())

    @group.route("GET", f"/schema/{SCRIPT}", name="schema_script", scope=Scope.PUBLIC, answers={200: ("text/javascript",)})
    async def get_script(call: Call) -> ASGIApp:  # noqa: ARG001
        """The script of the page."""
        return EncodedResponse(200, (PAGE_FOLDER / SCRIPT).read_bytes(), IMMUTABLE, content_type=b"text/javascript; charset=utf-8")

    return group
