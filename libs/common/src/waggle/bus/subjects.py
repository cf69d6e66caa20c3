"""Every subject, stream and consumer name, and the encoding of the messages. No other module builds one."""

import hashlib
import re
import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Annotated, Final, NamedTuple
from uuid import UUID

import msgspec
from asyncpg.pgproto.pgproto import UUID as FastUUID  # noqa: N811  # a uuid.UUID made in C: one is made for each doorbell

from waggle.task import AT_REST, QUEUE_LENGTH, QUEUE_PATTERN, TYPE_LENGTH, TYPE_PATTERN, Priority, Status

WORK_STREAM: Final = "WAGGLE_WORK"
WORK_ALL: Final = "waggle.work.>"
PROBE: Final = "waggle.work._probe"  # no lane: a message that is stored to see whether the stream stores, and removed
GET_MESSAGE: Final = f"$JS.API.STREAM.MSG.GET.{WORK_STREAM}"
STREAM_INFO: Final = f"$JS.API.STREAM.INFO.{WORK_STREAM}"
ACCOUNT_INFO: Final = "$JS.API.INFO"
CONSUMER_NAMES: Final = f"$JS.API.CONSUMER.NAMES.{WORK_STREAM}"
GET_MESSAGES: Final = f"$JS.API.DIRECT.GET.{WORK_STREAM}"  # in batches
DELETE_MESSAGE: Final = f"$JS.API.STREAM.MSG.DELETE.{WORK_STREAM}"
PURGE: Final = f"$JS.API.STREAM.PURGE.{WORK_STREAM}"
SETTLED: Final = "waggle.settled"
DUE: Final = "waggle.due"  # a task without a doorbell is due now or in a moment: schedulers look
CONTROL_ALL: Final = "waggle.control.all"
CONTROL_ANY: Final = "waggle.control.*"
LOGS_ANY: Final = "waggle.logs.*"
CONSUMER_INFO_ANY: Final = f"$JS.API.CONSUMER.INFO.{WORK_STREAM}.*"
CONSUMER_CREATE_ANY: Final = f"$JS.API.CONSUMER.DURABLE.CREATE.{WORK_STREAM}.*"
NEXT_MESSAGE_ANY: Final = f"$JS.API.CONSUMER.MSG.NEXT.{WORK_STREAM}.*"
OLD_ACK_PARTS: Final = 9  # of an ack subject without domain and account
ACK_ANY: Final = f"$JS.ACK.{WORK_STREAM}.>"
MICRO_ALL: Final = "$SRV.>"  # how tools find NATS micro services
PRIMARY: Final = "waggle.primary"  # services tell each other which Postgres they work with; nobody else needs to publish it

# Commands to the dlq service, by the names of their endpoints (see bus.dlq_commands).
DLQ_SERVICE: Final = "waggle-dlq"
DLQ_ALL: Final = "waggle.rpc.dlq.*"
DLQ_RETRY: Final = "waggle.rpc.dlq.retry"
DLQ_REMOVE: Final = "waggle.rpc.dlq.remove"
DLQ_CLEANUP: Final = "waggle.rpc.dlq.cleanup"
DLQ_REDRIVE: Final = "waggle.rpc.dlq.redrive"
DLQ_CHANGING_REDRIVE: Final = "waggle.rpc.dlq.changing_redrive"
DLQ_CANCEL: Final = "waggle.rpc.dlq.cancel"

# What happened to tasks.
EVENTS_STREAM: Final = "WAGGLE_EVENTS"
EVENTS_ALL: Final = "waggle.event.>"
GET_EVENTS: Final = f"$JS.API.DIRECT.GET.{EVENTS_STREAM}"

# What handlers emit.
STREAMS_STREAM: Final = "WAGGLE_STREAMS"
STREAMS_ALL: Final = "waggle.stream.*"
GET_STREAMS: Final = f"$JS.API.DIRECT.GET.{STREAMS_STREAM}"

# Tasks that publishers hand over, and what could not be accepted of it.
SUBMIT_STREAM: Final = "WAGGLE_SUBMIT"
SUBMIT_ALL: Final = "waggle.submit.>"
INGEST: Final = "ingest"  # the durable consumer that all APIs share
NEXT_SUBMITTED: Final = f"$JS.API.CONSUMER.MSG.NEXT.{SUBMIT_STREAM}.{INGEST}"
CREATE_INGEST: Final = f"$JS.API.CONSUMER.DURABLE.CREATE.{SUBMIT_STREAM}.{INGEST}"
INGEST_INFO: Final = f"$JS.API.CONSUMER.INFO.{SUBMIT_STREAM}.{INGEST}"
ACK_PREFIX: Final = "$JS.ACK."
ACK_SUBMITTED: Final = f"$JS.ACK.{SUBMIT_STREAM}.>"
REJECTED_STREAM: Final = "WAGGLE_REJECTED"
REJECTED_ALL: Final = "waggle.rejected.>"
GET_REJECTED: Final = f"$JS.API.DIRECT.GET.{REJECTED_STREAM}"
DELETE_REJECTED: Final = f"$JS.API.STREAM.MSG.DELETE.{REJECTED_STREAM}"
NOBODY: Final = "unknown"  # stands for a publisher or a type that a subject does not name

# What callers ask for by request and reply, by the names of its endpoints.
API_SERVICE: Final = "waggle"
RPC_ALL: Final = "waggle.rpc.*"
RPC_VERBS: Final = ("submit", "submit_batch", "get", "cancel", "stats", "explain")

RATES_STREAM: Final = "WAGGLE_RATES"
STREAMS: Final = (WORK_STREAM, SUBMIT_STREAM, REJECTED_STREAM, RATES_STREAM, EVENTS_STREAM, STREAMS_STREAM, "KV_waggle_breakers")
RATES_ALL: Final = "waggle.rate.>"  # counters: see bus.counters

BREAKERS_STREAM: Final = "KV_waggle_breakers"  # the stream of the KV bucket `waggle_breakers`
BREAKERS_ALL: Final = "$KV.waggle_breakers.>"
BREAKERS_INFO: Final = f"$JS.API.STREAM.INFO.{BREAKERS_STREAM}"
BREAKERS_GET: Final = f"$JS.API.STREAM.MSG.GET.{BREAKERS_STREAM}"

_QUEUE: Final = re.compile(QUEUE_PATTERN)
_TYPE: Final = re.compile(TYPE_PATTERN)
_KEY: Final = str.maketrans(":.", "=/")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
IDS_LIMIT: Final = 64  # of one doorbell
_ID_BYTES: Final = 16
_RUNG: Final = struct.Struct(">q")  # rung_at in microseconds since 1970
_ENDED: Final = struct.Struct(">16sB")  # the task's id; the place of its status in ENDED
ENDED: Final = tuple(sorted(AT_REST))


@cache
def fits(queue: str) -> bool:
    """Whether a queue's name is valid, so that it can be in a subject, name a consumer and be served. A task inserted by SQL may have any name."""
    return len(queue) <= QUEUE_LENGTH and bool(_QUEUE.fullmatch(queue))


@cache
def work(queue: str, priority: int) -> str:
    """The subject of a lane."""
    return f"waggle.work.{queue}.{Priority(priority).name.lower()}"


def submit(publisher: str, task_type: str = ">") -> str:
    """Where a publisher hands over tasks of a type, or of all."""
    return f"waggle.submit.{publisher}.{task_type}"


def read_submit(subject: str) -> tuple[str, str] | None:
    """The publisher and the type of a subject; None if it does not name both."""
    publisher, _, task_type = subject.removeprefix("waggle.submit.").partition(".")
    return (publisher, task_type) if fits(publisher) and names(task_type) else None


def rejected(publisher: str, task_type: str) -> str:
    """Where a submission of theirs goes that could not be accepted."""
    return f"waggle.rejected.{publisher}.{task_type}"


def events(status: str | None, task_id: UUID | None, task_type: str | None) -> str:
    """Those of a status, a task or a type; None: all."""
    return f"waggle.event.{status or '*'}.{task_id or '*'}.{task_type or '>'}"


def stream(task_id: UUID) -> str:
    """Where a worker announces the values that the handler of a task emits."""
    return f"waggle.stream.{task_id}"


def event(status: Status, task_id: UUID, task_type: str) -> str:
    """Where it is published that a task got this status."""
    return f"waggle.event.{status}.{task_id}.{task_type}"


@cache
def names(task_type: str) -> bool:
    """Whether a type's name is valid, so that it can be in a subject. A task inserted by SQL may have any."""
    return len(task_type) <= TYPE_LENGTH and bool(_TYPE.fullmatch(task_type))


def rpc(verb: str) -> str:
    return f"waggle.rpc.{verb}"


def rate(policy: str, who: str, minute: int) -> str:
    """The counter of a client's minute. Whoever it is, their name is no part of a subject."""
    return f"waggle.rate.{policy}.{hashlib.sha256(who.encode()).hexdigest()[:24]}.{minute}"


@cache
def consumer(queue: str, priority: int) -> str:
    """The durable consumer of a lane; a name cannot hold dots, and the priority always follows the last dash."""
    return f"{queue}-{Priority(priority).name.lower()}"


def lane(subject: str) -> tuple[str, Priority] | None:
    """The lane of a subject; None for other subjects."""
    queue, _, name = subject.removeprefix("waggle.work.").partition(".")
    return (queue, Priority[name.upper()]) if name.upper() in Priority.__members__ and subject == work(queue, Priority[name.upper()]) else None


def stream_request(verb: str, stream: str) -> str:
    """The JetStream API subject for a request about a stream: INFO, CREATE, UPDATE."""
    return f"$JS.API.STREAM.{verb}.{stream}"


def consumer_info(queue: str, priority: int) -> str:
    """The JetStream API subject for the info of a consumer."""
    return f"$JS.API.CONSUMER.INFO.{WORK_STREAM}.{consumer(queue, priority)}"


def next_message(queue: str, priority: int) -> str:
    """The JetStream API subject for requesting doorbells of a lane."""
    return f"$JS.API.CONSUMER.MSG.NEXT.{WORK_STREAM}.{consumer(queue, priority)}"


def breaker(name: str) -> str:
    """The key of a circuit breaker in the bucket. Keys hold no colon, and subjects no dot at an end: they become `=` and `/`, which no name holds."""
    return f"$KV.waggle_breakers.{name.translate(_KEY)}"


def control(worker_id: str) -> str:
    """The control subject of a worker."""
    return f"waggle.control.{worker_id}"


def logs(worker_id: str) -> str:
    """Where a worker is asked what a running handler has logged."""
    return f"waggle.logs.{worker_id}"


def logs_request(task_id: UUID, attempt: int) -> bytes:
    return msgspec.json.encode((task_id, attempt))


def read_logs_request(data: bytes) -> tuple[UUID, int]:
    """Raises msgspec.DecodeError."""
    return msgspec.json.decode(data, type=tuple[UUID, int])


def doorbell(tasks: Sequence[UUID], rung: datetime) -> bytes:
    """The doorbell of one task, or of up to IDS_LIMIT of a lane: their ids, then when they were rung (the earliest of them)."""
    return b"".join([task.bytes for task in tasks]) + _RUNG.pack((rung - _EPOCH) // _MICROSECOND)


def read_doorbell(data: bytes) -> list[UUID]:
    """The tasks of a doorbell. Raises ValueError for a malformed one."""
    end = _end_of_ids(data)
    return [FastUUID(data[start : start + _ID_BYTES]) for start in range(0, end, _ID_BYTES)]


def rung_at(data: bytes) -> datetime:
    """When a doorbell was rung. Raises ValueError for a malformed one."""
    end = _end_of_ids(data)
    try:
        return _EPOCH + int(_RUNG.unpack(data[end:])[0]) * _MICROSECOND
    except OverflowError as error:
        raise ValueError("a doorbell's time is out of range") from error


def _end_of_ids(data: bytes) -> int:
    end = len(data) - _RUNG.size
    if not _ID_BYTES <= end <= IDS_LIMIT * _ID_BYTES or end % _ID_BYTES:
        raise ValueError(f"a doorbell has {_ID_BYTES} bytes for each of 1 to {IDS_LIMIT} tasks and {_RUNG.size} more, this has {len(data)}")
    return end


def settled(tasks: Iterable[tuple[UUID, Status]]) -> bytes:
    """A settle batch for `waggle.settled`."""
    return b"".join([_ENDED.pack(task_id.bytes, ENDED.index(status)) for task_id, status in tasks])


def read_settled(data: bytes) -> list[UUID]:
    """The tasks of a settle batch."""
    return [UUID(bytes=raw) for raw, _ in _ENDED.iter_unpack(data[: len(data) - len(data) % _ENDED.size])]


class ControlMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message on `waggle.control.…`. Missing fields have no effect; unknown fields (of a newer version) are ignored.

    `stop`: stop these attempts, whose tasks were cancelled or failed. `look`: a queue was paused or resumed; read the pauses from Postgres.
    """

    stop: list[tuple[UUID, int]] = msgspec.field(default_factory=list)
    look: bool = False


def control_message(stop: list[tuple[UUID, int]]) -> bytes:
    return msgspec.json.encode(ControlMessage(stop))


RELOAD_PAUSES: Final = msgspec.json.encode(ControlMessage(look=True))


def read_control_message(data: bytes) -> ControlMessage:
    """Raises msgspec.DecodeError for a malformed message."""
    return msgspec.json.decode(data, type=ControlMessage)


class PrimaryMessage(msgspec.Struct, frozen=True):
    """A message on `waggle.primary`: the system identifier of the sender's Postgres, and its timeline."""

    system: int
    timeline: Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]


def primary_message(system: int, timeline: int) -> bytes:
    return msgspec.json.encode(PrimaryMessage(system, timeline))


def read_primary_message(data: bytes) -> PrimaryMessage:
    """Raises msgspec.DecodeError for a malformed message."""
    return msgspec.json.decode(data, type=PrimaryMessage)


class StreamPlace(NamedTuple):
    """Where a message of a stream stands: its number and when it was stored (nanoseconds since 1970), and how often it was delivered."""

    number: int
    stored: int
    delivered: int


def place(reply: str) -> StreamPlace:
    """Of a message, by its ack subject. Raises ValueError for another subject."""
    parts = reply.split(".")
    first = 4 if len(parts) == OLD_ACK_PARTS else 6
    if not reply.startswith(ACK_PREFIX) or len(parts) < first + 4:
        raise ValueError("not an ack subject")
    return StreamPlace(int(parts[first + 1]), int(parts[first + 3]), int(parts[first]))


def delivered_before(reply: str) -> bool:
    """Whether JetStream has delivered this message before, by its ack subject: `$JS.ACK.<stream>.<consumer>.<delivered>.…`, with two names more in the
    newer form (ADR-15 of nats-architecture-and-design). Reading all of it, as `message.metadata` does, takes ten times as long.
    """
    parts = reply.split(".")
    return parts[4 if len(parts) == OLD_ACK_PARTS else 6] != "1"
