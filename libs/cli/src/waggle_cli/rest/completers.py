"""Names for the shell's completion, from a running API within a second, or none. Nothing here may print or fail: it runs while somebody types."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from waggle_cli.rest.address import find
from waggle_cli.rest.client import Api
from waggle_cli.rest.errors import ApiError, Unreachable, WrongUrl

COMPLETION_TIMEOUT_SECONDS: Final = 1.0
RECENT: Final = 20


def types() -> dict[str, str]:
    return _names(lambda item: (item["name"], f"queue {item['queue']}"), "types")


def queues() -> dict[str, str]:
    return _names(lambda item: (item["name"], "paused" if item["paused"] else f"{item['ready']} ready"), "queues")


def breakers() -> dict[str, str]:
    return _names(lambda item: (item["name"], item["state"]), "breakers")


def tasks() -> dict[str, str]:
    return _names(_task, "tasks", limit=RECENT)


def dead_letters() -> dict[str, str]:
    return _names(_task, "dlq", limit=RECENT)


def _task(item: dict[str, Any]) -> tuple[str, str]:
    return item["id"], f"{item['type']} {item['status']}"


def _names(read: Callable[[dict[str, Any]], tuple[str, str]], *path: str, **params: object) -> dict[str, str]:
    """Names with a word about each. The API is found as by every command, except that --url is not known here."""
    try:
        with Api(find("", os.environ, Path.cwd())) as api:
            return dict(read(item) for item in api.get(*path, timeout=COMPLETION_TIMEOUT_SECONDS, **params).value["items"])
    except (WrongUrl, Unreachable, ApiError, KeyError, TypeError):
        return {}
