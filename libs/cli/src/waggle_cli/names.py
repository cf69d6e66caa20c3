"""What to say when a list is empty or a name is unknown: the nearest name that there is.

The API says so itself where it refuses a name; a filter it takes as it is.
"""

import difflib
from collections.abc import Collection, Mapping
from typing import Any, Final, NoReturn

from waggle_cli.client import Client, Problem, Unreachable
from waggle_cli.terminal import printable

NO_TASKS: Final = """No tasks yet. Submit one: waggle tasks submit demo.echo --payload '{"hello": "world"}'"""


def no_tasks(api: Client, query: Mapping[str, Any], cursor: str | None) -> str:
    """Why a list of tasks is empty."""
    if cursor is None and all(value is None for value in query.values()):
        return NO_TASKS
    return "No tasks like that." + unknown(api, query)


def no_dead_letters(api: Client, query: Mapping[str, Any]) -> str:
    if all(value is None for value in query.values()):
        return "No dead letters."
    return "No dead letters like that." + unknown(api, query)


def unknown(api: Client, query: Mapping[str, Any]) -> str:
    """The types and the queue of a filter that nobody has heard of."""
    said = ""
    for field, path in (("type", "types"), ("queue", "queues")):
        given = query.get(field) or []
        if given:
            try:
                known = _known(api, path)
            except (Problem, Unreachable):  # it is only a hint
                continue
            wrong = [name for name in ([given] if isinstance(given, str) else given) if name not in known]
            said += "".join(f" There is no {field} {printable(name)}{near(name, known) or '.'}" for name in wrong)
    return said


def near(name: str, known: Collection[str]) -> str:
    found = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {found[0]}?" if found else ""


def not_there(kind: str, name: str, known: Collection[str]) -> NoReturn:
    """As the API says it, for what it has no address for. Raises Problem."""
    few = f"; known are {', '.join(sorted(known))}" if 0 < len(known) <= 10 else ""
    raise Problem(404, {"code": "not_found", "detail": f"there is no {kind} {name!r}{near(name, known) or few}"})


def _known(api: Client, path: str) -> list[str]:
    return [item["name"] for item in api.get(path).value["items"]]
