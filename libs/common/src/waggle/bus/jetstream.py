"""Requests to the JetStream API: one request to the leader of the stream, one JSON reply."""

from typing import Any, Final

import msgspec
from nats.aio.msg import Msg

from waggle.bus.connection import Bus, UnexpectedReply

NO_MESSAGE: Final = 10037
NO_STREAM: Final = 10059
NO_CONSUMER: Final = 10014


async def api_request(bus: Bus, subject: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """The reply, decoded; it may be an error, in its field `error`. Raises one of NATS_OUTAGE."""
    return reply(await bus.request(subject, msgspec.json.encode(body or {})))


def reply(message: Msg) -> dict[str, Any]:
    """A reply of JetStream, decoded: also the ack of a publish. Raises UnexpectedReply."""
    try:
        answer = msgspec.json.decode(message.data)
    except msgspec.DecodeError as error:
        raise UnexpectedReply("not JSON") from error
    if not isinstance(answer, dict):
        raise UnexpectedReply("not an object")
    return answer
