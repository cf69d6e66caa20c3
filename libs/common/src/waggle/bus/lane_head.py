"""The oldest doorbell and the free room of a lane: one request each, to the leader of the stream."""

import base64
from datetime import datetime

from waggle.bus import subjects
from waggle.bus.connection import Bus, UnexpectedReply
from waggle.bus.jetstream import NO_MESSAGE, api_request


async def oldest_rung_at(bus: Bus, queue: str, priority: int) -> datetime | None:
    """When the oldest doorbell of the lane was rung; None for an empty lane. Raises one of NATS_OUTAGE for any other reply."""
    answer = await api_request(bus, subjects.GET_MESSAGE, {"seq": 0, "next_by_subj": subjects.work(queue, priority)})
    if "error" in answer:
        if answer["error"].get("err_code") == NO_MESSAGE:
            return None
        raise UnexpectedReply(str(answer["error"]))
    try:
        return subjects.rung_at(base64.b64decode(answer["message"].get("data", "")))
    except ValueError as error:
        raise UnexpectedReply(str(error)) from error


async def room(bus: Bus, queue: str, priority: int) -> int:
    """How many more doorbells the lane can hold. Raises one of NATS_OUTAGE."""
    subject = subjects.work(queue, priority)
    answer = await api_request(bus, subjects.STREAM_INFO, {"subjects_filter": subject})
    if "error" in answer:
        raise UnexpectedReply(str(answer["error"]))
    held = (answer["state"].get("subjects") or {}).get(subject, 0)
    return max(0, int(answer["config"]["max_msgs_per_subject"]) - int(held))
