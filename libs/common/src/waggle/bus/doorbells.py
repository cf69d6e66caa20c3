"""Reads all doorbells in the stream without consuming them: a work queue allows no second consumer."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from nats.aio.msg import Msg

from waggle.bus import stored, subjects
from waggle.bus.connection import Bus, UnexpectedReply
from waggle.bus.jetstream import NO_CONSUMER, NO_STREAM, api_request


class Stream(NamedTuple):
    """The stream: doorbells by subject, the number of the last one, and the limit of a lane."""

    held: dict[str, int]
    last: int
    lane_limit: int


class QueuedDoorbell(NamedTuple):
    """A doorbell in the stream: its number and its tasks (none for a malformed message)."""

    number: int
    tasks: list[UUID]
    data: bytes

    @property
    def rung_at(self) -> datetime | None:
        try:
            return subjects.rung_at(self.data)
        except ValueError:
            return None


async def stream(bus: Bus) -> Stream:
    """The stream; a missing one is empty. Raises one of NATS_OUTAGE, also when it cannot be read."""
    answer = await api_request(bus, subjects.STREAM_INFO, {"subjects_filter": subjects.WORK_ALL})
    if "error" in answer:
        if answer["error"].get("err_code") == NO_STREAM:
            return Stream({}, 0, 0)
        raise UnexpectedReply(str(answer["error"]))
    if not answer["config"].get("allow_direct"):
        raise UnexpectedReply(f"{subjects.WORK_STREAM} was created by an older version and cannot be read: run `waggle migrate`")
    return Stream(answer["state"].get("subjects") or {}, int(answer["state"]["last_seq"]), int(answer["config"]["max_msgs_per_subject"]))


async def walk(bus: Bus, subject: str, last: int) -> AsyncIterator[list[QueuedDoorbell]]:
    """The doorbells of a subject up to number `last`, in batches, oldest first. Raises one of NATS_OUTAGE."""
    async for messages in stored.walk(bus, subjects.GET_MESSAGES, subject, last):
        yield [_read(message) for message in messages]


async def is_awaited(bus: Bus, queue: str, priority: int) -> bool:
    """Whether a worker with a free slot waits for doorbells of this lane. Raises one of NATS_OUTAGE."""
    answer = await api_request(bus, subjects.consumer_info(queue, priority))
    if "error" in answer:
        if answer["error"].get("err_code") in (NO_CONSUMER, NO_STREAM):
            return False
        raise UnexpectedReply(str(answer["error"]))
    return int(answer["num_waiting"]) > 0


async def delete(bus: Bus, number: int) -> bool:
    """Delete a doorbell from the stream; False when it is gone already. Raises one of NATS_OUTAGE."""
    return "error" not in await api_request(bus, subjects.DELETE_MESSAGE, {"seq": number, "no_erase": True})


def _read(message: Msg) -> QueuedDoorbell:
    number = stored.number(message)
    try:
        return QueuedDoorbell(number, subjects.read_doorbell(message.data), message.data)
    except ValueError:
        return QueuedDoorbell(number, [], message.data)
