"""Hooks for schemathesis (`hooks = "support.formats"`): values of our formats, and closed response schemas, so that undocumented fields are found."""

import json
from typing import Any

import schemathesis
from hypothesis import strategies as st

schemathesis.openapi.format("json-object", st.dictionaries(st.text("abc", max_size=3), st.integers(-9, 9), max_size=3).map(json.dumps))


@schemathesis.hook
def before_load_schema(context: schemathesis.HookContext, raw_schema: dict[str, Any]) -> None:
    for schema in raw_schema["components"]["schemas"].values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
