"""Polls of tasks for `waggle tasks watch`: by id, or the newest that match a filter."""

import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from waggle_cli.rest.client import Api
from waggle_cli.rest.errors import ApiError, Unreachable, may_pass
from waggle_cli.rest.shapes import AT_REST, UNFINISHED, Reply, TaskJson

WATCH_LIMIT: Final = 200
SHORTEST_PERIOD_SECONDS: Final = 0.1

Poll = list[tuple[TaskJson, bytes]]
"""Tasks, newest first, each with its JSON as it came."""


class _Items(msgspec.Struct):
    items: list[msgspec.Raw]


def raw_items(answer: Reply[Any]) -> list[bytes]:
    """The items of a page, byte for byte."""
    return [bytes(item) for item in msgspec.json.decode(answer.raw, type=_Items).items]


def polls(api: Api, ids: Sequence[str], query: dict[str, Any], limit: int, period: float) -> Iterator[Poll]:
    """A poll every `period` seconds, forever. An outage of the API between two polls is waited out. Raises Unreachable or ApiError."""
    before: Poll | None = None
    while True:
        try:
            before = _by_id(api, ids, before or []) if ids else _by_filter(api, query, limit, before or [])
        except (Unreachable, ApiError) as error:
            if before is None or not may_pass(error):
                raise
        else:
            yield before
        time.sleep(period)


def all_done(api: Api, poll: Poll, query: dict[str, Any], *, by_filter: bool) -> bool:
    """Whether no watched task waits or runs; with a filter, older tasks than those of the poll count too."""
    if any(task["status"] in UNFINISHED for task, _ in poll):
        return False
    wanted = [name for name in UNFINISHED if name in (query["status"] or UNFINISHED)] if by_filter else []
    return not wanted or not api.get("tasks", **{**query, "status": wanted}, limit=1).value["items"]


def _by_id(api: Api, ids: Sequence[str], before: Poll) -> Poll:
    """Tasks that were at rest already are not fetched again."""
    at_rest = {task["id"]: (task, text) for task, text in before if task["status"] in AT_REST}
    return [at_rest.get(id_) or _fetched(api, id_) for id_ in ids]


def _by_filter(api: Api, query: dict[str, Any], limit: int, before: Poll) -> Poll:
    """The newest tasks that match, and those of the poll before that no longer match but had not ended then."""
    answer = api.get("tasks", **query, limit=limit)
    poll: Poll = list(zip(answer.value["items"], raw_items(answer), strict=True))
    present = {task["id"] for task, _ in poll}
    left = [task["id"] for task, _ in before if task["id"] not in present and task["status"] in UNFINISHED]
    return poll + [found for id_ in left[:limit] if (found := _if_exists(api, id_))]


def _fetched(api: Api, id_: str) -> tuple[TaskJson, bytes]:
    answer = api.task(id_)
    return answer.value, answer.raw


def _if_exists(api: Api, id_: str) -> tuple[TaskJson, bytes] | None:
    """None for a task that was purged meanwhile."""
    try:
        return _fetched(api, id_)
    except ApiError as error:
        if error.status == 404:
            return None
        raise
