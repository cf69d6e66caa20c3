"""Texts for an empty list or an unknown name, with the nearest known name.

The API itself proposes a name when it refuses one; in a filter it accepts any name.
"""

import difflib
from collections.abc import Collection, Mapping
from typing import Any, Final

from waggle_cli.rest.client import Api
from waggle_cli.rest.errors import ApiError, Unreachable
from waggle_cli.views.terminal import printable

NO_TASKS: Final = """No tasks yet. Submit one: waggle tasks submit demo.echo --payload '{"hello": "world"}'"""


def no_tasks(api: Api, query: Mapping[str, Any], cursor: str | None) -> str:
    """Why a list of tasks is empty."""
    if cursor is None and all(value is None for value in query.values()):
        return NO_TASKS
    return "No matching tasks." + unknown(api, query)


def no_dead_letters(api: Api, query: Mapping[str, Any]) -> str:
    if all(value is None for value in query.values()):
        return "No dead letters."
    return "No matching dead letters." + unknown(api, query)


def unknown(api: Api, query: Mapping[str, Any]) -> str:
    """The types and the queue of a filter that do not exist."""
    said = ""
    for field, path in (("type", "types"), ("queue", "queues")):
        given = query.get(field) or []
        if given:
            try:
                known = _known(api, path)
            except (ApiError, Unreachable):  # only a hint
                continue
            wrong = [name for name in ([given] if isinstance(given, str) else given) if name not in known]
            said += "".join(f" There is no {field} {printable(name)}{near(name, known) or '.'}" for name in wrong)
    return said


def near(name: str, known: Collection[str]) -> str:
    found = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {found[0]}?" if found else ""


def _known(api: Api, path: str) -> list[str]:
    return [item["name"] for item in api.get(path).value["items"]]
