"""What a worker and the processes of its handlers say to each other: frames of a length and msgpack, over a socket that nobody else has.

Outcomes travel, not exceptions: what a user's exception needs to be rebuilt may not be there.
"""

import struct
from typing import Final, Literal

import msgspec

from waggle.task import Done, Failed, Snoozed

HEAD: Final = struct.Struct("!I")  # the length of what follows
LONGEST: Final = 16 << 20


class Job(msgspec.Struct, frozen=True):
    """What a process needs before it can run handlers."""

    app: str
    log_level: Literal["debug", "info", "warning", "error"]
    log_format: Literal["json", "console"]


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The user's module is imported: tasks may come."""


class Began(msgspec.Struct, frozen=True, tag=True):
    """The handler starts now: its timeout counts from here."""


Said = Ready | Began | Done | Failed | Snoozed

encode: Final = msgspec.msgpack.Encoder().encode
read: Final = msgspec.msgpack.Decoder(Said).decode


def frame(message: msgspec.Struct) -> bytes:
    body = encode(message)
    return HEAD.pack(len(body)) + body


def size(head: bytes) -> int:
    """The length that a head tells. Raises ValueError for one that cannot be: somebody else wrote into the socket."""
    length: int = HEAD.unpack(head)[0]
    if length > LONGEST:
        raise ValueError(f"a frame of {length} bytes")
    return length
