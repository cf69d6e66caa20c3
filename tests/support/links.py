"""A worker's connection to NATS, controlled by a test: each request waits until the test passes it on or drops it, or its reply.

The connection, the server and the calling code are real. The test also controls time: the server's clock in each reply is `Clock`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
import nats.errors
from nats.aio.msg import Msg

from waggle.bus import subjects
from waggle.bus.connection import Bus, Callback

T = TypeVar("T")

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
GO, LOST, ANSWER_LOST = "go", "lost", "answer lost"


@dataclass
class Clock:
    """Seconds since the test began; replaces the module `time` in the code under test."""

    now: float = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def moment(self, seconds: float) -> str:
        return (NOON + timedelta(seconds=seconds)).isoformat()


@dataclass(eq=False)
class Gate:
    """Where a request or its reply waits."""

    what: str
    has_left: bool
    fate: "asyncio.Future[str]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Link(Bus):
    """A bus over another bus. While stepped, requests wait in `gates`; otherwise all pass, or none while `away`."""

    def __init__(self, real: Bus, clock: Clock) -> None:
        super().__init__([], "link")
        self._real, self._clock = real, clock
        self.away = False
        self.stepped: set[asyncio.Task[Any] | None] = set()  # tasks whose requests wait
        self.gates: list[Gate] = []

    @property
    def connected(self) -> bool:
        return not self.away

    async def subscribe(self, subject: str, callback: Callback) -> None:
        """Deliver nothing: the test decides when the code polls."""

    async def request(self, subject: str, data: bytes = b"", seconds: float = 2.0) -> Msg:
        asked = self._clock.now
        answer = await self._through(subject, lambda: self._real.request(subject, data, seconds))
        if subject == subjects.BREAKERS_INFO:
            said = msgspec.json.decode(answer.data)
            answer.data = msgspec.json.encode({**said, "ts": self._clock.moment((asked + self._clock.now) / 2)})  # both ways take equally long
        return answer

    def jetstream(self) -> Any:
        return self

    async def publish(self, subject: str, data: bytes, *_: Any, headers: dict[str, Any] | None = None, timeout: float = 2.0) -> Any:
        """A JetStream publish, with its ack."""
        return await self._through(subject, lambda: self._real.jetstream().publish(subject, data, headers=headers, timeout=timeout))

    async def _through(self, what: str, send: Callable[[], Awaitable[T]]) -> T:
        if self.away:
            raise nats.errors.ConnectionClosedError
        is_stepped = asyncio.current_task() in self.stepped
        fate = await self._wait(what, has_left=False) if is_stepped else GO
        if fate == LOST:
            raise TimeoutError
        try:
            answer: T | Exception = await send()
        except nats.errors.Error as error:  # a refusal is a reply, too
            answer = error
        if fate == ANSWER_LOST or (is_stepped and await self._wait(what, has_left=True) == ANSWER_LOST):
            raise TimeoutError
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _wait(self, what: str, *, has_left: bool) -> str:
        gate = Gate(what, has_left)
        self.gates.append(gate)
        try:
            return await gate.fate
        finally:
            self.gates.remove(gate)
