"""Reads the messages of a stream without consuming them, in batches, as often as somebody likes.

With several replicas an answer may come from one that lags a moment behind.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Final, NamedTuple

import msgspec
from nats.aio.msg import Msg

from waggle.bus.connection import Bus, UnexpectedReply

BATCH: Final = 5_000
BATCH_BYTES: Final = 32 << 20
TIMEOUT_SECONDS: Final = 10.0  # for a batch to arrive


class StoredBatch(NamedTuple):
    """Messages in their order, the number to go on with, and whether the stream held more."""

    messages: list[Msg]
    next: int
    more: bool


def number(message: Msg) -> int:
    """Its number in the stream."""
    return int((message.headers or {})["Nats-Sequence"])


async def read(bus: Bus, get: str, subject: str, first: int, most: int = BATCH) -> StoredBatch:
    """Messages from number `first` on whose subject fits. `get`: the stream's subject for direct reads. Raises one of NATS_OUTAGE."""
    inbox, reader = bus.inbox(), _Reader()
    await bus.subscribe(inbox, reader.take)
    try:
        body = {"seq": first, "next_by_subj": subject, "batch": most, "max_bytes": BATCH_BYTES}
        if not await bus.publish(get, msgspec.json.encode(body), inbox):
            raise ConnectionError("NATS is not connected")
        async with asyncio.timeout(TIMEOUT_SECONDS):
            ended = await reader.end
    finally:
        await bus.unsubscribe(inbox)
    status = ended.get("Status")
    if status not in ("204", "404"):
        raise UnexpectedReply(f"the stream replied {ended}")
    last = int(ended.get("Nats-Last-Sequence", number(reader.messages[-1]) if reader.messages else first - 1))
    return StoredBatch(reader.messages, last + 1, status == "204" and ended.get("Nats-Num-Pending") != "0")


async def walk(bus: Bus, get: str, subject: str, last: int) -> AsyncIterator[list[Msg]]:
    """The messages of a subject up to number `last`, in batches, oldest first. Raises one of NATS_OUTAGE."""
    first, more = 1, True
    while more and first <= last:
        batch = await read(bus, get, subject, first, BATCH)
        if batch.messages:
            yield [message for message in batch.messages if number(message) <= last]
        first, more = batch.next, batch.more


async def one(bus: Bus, get: str, wanted: int) -> Msg | None:
    """The message with a number. Raises one of NATS_OUTAGE."""
    return await _direct(bus, get, {"seq": wanted})


async def latest(bus: Bus, get: str, subject: str) -> Msg | None:
    """The last message whose subject fits. Raises one of NATS_OUTAGE."""
    return await _direct(bus, get, {"last_by_subj": subject})


async def _direct(bus: Bus, get: str, body: dict[str, object]) -> Msg | None:
    message = await bus.request(get, msgspec.json.encode(body))
    status = (message.headers or {}).get("Status")
    if status == "404":
        return None
    if status is not None:
        raise UnexpectedReply(f"the stream replied {message.headers}")
    return message


class _Reader:
    """The messages that arrive in an inbox, until the server reports the end."""

    def __init__(self) -> None:
        self.messages: list[Msg] = []
        self.end: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()

    async def take(self, message: Msg) -> None:
        headers = message.headers or {}
        if "Status" not in headers:
            self.messages.append(message)
        elif not self.end.done():
            self.end.set_result(headers)
