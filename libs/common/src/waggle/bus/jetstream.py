"""Asking JetStream's API what it holds: one request to the stream's leader, one JSON answer."""

from typing import Any, Final

import msgspec

from waggle.bus.connection import Bus, UnexpectedReply

NO_MESSAGE: Final = 10037
NO_STREAM: Final = 10059
NO_CONSUMER: Final = 10014


async def ask(bus: Bus, subject: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """The answer, which may be an error: see its `error`. Raises one of OUTAGE."""
    message = await bus.request(subject, msgspec.json.encode(body or {}))
    try:
        answer = msgspec.json.decode(message.data)
    except msgspec.DecodeError as error:
        raise UnexpectedReply("not JSON") from error
    if not isinstance(answer, dict):
        raise UnexpectedReply("not an object")
    return answer
