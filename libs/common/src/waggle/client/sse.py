"""Server-sent events, read from bytes (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec


class TaskSign(NamedTuple):
    """An event of a stream: its id and its name, empty where it has none, and its data."""

    id: str
    name: str
    data: Any


class EventReader:
    """Splits the bytes of a stream into events. Waggle ends lines with a line feed, and its data is JSON in one line."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[TaskSign]:
        """The events that are complete now; comments, which only show that the stream lives, are none."""
        *blocks, self._rest = (self._rest + data).split(b"\n\n")
        for block in blocks:
            fields = {}
            for line in block.decode().split("\n"):
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
            if "data" in fields:
                yield TaskSign(fields.get("id", ""), fields.get("event", ""), msgspec.json.decode(fields["data"]))
