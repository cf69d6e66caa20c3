"""Names for the shell's completion, asked of a running API: quickly, or none. Nothing here may print or fail: it runs while somebody types."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from waggle_cli.client import Client, Problem, Unreachable, WrongUrl, find

PATIENCE: Final = 1.0
RECENT: Final = 20


def types() -> dict[str, str]:
    return _asked(lambda item: (item["name"], f"queue {item['queue']}"), "types")


def queues() -> dict[str, str]:
    return _asked(lambda item: (item["name"], "paused" if item["paused"] else f"{item['ready']} ready"), "queues")


def breakers() -> dict[str, str]:
    return _asked(lambda item: (item["name"], item["state"]), "breakers")


def tasks() -> dict[str, str]:
    return _asked(_task, "tasks", limit=RECENT)


def dead_letters() -> dict[str, str]:
    return _asked(_task, "dlq", limit=RECENT)


def _task(item: dict[str, Any]) -> tuple[str, str]:
    return item["id"], f"{item['type']} {item['status']}"


def _asked(read: Callable[[dict[str, Any]], tuple[str, str]], *path: str, **params: object) -> dict[str, str]:
    """Names with a word about each; the API is looked for as every command does, but an option --url is not known here."""
    try:
        with Client(find("", os.environ, Path.cwd())) as api:
            return dict(read(item) for item in api.get(*path, timeout=PATIENCE, **params).value["items"])
    except (WrongUrl, Unreachable, Problem, KeyError, TypeError):
        return {}
