"""What could not be accepted: kept in the stream WAGGLE_REJECTED as it came, with the reason, until somebody submits it again or a week has passed."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import msgspec
from nats.aio.msg import Msg

from waggle.bus import jetstream, stored, subjects
from waggle.bus.connection import Bus, UnexpectedReply
from waggle.bus.jetstream import NO_MESSAGE, api_request
from waggle.errors import ErrorCode
from waggle.field_errors import FieldError, Invalid
from waggle_api.http import problems
from waggle_api.refusals import UsedKey

REASON: Final = "Waggle-Rejection"
ERRORS_KEPT: Final = 20
HEADERS_KEPT: Final = 64 << 10  # bytes of JSON
DETAIL_LENGTH: Final = 500


class Why(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a message was not accepted, in the words of the REST API, and what it was. `number`: its place in WAGGLE_SUBMIT, `stored` in nanoseconds."""

    publisher: str
    type: str
    subject: str
    status: int
    code: ErrorCode
    detail: str
    number: int
    stored: int
    errors: list[FieldError] = []
    headers: dict[str, str] = {}


class Rejection(msgspec.Struct, frozen=True, omit_defaults=True):
    """A submission that was not accepted. `id`: by which it is submitted again or discarded; `received`: when it was published."""

    id: int
    publisher: str
    type: str
    subject: str
    received: datetime
    status: int
    code: ErrorCode
    detail: str
    size: int
    errors: list[FieldError] | None = None
    headers: dict[str, str] | None = None
    body: str | None = None


def why(message: Msg, place: subjects.StreamPlace, error: Exception) -> Why:
    """The reason as it is kept. It fits into a message beside the largest body."""
    kind, detail, _ = problems.classified(error)
    found = subjects.read_submit(message.subject)
    publisher, task_type = (subjects.NOBODY, subjects.NOBODY) if found is None else found
    headers = dict(message.headers or {})
    errors = error.errors[:ERRORS_KEPT] if isinstance(error, Invalid | UsedKey) else []
    return Why(
        publisher=publisher,
        type=task_type,
        subject=message.subject,
        status=kind.status,
        code=kind.code,
        detail=detail[:DETAIL_LENGTH],
        number=place.number,
        stored=place.stored,
        errors=errors,
        headers=headers if len(msgspec.json.encode(headers)) <= HEADERS_KEPT else {},
    )


async def keep(bus: Bus, reason: Why, body: bytes) -> None:
    """Store a rejection, once. Raises one of NATS_OUTAGE if that is not certain."""
    headers = {REASON: _ascii(reason), "Nats-Msg-Id": f"{reason.number}-{reason.stored}"}
    answer = jetstream.reply(await bus.request(subjects.rejected(reason.publisher, reason.type), body, headers=headers))
    if "seq" not in answer:
        raise UnexpectedReply(str(answer.get("error", answer))[:DETAIL_LENGTH])


async def page(bus: Bus, publisher: str | None, after: int, most: int) -> tuple[list[Rejection], int | None]:
    """Up to `most`, the oldest first, from the one after `after` on; and where the next page begins. Raises one of NATS_OUTAGE."""
    subject = subjects.REJECTED_ALL if publisher is None else subjects.rejected(publisher, ">")
    batch = await stored.read(bus, subjects.GET_REJECTED, subject, after + 1, most)
    found = [shown for message in batch.messages if (shown := read(message)) is not None]
    return found, stored.number(batch.messages[-1]) if batch.more and batch.messages else None


async def get(bus: Bus, wanted: int) -> tuple[Why, Msg] | None:
    """One with its body. Raises one of NATS_OUTAGE."""
    message = await stored.one(bus, subjects.GET_REJECTED, wanted)
    reason = None if message is None else _why(message)
    return None if message is None or reason is None else (reason, message)


async def discard(bus: Bus, wanted: int) -> bool:
    """Delete one; False if it is gone. Raises one of NATS_OUTAGE."""
    answer = await api_request(bus, subjects.DELETE_REJECTED, {"seq": wanted})
    error = answer.get("error")
    if error is not None and error.get("err_code") not in (NO_MESSAGE, NOT_THERE):
        raise UnexpectedReply(str(error))
    return error is None


NOT_THERE: Final = 10043  # sequence not found


def read(message: Msg, *, whole: bool = False) -> Rejection | None:
    """As it is shown; None for a message that no API has put there."""
    reason = _why(message)
    if reason is None:
        return None
    return Rejection(
        id=stored.number(message),
        publisher=reason.publisher,
        type=reason.type,
        subject=reason.subject,
        received=datetime.fromtimestamp(reason.stored / 1e9, UTC),
        status=reason.status,
        code=reason.code,
        detail=reason.detail,
        size=len(message.data),
        errors=reason.errors or None,
        headers=(reason.headers or None) if whole else None,
        body=message.data.decode("utf-8", "replace") if whole else None,
    )


def _why(message: Msg) -> Why | None:
    headers: Mapping[str, str] = message.headers or {}
    try:
        return msgspec.json.decode(headers[REASON], type=Why)
    except (KeyError, msgspec.DecodeError):
        return None


def _ascii(reason: Why) -> str:
    """As JSON without a character that a header cannot hold."""
    text = msgspec.json.encode(reason).decode()
    return text if text.isascii() else "".join([c if c.isascii() else "".join([f"\\u{unit:04x}" for unit in _units(c)]) for c in text])


def _units(character: str) -> list[int]:
    encoded = character.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(encoded[at : at + 2]) for at in range(0, len(encoded), 2)]
