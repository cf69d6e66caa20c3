"""HEAD wherever GET is: the same status and headers, and no body (RFC 9110, 9.3.2)."""

from typing import Any

from litestar.types import ASGIApp, Receive, Scope, Send


class HeadGate:
    """Asks the application as GET does, and leaves out the body. A stream, which would go on, hears that its reader has left."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request: Any = scope
        if request["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        begun = False

        async def send_head(message: Any) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        async def receive_until_begun() -> Any:
            return {"type": "http.disconnect"} if begun else await receive()

        asked: Any = {**request, "method": "GET"}  # the server looks at its own: it must know that no body comes
        try:
            await self._app(asked, receive_until_begun, send_head)
        finally:
            if "path_template" in asked:  # which metrics and log lines name
                request["path_template"] = asked["path_template"]
