"""The table of task types shows the fields of their payloads."""

from typing import Any

from waggle import App, Context
from waggle_cli.views import types


def test_a_field_that_no_payload_may_have_is_not_shown() -> None:
    app = App()

    @app.task("a.type")
    async def function(ctx: Context, to: str, size: int = 1, **rest: Any) -> None: ...

    assert types._fields(app.handlers["a.type"].schema) == "to, size?, …"
