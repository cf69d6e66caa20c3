"""Every subject, stream and consumer name, and the bytes that travel on them. Nothing else builds one."""

import struct
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final
from uuid import UUID

import msgspec
from asyncpg.pgproto.pgproto import UUID as FastUUID  # noqa: N811  # a uuid.UUID made in C: one is made for each doorbell

from waggle.task import AT_REST, Priority, Status

WORK_STREAM: Final = "WAGGLE_WORK"
WORK_ALL: Final = "waggle.work.>"
GET_MESSAGE: Final = f"$JS.API.STREAM.MSG.GET.{WORK_STREAM}"
STREAM_INFO: Final = f"$JS.API.STREAM.INFO.{WORK_STREAM}"
CONSUMER_NAMES: Final = f"$JS.API.CONSUMER.NAMES.{WORK_STREAM}"
SETTLED: Final = "waggle.settled"
CONTROL_ALL: Final = "waggle.control.all"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_DOORBELL: Final = struct.Struct(">16sq")  # the task's id; rung_at in microseconds since 1970
_ENDED: Final = struct.Struct(">16sB")  # the task's id; the place of its status in ENDED
ENDED: Final = tuple(sorted(AT_REST))


@cache
def work(queue: str, priority: int) -> str:
    """The subject of a lane."""
    return f"waggle.work.{queue}.{Priority(priority).name.lower()}"


@cache
def consumer(queue: str, priority: int) -> str:
    """The durable consumer of a lane; a name cannot hold dots, and the priority is always what stands behind the last dash."""
    return f"{queue}-{Priority(priority).name.lower()}"


def next_message(queue: str, priority: int) -> str:
    """Where a worker asks for doorbells of a lane."""
    return f"$JS.API.CONSUMER.MSG.NEXT.{WORK_STREAM}.{consumer(queue, priority)}"


def control(worker_id: str) -> str:
    """Where one worker listens for commands."""
    return f"waggle.control.{worker_id}"


def doorbell(task_id: UUID, rung: datetime) -> bytes:
    return _DOORBELL.pack(task_id.bytes, (rung - _EPOCH) // _MICROSECOND)


def read_doorbell(data: bytes) -> UUID:
    """The task of a doorbell. Raises ValueError for anything that is none."""
    if len(data) != _DOORBELL.size:
        raise ValueError(f"a doorbell has {_DOORBELL.size} bytes, this has {len(data)}")
    return FastUUID(data[:16])


def rung_at(data: bytes) -> datetime:
    """When a doorbell was rung. Raises ValueError for anything that is none."""
    if len(data) != _DOORBELL.size:
        raise ValueError(f"a doorbell has {_DOORBELL.size} bytes, this has {len(data)}")
    try:
        return _EPOCH + int(_DOORBELL.unpack(data)[1]) * _MICROSECOND
    except OverflowError as error:
        raise ValueError("a doorbell's time is out of range") from error


def settled(tasks: Iterable[tuple[UUID, Status]]) -> bytes:
    """A settle batch for `waggle.settled`."""
    return b"".join([_ENDED.pack(task_id.bytes, ENDED.index(status)) for task_id, status in tasks])


def read_settled(data: bytes) -> list[UUID]:
    """The tasks of a settle batch."""
    return [UUID(bytes=raw) for raw, _ in _ENDED.iter_unpack(data[: len(data) - len(data) % _ENDED.size])]


class Command(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `waggle.control.…` carries: stop these attempts, because their tasks were cancelled or failed."""

    stop: list[tuple[UUID, int]]


def command(stop: list[tuple[UUID, int]]) -> bytes:
    return msgspec.json.encode(Command(stop))


def read_command(data: bytes) -> Command:
    """Raises msgspec.DecodeError for anything that is not a command."""
    return msgspec.json.decode(data, type=Command)
