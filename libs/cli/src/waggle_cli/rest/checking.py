"""Compares a handler of somebody's code with the versions of its type that are accepted, and with the tasks that wait."""

from typing import Any, Final

import msgspec

from waggle.app import Handler
from waggle.secret_fields import has_any
from waggle_cli.compatibility import losses
from waggle_cli.rest.client import Api
from waggle_cli.rest.errors import ApiError

MOST: Final = 200  # waiting tasks of one type whose payloads are tried
NOT_FOUND: Final = 404


class Checked(msgspec.Struct):
    """How a type of the code stands to what is live: `change` is new, same or changed; `problems` are sentences; `tried` counts waiting tasks."""

    type: str
    change: str
    problems: list[str] = []
    tried: int = 0
    hidden: bool = False  # values of payloads are hidden, so waiting tasks were not tried

    def as_json(self) -> bytes:
        return msgspec.json.encode(self)

    @staticmethod
    def as_page(found: "list[Checked]") -> bytes:
        return msgspec.json.encode({"items": found})


def check(api: Api, handler: Handler) -> Checked:
    """One type. Raises ApiError and Unreachable."""
    live = _live(api, handler.name)
    if live is None:
        return Checked(handler.name, "new")
    schemas = [msgspec.json.encode(version["schema"]).decode() for version in live["versions"]]
    problems = list(dict.fromkeys(sentence for schema in schemas for sentence in losses(schema, handler.schema_text)))
    if not problems:
        return Checked(handler.name, "same" if schemas == [handler.schema_text] else "changed")
    checked = Checked(handler.name, "changed", problems)
    if handler.has_secrets or any(has_any(schema) for schema in schemas):
        checked.hidden = True
    else:
        _try_waiting(api, handler, checked)
    return checked


def _live(api: Api, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = api.get("types", name).value
    except ApiError as error:
        if error.status != NOT_FOUND:
            raise
        return None
    return found


def _try_waiting(api: Api, handler: Handler, checked: Checked) -> None:
    """Let the code read the payloads of tasks that wait, the newest first."""
    unread: list[tuple[str, str]] = []
    for page in api.pages("tasks", type=handler.name, status=["pending", "running"], limit=MOST):
        for item in page.value["items"]:
            task = api.get("tasks", item["id"]).value
            if "payload" in (task.get("hidden") or []):
                checked.hidden = True
                return
            checked.tried += 1
            try:
                handler.arguments(msgspec.json.encode(task["payload"]).decode())
            except Exception as error:  # msgspec's, or whatever a user's own type raises while it is made
                unread.append((item["id"], str(error)))
    if unread:
        (task_id, why), count = unread[0], len(unread)
        checked.problems.append(f"{count} of {checked.tried} waiting tasks cannot be read, such as {task_id}: {why}")
