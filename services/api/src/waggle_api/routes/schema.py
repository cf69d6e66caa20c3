"""`/schema`: the OpenAPI document, and a page that shows it. All of it comes from here: the page works without any network."""

from importlib.resources import files
from typing import Any, Final

from litestar import Request, get
from litestar.types import ASGIApp

from waggle_api.http.answers import Answer

PAGE: Final = files("waggle_api") / "page"
SCRIPT: Final = "rapidoc-9.3.8.min.js"
VARY: Final = (b"vary", b"accept")
# The script styles its elements one by one; nothing may come from, or be sent to, any other place.
POLICY: Final = (
    b"content-security-policy",
    b"default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    b"frame-ancestors 'none'",
)
NO_SNIFFING: Final = (b"x-content-type-options", b"nosniff")
FOR_EVER: Final = (b"cache-control", b"public, max-age=31536000, immutable")  # its version is in its name


@get("/schema")
async def page(request: Request[Any, Any, Any], document: bytes) -> ASGIApp:
    """The page for browsers, the document for all others.

    Whoever accepts `text/html` gets the page.
    """
    if "text/html" in request.headers.get("accept", ""):
        return Answer(200, (PAGE / "index.html").read_bytes(), POLICY, NO_SNIFFING, VARY, content_type=b"text/html; charset=utf-8")
    return Answer(200, document, VARY)


@get("/schema/openapi.json")
async def openapi_json(document: bytes) -> ASGIApp:
    """This document."""
    return Answer(200, document)


@get(f"/schema/{SCRIPT}")
async def script() -> ASGIApp:
    """The script of the page."""
    return Answer(200, (PAGE / SCRIPT).read_bytes(), NO_SNIFFING, FOR_EVER, content_type=b"text/javascript; charset=utf-8")
