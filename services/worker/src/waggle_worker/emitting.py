"""What handlers emit (`ctx.emit`): told live on `waggle.stream.<id>`, and the last of it kept with the attempt."""

import asyncio
import collections
import threading
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from waggle import json_text
from waggle.bus import subjects
from waggle.bus.connection import Bus
from waggle.task import Claimed

KEPT: Final = 20  # values of an attempt
KEPT_BYTES: Final = 16 << 10
VALUE_BYTES: Final = 64 << 10
WAITING: Final = 10_000  # values that wait to be sent; the oldest go first

Masked = Callable[[str], str]


class Emitter:
    """Sends what handlers of this worker emit, many values at once. `send` may be called in any thread."""

    def __init__(self, bus: Bus, loop: asyncio.AbstractEventLoop) -> None:
        self._bus, self._loop = bus, loop
        self._waiting: collections.deque[tuple[str, bytes]] = collections.deque(maxlen=WAITING)
        self._flushing: asyncio.Task[None] | None = None
        self._thread = threading.get_ident()

    def send(self, task_id: UUID, data: bytes) -> None:
        self._waiting.append((subjects.stream(task_id), data))
        if threading.get_ident() == self._thread:
            self._begin()
        else:
            self._loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        if self._flushing is None or self._flushing.done():
            self._flushing = self._loop.create_task(self._flush())

    async def _flush(self) -> None:
        while self._waiting:
            messages = [self._waiting.popleft() for _ in range(len(self._waiting))]
            await self._bus.publish_all(messages)
            await asyncio.sleep(0)


class Emissions:
    """The values of one attempt. One thread, or one event loop, emits; others may read."""

    __slots__ = ("_bytes", "_claimed", "_emitter", "_kept", "_masked", "_number")

    def __init__(self, claimed: Claimed, emitter: Emitter, masked: Masked | None) -> None:
        self._claimed, self._emitter, self._masked = claimed, emitter, masked
        self._kept: collections.deque[bytes] = collections.deque()
        self._bytes = self._number = 0

    def emit(self, value: Any) -> "Emitted":
        """Raises TypeError or ValueError for a value that is no JSON, ValueError for one over VALUE_BYTES."""
        text = json_text.encode(value)
        if len(text) > VALUE_BYTES:
            raise ValueError(f"ctx.emit: the value has {len(text)} bytes of JSON, {VALUE_BYTES} are allowed")
        if self._masked is not None:
            text = self._masked(text.decode()).encode()
        at = datetime.now(UTC)
        data = msgspec.json.encode({"attempt": self._claimed.attempt, "number": self._number, "at": at, "value": msgspec.Raw(text)})
        self._number += 1
        self._kept.append(data)
        self._bytes += len(data)
        while len(self._kept) > KEPT or (self._bytes > KEPT_BYTES and len(self._kept) > 1):
            self._bytes -= len(self._kept.popleft())
        self._emitter.send(self._claimed.id, data)
        return DONE

    def text(self) -> str | None:
        """The last values as a JSON array; None without one, or where the last alone is too large to keep."""
        kept = [data for data in list(self._kept) if len(data) <= KEPT_BYTES]
        return "[" + b",".join(kept).decode() + "]" if kept else None


class Emitted:
    """`await ctx.emit(…)` lets other work go on; without `await` nothing is missing."""

    def __await__(self) -> Generator[None, None, None]:
        yield


DONE: Final = Emitted()
