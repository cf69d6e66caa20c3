"""Messages between a worker and its handlers' processes: frames of a length and msgpack, over a socket of their own.

Outcomes travel, not exceptions: the worker may lack what it needs to rebuild a user's exception.
"""

import struct
from typing import Final, Literal

import msgspec

from waggle.task import Done, Failed, Snoozed
from waggle_worker.attempt_log import LogLimits

HEAD: Final = struct.Struct("!I")  # the length of what follows
FRAME_BYTES: Final = 16 << 20


class Job(msgspec.Struct, frozen=True):
    """What a process needs before it can run handlers."""

    app: str
    log_level: Literal["debug", "info", "warning", "error"]
    log_format: Literal["json", "console"]
    log_limits: LogLimits
    max_tasks: int
    max_memory: int
    versions: dict[str, str]  # of the types that run in processes, as the worker announced them


class Ready(msgspec.Struct, frozen=True, tag=True):
    """The user's module is imported; tasks may come."""


class OtherCode(msgspec.Struct, frozen=True, tag=True):
    """The user's code is another one than when the worker started: these types differ. The process ends."""

    types: list[str]


class Began(msgspec.Struct, frozen=True, tag=True):
    """The handler starts now: its timeout counts from here."""


class Wrote(msgspec.Struct, frozen=True, tag=True):
    """What the handler has logged, as JSON; the outcome follows."""

    logs: str


class Leaves(msgspec.Struct, frozen=True, tag=True):
    """The process takes no further task; the outcome of this one follows. `tasks`: that it ran; `memory`: bytes that it takes; `left`: its children."""

    reason: Literal["tasks", "memory", "children"]
    tasks: int
    memory: int
    left: int


Message = Ready | OtherCode | Began | Wrote | Leaves | Done | Failed | Snoozed

encode: Final = msgspec.msgpack.Encoder().encode
read: Final = msgspec.msgpack.Decoder(Message).decode


def frame(message: msgspec.Struct) -> bytes:
    body = encode(message)
    return HEAD.pack(len(body)) + body


def size(head: bytes) -> int:
    """The length in a head. Raises ValueError for an impossible one: a handler wrote into the socket."""
    length: int = HEAD.unpack(head)[0]
    if length > FRAME_BYTES:
        raise ValueError(f"a frame of {length} bytes")
    return length
