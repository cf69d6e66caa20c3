"""Counters that a whole fleet shares: the server adds up what is published to a subject, and answers with the sum.

The stream is in memory and forgets a counter some time after its last change. See https://github.com/nats-io/nats-architecture-and-design (ADR-49).
"""

from typing import Final

import msgspec

from waggle.bus.connection import Bus

SECONDS: Final = 0.5  # for an answer: a request of a client waits for it


class Counted(msgspec.Struct):
    """The answer: the sum, as text, because it may be larger than numbers of JSON. Without one, the publish was refused."""

    val: str = ""


class NotCounted(Exception):
    """The server did not count. It is one of NATS_OUTAGE's kind: nobody knows why."""


async def add(bus: Bus, subject: str, number: int) -> int:
    """Add to a counter, or take away; returns its value. Raises NotCounted, or one of NATS_OUTAGE."""
    answer = await bus.request(subject, b"", SECONDS, headers={"Nats-Incr": f"{number:+d}"})
    try:
        return int(msgspec.json.decode(answer.data, type=Counted).val)
    except (msgspec.DecodeError, ValueError) as error:
        raise NotCounted(answer.data.decode(errors="replace")[:200]) from error
