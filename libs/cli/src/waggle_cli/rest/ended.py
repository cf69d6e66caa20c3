"""Tasks that came to rest, none missed: the list of `updated_after` holds all of them, and events say when to look."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from waggle_cli.rest.client import PAGE_LIMIT, Api
from waggle_cli.rest.errors import ApiError, Unreachable, may_pass
from waggle_cli.rest.shapes import AT_REST
from waggle_cli.rest.watching import raw_items

REMEMBERED: Final = timedelta(seconds=60)  # what came to rest in the last 30 s is listed again


class EndedBatch(NamedTuple):
    """Tasks as JSON, in the order of their ends, and the cursor to go on with once they are taken care of."""

    tasks: list[bytes]
    cursor: str


class EndReader:
    """Reads them from a place on: `{"cursor": …}` or `{"updated_after": …}`. Each end comes once, though the API lists it several times."""

    def __init__(self, api: Api, filters: Mapping[str, Any], place: Mapping[str, str]) -> None:
        self._api, self._filters, self._place = api, filters, place
        self._known: dict[tuple[str, str, int], datetime] = {}

    def until_now(self) -> Iterator[EndedBatch]:
        """All there are by now. Raises ApiError or Unreachable."""
        while True:
            page = self._api.get("tasks", **{**self._filters, **self._place, "limit": PAGE_LIMIT})
            fresh = [text for task, text in zip(page.value["items"], raw_items(page), strict=True) if self._is_new(task)]
            yield EndedBatch(fresh, page.value["next_cursor"])
            self._place = {"cursor": page.value["next_cursor"]}
            self._forget()
            if page.value.get("caught_up"):
                return

    def forever(self) -> Iterator[EndedBatch]:
        """All there are, and those to come. An outage is waited out for a while. Raises ApiError or Unreachable."""
        statuses = self._filters.get("status") or sorted(AT_REST)
        for event in self._api.signs("events", **{**self._filters, "status": statuses}):
            if event is None or _end(event.data) not in self._known:
                try:
                    yield from self.until_now()
                except (ApiError, Unreachable) as error:
                    if not may_pass(error):
                        raise

    def _is_new(self, task: Mapping[str, Any]) -> bool:
        end, is_new = _end(task), _end(task) not in self._known
        self._known[end] = datetime.fromisoformat(task["updated"])
        return is_new

    def _forget(self) -> None:
        if self._known:
            oldest = max(self._known.values()) - REMEMBERED
            self._known = {end: at for end, at in self._known.items() if at >= oldest}


def _end(of: Mapping[str, Any]) -> tuple[str, str, int]:
    """A task comes to rest again when it leaves the dead letter queue."""
    return of["id"], of["status"], of["attempt"]
