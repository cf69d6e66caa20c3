"""Bodies and headers of requests: read within their limits before anything is decoded."""

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec
from litestar import Request

from waggle import nesting
from waggle.field_errors import UNREADABLE, FieldErrors, Unreadable, plain
from waggle_api.refusals import Malformed, TooLarge, TooSlow, WrongMediaType

T = TypeVar("T")
S = TypeVar("S", bound=msgspec.Struct)

BODY_TIMEOUT_SECONDS: Final = 30.0  # a client that sends half a body occupies its memory

_JSON: Final = re.compile(rb"\s*application/json\s*(;\s*charset\s*=\s*\"?utf-8\"?\s*)?;?\s*", re.IGNORECASE)
IDEMPOTENCY_KEY: Final = re.compile(rb"[\x20-\x7e]{1,255}")
_QUOTED: Final = re.compile(rb'"((?:[^"\\]|\\["\\])*)"')
_ESCAPED: Final = re.compile(rb'\\(["\\])')


@dataclass(frozen=True)
class Body(Generic[T]):
    """The declaration of a body: the type whose JSON Schema the document shows, how its bytes are parsed, and how many they may be.

    `required` is what the document says. Without `may_be_empty` a request needs a body; with it, `parse` also takes b"".
    """

    schema: Any
    parse: Callable[[bytes], T]
    limit: int
    required: bool = True
    may_be_empty: bool = False

    async def read(self, request: Request[Any, Any, Any], headers: Mapping[bytes, bytes]) -> T:
        """The parsed body. Raises what `read` below and `parse` raise."""
        if self.may_be_empty and b"transfer-encoding" not in headers and int(headers.get(b"content-length", b"0")) == 0:
            return self.parse(b"")
        return self.parse(await read(request, headers, self.limit))


def of_fields(kind: type[S], limit: int, *, required: bool = False) -> Body[S]:
    """A body that is read as `fields` does. `required` is what the document says."""
    return Body(kind, lambda text: fields(text, kind), limit, required=required, may_be_empty=True)


def fields(text: bytes, kind: type[S]) -> S:
    """A body as `kind`. An empty body has no fields; where a field may be null, that is as if it were not given. Raises Malformed, Unreadable, or Invalid with
    all errors.
    """
    if not text:
        text = b"{}"
    try:
        nesting.check(text)
        msgspec.json.decode(text, type=dict[str, Any])  # a Raw is not read
        given = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError as error:
        raise Malformed("send an object, or no body") from error
    except UNREADABLE as error:
        raise Unreadable(error) from error
    errors, types, good = FieldErrors(), {field.name: field.type for field in msgspec.structs.fields(kind)}, {}
    for name, value in given.items():
        if name not in types:
            errors.add(name, "is not a field of this body" + errors.propose(name, types))
            continue
        try:
            good[name] = msgspec.json.decode(value, type=types[name])
        except msgspec.ValidationError as error:
            errors.add(name, plain(error))
    for field in msgspec.structs.fields(kind):
        if field.required and field.name not in given:
            errors.add(field.name, "is missing")
    errors.check()
    return kind(**good)


async def read(request: Request[Any, Any, Any], headers: Mapping[bytes, bytes], limit: int) -> bytes:
    """The whole body, up to `limit` bytes. Raises WrongMediaType, TooLarge (before reading it all), TooSlow or Malformed."""
    _check_json(headers)
    if int(headers.get(b"content-length", b"0")) > limit:
        raise _too_large(limit)
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            message: Any = await request.receive()
            body: bytes = message.get("body", b"")
            if message.get("more_body"):
                body = await _rest(request, body, limit)
            elif message["type"] == "http.disconnect":
                raise Malformed("the connection ended before the body did")
    except TimeoutError:
        raise TooSlow(f"the body did not arrive within {BODY_TIMEOUT_SECONDS:g} s") from None
    if len(body) > limit:
        raise _too_large(limit)
    return body


async def _rest(request: Request[Any, Any, Any], first: bytes, limit: int) -> bytes:
    chunks, size, more = [first], len(first), True
    while more:
        message: Any = await request.receive()
        if message["type"] == "http.disconnect":
            raise Malformed("the connection ended before the body did")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > limit:
            raise _too_large(limit)
        more = message.get("more_body", False)
    return b"".join(chunks)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body may have up to {limit >> 20} MiB" if limit >= 1 << 20 else f"the body may have up to {limit >> 10} KiB")


def _check_json(headers: Mapping[bytes, bytes]) -> None:
    content_type = headers.get(b"content-type", b"")
    if content_type != b"application/json" and not _JSON.fullmatch(content_type):
        raise WrongMediaType("send the body as application/json, in UTF-8")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise WrongMediaType("send the body without a content-encoding")


def idempotency_key(headers: Mapping[bytes, bytes]) -> str | None:
    """The header Idempotency-Key, as it is or as a quoted string (RFC 9651, as the draft of the header asks): both are the same key. Raises Malformed."""
    key = headers.get(b"idempotency-key")
    if key is None:
        return None
    if quoted := _QUOTED.fullmatch(key):
        key = _ESCAPED.sub(rb"\1", quoted[1])
    if not IDEMPOTENCY_KEY.fullmatch(key):
        raise Malformed("the header Idempotency-Key must have 1 to 255 printable ASCII characters")
    return key.decode("ascii")
