"""The check of new tasks at the door: against the catalogue, against each other, against what Postgres can store.

A task of an unknown type is refused, or accepted with the built-in defaults when `WAGGLE_UNKNOWN_TYPES=accept` (for producers that deploy before
their workers). A queue must be known in any case: nobody would serve another one, and a typing error would wait for ever. An unknown name is
looked up anew before it is refused, so that a type can be used as soon as its worker has announced it.
"""

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import uuid_utils
from asyncpg.pgproto.pgproto import UUID
from msgspec import Raw

from waggle import nesting
from waggle.field_errors import NUL, UNREADABLE, Findings, holds_nul
from waggle.store.tasks import NewTask
from waggle.submission import METADATA_LIMIT, NOTHING, CreateTask, priority_of, read_many, read_one
from waggle.task import DEFAULT_MAX_RETRIES, DEFAULT_QUEUE, DEFAULT_TIMEOUT, PAYLOAD_LIMIT, TYPE_LENGTH, TYPE_PATTERN, Priority
from waggle_api.refusals import Malformed
from waggle_api.submit.catalogue import Catalogue, KnownType

FEW: Final = 10
CLOCKS_AGREE: Final = 1.0  # seconds
THOROUGH: Final = 128 << 10  # of a larger payload only the first error is told: to find them all takes up to a second a megabyte
_decode: Final = msgspec.json.Decoder().decode
_type_name: Final = re.compile(TYPE_PATTERN)
_power: Final = re.compile(rb"[0-9][eE][+-]?[0-9]")


class Admission:
    """What may come in. `accept_unknown` lets in types that the catalogue does not have."""

    def __init__(self, catalogue: Catalogue, *, accept_unknown: bool) -> None:
        self._catalogue, self._accept_unknown = catalogue, accept_unknown

    async def one(self, body: bytes, submitter: str) -> list[NewTask]:
        """The task of a body, as a list of one. Raises Malformed, Invalid with every error, or one of OUTAGE."""
        return await self._admit(body, submitter, lambda findings: [read_one(body, findings)], is_batch=False)

    async def many(self, body: bytes, submitter: str) -> list[NewTask]:
        """The tasks of a batch, all or none."""
        return await self._admit(body, submitter, lambda findings: read_many(body, findings), is_batch=True)

    def check_payload(self, raw: Raw, task_type: str, findings: Findings) -> None:
        """Tell what is wrong with a payload for a task that is there already; of a type that nobody knows, only its form is checked. Raises Malformed."""
        try:
            _payload(raw, self._catalogue.types.get(task_type, UNKNOWN), findings)
        except UNREADABLE as error:
            raise Malformed(_told(error)) from error
        if holds_nul(raw):
            findings.add("payload", NUL)

    async def _admit(self, body: bytes, submitter: str, read: Callable[[Findings], list[CreateTask]], *, is_batch: bool) -> list[NewTask]:
        findings, tasks = self._check(body, submitter, read, is_batch)
        if findings.unknown_name:
            await self._catalogue.newer()
            findings, tasks = self._check(body, submitter, read, is_batch)
        findings.check()
        return tasks

    def _check(self, body: bytes, submitter: str, read: Callable[[Findings], list[CreateTask]], is_batch: bool) -> tuple[Findings, list[NewTask]]:
        findings, tasks = Findings(), []
        may_hold_nul = b"\\" in body and b"\\u0000" in body  # anything else that stands for it is not JSON; a single byte is found fifty times faster
        now = self._catalogue.now()
        time_of_ids = _time_of_ids(now)
        try:
            for index, create in enumerate(read(findings)):
                if is_batch:
                    findings.prefix = f"tasks[{index}]."
                tasks.append(self._task(create, submitter, now, time_of_ids, findings))
                if may_hold_nul:
                    _find_nul(create, findings)
                if findings.full:
                    break
        except UNREADABLE as error:
            raise Malformed(_told(error)) from error
        return findings, tasks

    def _task(self, create: CreateTask, submitter: str, now: datetime, time_of_ids: int | None, findings: Findings) -> NewTask:
        known = self._catalogue.types.get(create.type) or self._unknown(create.type, findings)
        return NewTask(
            UUID(uuid_utils.uuid7(nanoseconds=time_of_ids).bytes),  # this UUID is a uuid.UUID made in C
            create.type,
            known.queue if create.queue is None else self._queue(create.queue, findings),
            Priority.MEDIUM if create.priority is None else _priority(create.priority, findings),
            create.description or "",
            _payload(create.payload, known, findings),
            "{}" if create.metadata is NOTHING else _metadata(create.metadata, findings),
            *_times(create, now, findings),
            known.max_retries if create.max_retries is None else create.max_retries,
            known.timeout if create.timeout is None else create.timeout,
            create.unique_key,
            submitter,
        )

    def _unknown(self, name: str, findings: Findings) -> KnownType:
        if name and not (_type_name.fullmatch(name) and len(name) <= TYPE_LENGTH):
            findings.add("type", f"must have at most {TYPE_LENGTH} characters and match {TYPE_PATTERN}")
        elif name and not self._accept_unknown:
            findings.unknown_name = True
            findings.add("type", "no worker has announced this type" + _hint(name, self._catalogue.types, findings))
        return UNKNOWN

    def _queue(self, name: str, findings: Findings) -> str:
        if name not in self._catalogue.queues:
            findings.unknown_name = True
            findings.add("queue", "is not known" + _hint(name, self._catalogue.queues, findings))
        return name


def _time_of_ids(now: datetime) -> int | None:
    """The time for new ids in nanoseconds, so that a wrong clock of this machine puts no task to a wrong place in the lists (see waggle.store.lists.SLACK).

    None where its clock agrees with the database's: then ids also ascend within a millisecond.
    """
    there = now.timestamp()
    return None if abs(there - time.time()) < CLOCKS_AGREE else int(there * 1e9)


UNKNOWN: Final = KnownType("", DEFAULT_QUEUE, DEFAULT_MAX_RETRIES, DEFAULT_TIMEOUT, None)


def _hint(name: str, known: Mapping[str, object], findings: Findings) -> str:
    """The nearest known name, and all of them when they are few."""
    return findings.propose(name, known.keys()) + (f"; known are {', '.join(sorted(known))}" if 0 < len(known) <= FEW else "")


def _priority(value: int | str, findings: Findings) -> int:
    try:
        return priority_of(value)
    except ValueError as error:
        findings.add("priority", str(error))
        return Priority.MEDIUM


def _payload(raw: Raw, known: KnownType, findings: Findings) -> str:
    text, value = _object(raw, "payload", PAYLOAD_LIMIT, findings)
    if value is not None and not known.fits(value):
        known.find(value, "payload", findings, all_errors=len(raw) <= THOROUGH)
    return text


def _metadata(raw: Raw, findings: Findings) -> str:
    """Metadata are jsonb, which writes every number out: nine bytes such as `1e-16000` come back as sixteen thousand, in every listing and claim."""
    text, value = _object(raw, "metadata", METADATA_LIMIT, findings)
    if value is not None and _power.search(raw) and _written_out(raw) > METADATA_LIMIT:
        findings.add("metadata", f"has more than {METADATA_LIMIT} bytes of JSON once its numbers are written without exponents")
        return "{}"
    return text


def _written_out(raw: Raw) -> float:
    """About how many bytes a JSON text has once its numbers are written without exponents."""
    size = float(len(raw))

    def count(number: str) -> float:
        nonlocal size
        size += abs(float(number.lower().partition("e")[2] or 0))
        return 0.0

    msgspec.json.Decoder(float_hook=count).decode(raw)
    return size


def _object(raw: Raw, field: str, limit: int, findings: Findings) -> tuple[str, dict[str, Any] | None]:
    """A JSON object as its text and its value; the value is None, and told, when it is none or too large. Raises one of UNREADABLE."""
    nesting.check(raw)
    value = _decode(raw)
    if value is None:
        return "{}", {}
    if not isinstance(value, dict):
        findings.add(field, "must be an object")
        return "{}", None
    if len(raw) > limit:
        findings.add(field, f"has {len(raw)} bytes of JSON, {limit} are allowed")
        return "{}", None
    return str(raw, "utf-8"), value


def _times(create: CreateTask, now: datetime, findings: Findings) -> tuple[datetime | None, float, datetime | None]:
    """`run_at`, `delay` and `deadline`, by the database's clock."""
    if create.run_at is None and create.deadline is None:
        return None, create.delay or 0.0, None
    run_at, deadline = _utc(create.run_at, "run_at", findings), _utc(create.deadline, "deadline", findings)
    if run_at is not None and create.delay is not None:
        findings.add("delay", "give run_at or delay, not both")
    starts = max(now, run_at) if run_at is not None else now + timedelta(seconds=create.delay or 0.0)
    if deadline is not None and deadline <= now:
        findings.add("deadline", "must be in the future")
    elif deadline is not None and deadline <= starts:
        findings.add("deadline", "must be later than the time at which the task may run")
    return run_at, create.delay or 0.0, deadline


def _utc(moment: datetime | None, field: str, findings: Findings) -> datetime | None:
    """The edges of the calendar are left out: asyncpg stores its first and last instant as infinities, and readers add their time zone."""
    if moment is not None and not 1 < moment.year < 9999:
        findings.add(field, "is outside the years 2 to 9998")
        return None
    return None if moment is None else moment.astimezone(UTC)


def _find_nul(create: CreateTask, findings: Findings) -> None:
    """By the text, not by its value: a walk through a large payload would hold up everybody."""
    for field in ("description", "unique_key"):
        if "\x00" in (getattr(create, field) or ""):
            findings.add(field, NUL)
    for field in ("payload", "metadata"):
        if holds_nul(getattr(create, field)):
            findings.add(field, NUL)


def _told(error: Exception) -> str:
    match error:
        case RecursionError():
            return f"the body is nested too deeply: {nesting.LEVELS} levels are allowed"
        case UnicodeDecodeError():
            return "the body is not UTF-8"
        case _:
            return f"the body is not JSON that can be kept: {error}"
