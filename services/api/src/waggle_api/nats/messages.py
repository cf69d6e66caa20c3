"""A message of `waggle.submit.<publisher>.<type>` as a submission: the body of the REST API, a payload with headers, or a CloudEvent. Pure.

CloudEvents 1.0 come in structured mode (the body is the event, its media type `application/cloudevents+json`) and in binary mode (attributes are headers
`ce-…`, percent-encoded; the body is the data): https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/nats-protocol-binding.md.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import msgspec

from waggle import nesting
from waggle.bus import subjects
from waggle.field_errors import UNREADABLE, FieldError, Invalid, Unreadable
from waggle.submission import Submission, read_task
from waggle.telemetry import traces
from waggle.telemetry.traces import TraceContext
from waggle_api.http.bodies import IDEMPOTENCY_KEY
from waggle_api.refusals import Malformed, TooLarge, WrongMediaType

BODY_BYTES: Final = 2 << 20
MESSAGE_ID: Final = "nats-msg-id"
OWN_KEY: Final = "waggle-idempotency-key"  # the stream does not look at it: see docs/nats.md
PREFIX: Final = "waggle-"
CONTENT: Final = "waggle-content"  # what the body is: `task` or `payload`
CLOUD_EVENT: Final = "application/cloudevents+json"
CLOUD_BATCH: Final = "application/cloudevents-batch+json"
# Options of a task as headers, and as extension attributes of CloudEvents, whose names have no dashes.
TEXTS: Final = ("queue", "priority", "description", "unique_key", "run_at", "deadline", "callback_url")
NUMBERS: Final = ("max_retries", "timeout", "delay")
OPTIONS: Final[Mapping[str, str]] = {
    **{PREFIX + name.replace("_", "-"): name for name in (*TEXTS, *NUMBERS, "metadata")},
    **{f"ce-waggle{name.replace('_', '')}": name for name in (*TEXTS, *NUMBERS)},
}
KEPT: Final = ("id", "source", "type", "subject", "time")  # attributes of an event that become metadata

_raw: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_number: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")


class Received(NamedTuple):
    """What a message asks for, under which idempotency key, and the trace that it belongs to."""

    submission: Submission
    key: str | None
    trace: TraceContext | None


def read(subject: str, data: bytes, given: Mapping[str, str]) -> Received:
    """Raises Malformed, TooLarge, WrongMediaType, Unreadable or Invalid. The submission holds other wrong fields itself."""
    found = subjects.read_submit(subject)
    if found is None:
        raise Malformed(f"publish to {subjects.submit('<publisher>', '<type>')}; the subject names no publisher or no type")
    if len(data) > BODY_BYTES:
        raise TooLarge(f"the body may have up to {BODY_BYTES >> 20} MiB")
    headers = {name.lower(): value for name, value in given.items()}
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    attributes, event_key = dict[str, str](), None
    if media_type == CLOUD_BATCH:
        raise WrongMediaType("publish one event in a message: batches are not taken")
    if media_type == CLOUD_EVENT:
        data, attributes = _structured(data)
    elif "ce-specversion" in headers:
        attributes = {name.removeprefix("ce-"): unquote(value) for name, value in headers.items() if name.startswith("ce-")}
    if attributes or media_type == CLOUD_EVENT:
        event_key = _event_key(attributes)
        media_type = attributes.get("datacontenttype", "" if media_type == CLOUD_EVENT else media_type).partition(";")[0].strip().lower()
        headers |= {f"ce-{name}": value for name, value in attributes.items()}
    if media_type and media_type != "application/json" and not media_type.endswith("+json"):
        raise WrongMediaType("send JSON: the content type is another one")
    text = _text(found[1], data, headers, attributes)
    trace = traces.parse(headers.get("traceparent") or attributes.get("traceparent"), headers.get("tracestate") or attributes.get("tracestate"))
    return Received(_named(text, found[1]), _key(headers, event_key), trace)


def _text(task_type: str, data: bytes, headers: Mapping[str, str], attributes: Mapping[str, str]) -> bytes:
    """The body as the REST API has it."""
    options = {OPTIONS[name]: (name, value) for name, value in headers.items() if name in OPTIONS}
    content = headers.get(CONTENT, "payload" if options or attributes or OWN_KEY in headers else "task").strip().lower()
    if content not in ("task", "payload"):
        raise Invalid([FieldError(CONTENT, "must be task or payload")])
    unknown = [
        FieldError(name, "is not a header of Waggle's")
        for name in headers
        if name.startswith(PREFIX) and name not in OPTIONS and name not in (CONTENT, OWN_KEY)
    ]
    if unknown:
        raise Invalid(unknown)
    if content == "task":
        if options:
            raise Invalid([FieldError(name, "the body is the whole task: put this into it") for name, _ in options.values()])
        return data
    _check_json(data or b"{}")
    fields: dict[str, Any] = {"type": task_type, "payload": msgspec.Raw(data or b"{}")}
    for field, (name, value) in options.items():
        fields[field] = _value(field, name, value)
    if attributes:
        event = {name: attributes[name] for name in KEPT if attributes.get(name)}
        fields["metadata"] = {**fields.get("metadata", {}), "cloudevent": event}
    return msgspec.json.encode(fields)


def _value(field: str, header: str, text: str) -> Any:
    """A header as JSON; one that is not what it should be stays a text, and is refused as such. Raises Invalid for metadata that are no JSON."""
    text = text.strip()
    if (field in NUMBERS and _number.fullmatch(text)) or (field == "priority" and text.isdigit()):
        return msgspec.Raw(text.encode())
    if field == "metadata":
        try:
            nesting.check(text.encode())
            return msgspec.json.decode(text, type=dict[str, Any])
        except UNREADABLE:
            raise Invalid([FieldError(header, "must be a JSON object")]) from None
    return text


def _check_json(text: bytes) -> None:
    """Before it becomes a part of another JSON text. Raises Unreadable."""
    try:
        nesting.check(text)
        msgspec.json.decode(text)
    except UNREADABLE as error:
        raise Unreadable(error) from error


def _structured(body: bytes) -> tuple[bytes, dict[str, str]]:
    """The data of an event in structured mode, and its attributes. Raises Unreadable or Invalid."""
    try:
        nesting.check(body)
        event = _raw.decode(body)
    except msgspec.ValidationError:
        raise Invalid([FieldError("specversion", "is required, in an object with the event's attributes")]) from None
    except UNREADABLE as error:
        raise Unreadable(error) from error
    data, encoded = event.pop("data", None), event.pop("data_base64", None)
    attributes = {}
    for name, raw in event.items():
        value = msgspec.json.decode(raw)
        if isinstance(value, (str, int, float, bool)):
            attributes[name] = str(value).lower() if isinstance(value, bool) else str(value)
        elif value is not None:
            raise Invalid([FieldError(name, "an attribute of an event is a text, a number or a boolean")])
    if data is not None and encoded is not None:
        raise Invalid([FieldError("data_base64", "give data or data_base64, not both")])
    if encoded is not None:
        try:
            return base64.b64decode(msgspec.json.decode(encoded, type=str), validate=True), attributes
        except (msgspec.DecodeError, binascii.Error, ValueError):
            raise Invalid([FieldError("data_base64", "must be base64")]) from None
    return b"" if data is None else bytes(data), attributes


def _event_key(attributes: Mapping[str, str]) -> str:
    """What names an event: its source and its id together. Raises Invalid if it is no event of 1.0."""
    errors = [FieldError(name, "is required of an event") for name in ("id", "source", "type") if not attributes.get(name)]
    if not attributes.get("specversion", "").startswith("1."):
        errors.append(FieldError("specversion", "must be 1.0"))
    if errors:
        raise Invalid(errors)
    return hashlib.sha256(f"{attributes['source']}\n{attributes['id']}".encode()).hexdigest()


def _key(headers: Mapping[str, str], event_key: str | None) -> str | None:
    """The idempotency key: `waggle-idempotency-key`, `Nats-Msg-Id`, or what names the event. Raises Malformed."""
    given = headers.get(OWN_KEY, headers.get(MESSAGE_ID))
    if given is None:
        return event_key
    if not IDEMPOTENCY_KEY.fullmatch(given.encode("utf-8", "replace")):
        raise Malformed("the headers Nats-Msg-Id and waggle-idempotency-key must have 1 to 255 printable ASCII characters")
    return given


def _named(text: bytes, task_type: str) -> Submission:
    """The task of a body, which may leave out the type: the subject names it."""
    submission = read_task(text)
    [task] = submission.tasks
    if task.type == task_type:
        return submission
    if task.type:
        errors = submission.field_errors()
        errors.add("type", f"is not that of the subject, {task_type}")
        return submission._replace(errors=errors)
    try:
        fields = _raw.decode(text)
    except msgspec.ValidationError:
        return submission
    return submission if "type" in fields else read_task(msgspec.json.encode({"type": task_type, **fields}))
