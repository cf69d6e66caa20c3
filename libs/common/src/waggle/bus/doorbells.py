"""Reading the doorbells that lie in the stream, all of them and without taking any: a second consumer cannot stand on a work queue.

With several replicas an answer may come from one that is behind by a moment.
"""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import msgspec
from nats.aio.msg import Msg

from waggle.bus import subjects
from waggle.bus.connection import Bus, UnexpectedReply
from waggle.bus.jetstream import NO_CONSUMER, NO_STREAM, ask

BATCH: Final = 5_000
PATIENCE: Final = 10.0  # seconds for a batch to come


class Stream(NamedTuple):
    """What the stream holds: doorbells by subject, the last one's number, and how many a lane may hold."""

    held: dict[str, int]
    last: int
    lane_limit: int


class Lying(NamedTuple):
    """A doorbell in the stream: its number and its task; None for a message that is no doorbell."""

    number: int
    task: UUID | None
    data: bytes

    @property
    def rung_at(self) -> datetime | None:
        try:
            return subjects.rung_at(self.data)
        except ValueError:
            return None


async def stream(bus: Bus) -> Stream:
    """A stream that is not there holds nothing. Raises one of OUTAGE, also when it may not be read."""
    answer = await ask(bus, subjects.STREAM_INFO, {"subjects_filter": subjects.WORK_ALL})
    if "error" in answer:
        if answer["error"].get("err_code") == NO_STREAM:
            return Stream({}, 0, 0)
        raise UnexpectedReply(str(answer["error"]))
    if not answer["config"].get("allow_direct"):
        raise UnexpectedReply(f"{subjects.WORK_STREAM} is from an older version and does not let itself be read: run `waggle migrate`")
    return Stream(answer["state"].get("subjects") or {}, int(answer["state"]["last_seq"]), int(answer["config"]["max_msgs_per_subject"]))


async def walk(bus: Bus, subject: str, last: int) -> AsyncIterator[list[Lying]]:
    """The doorbells of a subject up to a number, in batches, the oldest first. Raises one of OUTAGE."""
    inbox, batch, ended = bus.inbox(), _Batch(), None
    await bus.subscribe(inbox, batch.take)
    try:
        number = 1
        while number <= last:
            body = {"seq": number, "next_by_subj": subject, "batch": BATCH}
            batch.begin()
            if not await bus.publish(subjects.GET_MESSAGES, msgspec.json.encode(body), inbox):
                raise ConnectionError("NATS went away")
            async with asyncio.timeout(PATIENCE):
                ended = await batch.end
            if ended.get("Status") not in ("204", "404"):
                raise UnexpectedReply(f"the stream's answer was {ended}")
            if batch.messages:
                yield [lying for lying in map(_read, batch.messages) if lying.number <= last]
            number = int(ended.get("Nats-Last-Sequence", last)) + 1
            if ended["Status"] == "404" or ended.get("Nats-Num-Pending") == "0":
                return
    finally:
        await bus.unsubscribe(inbox)


async def is_awaited(bus: Bus, queue: str, priority: int) -> bool:
    """Whether a worker with a free slot waits for this lane's doorbells at the moment. Raises one of OUTAGE."""
    answer = await ask(bus, subjects.consumer_info(queue, priority))
    if "error" in answer:
        if answer["error"].get("err_code") in (NO_CONSUMER, NO_STREAM):
            return False
        raise UnexpectedReply(str(answer["error"]))
    return int(answer["num_waiting"]) > 0


async def remove(bus: Bus, number: int) -> bool:
    """Take a doorbell out of the stream; False when it is not there any more. Raises one of bus.OUTAGE."""
    return "error" not in await ask(bus, subjects.DELETE_MESSAGE, {"seq": number, "no_erase": True})


class _Batch:
    """Messages that come to an inbox, until the server says that there are no more."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        self.messages: list[Msg] = []
        self.end: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()

    async def take(self, message: Msg) -> None:
        headers = message.headers or {}
        if "Status" not in headers:
            self.messages.append(message)
        elif not self.end.done():
            self.end.set_result(headers)


def _read(message: Msg) -> Lying:
    number = int((message.headers or {})["Nats-Sequence"])
    try:
        return Lying(number, subjects.read_doorbell(message.data), message.data)
    except ValueError:
        return Lying(number, None, message.data)
