"""Bodies and headers of requests: read within their limits, before anything is decoded."""

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final

from litestar import Request

from waggle_api.refusals import Malformed, TooLarge, TooSlow, WrongMediaType

ONE_LIMIT: Final = 2 << 20
BATCH_LIMIT: Final = 16 << 20
PATIENCE: Final = 30.0  # seconds; whoever sends half a body keeps its memory taken

_JSON: Final = re.compile(rb"\s*application/json\s*(;\s*charset\s*=\s*\"?utf-8\"?\s*)?;?\s*", re.IGNORECASE)
_KEY: Final = re.compile(rb"[\x20-\x7e]{1,255}")


async def read(request: Request[Any, Any, Any], headers: Mapping[bytes, bytes], limit: int) -> bytes:
    """The whole body, at most `limit` bytes. Raises WrongMediaType, TooLarge (before reading it all), TooSlow or Malformed."""
    _check_json(headers)
    if int(headers.get(b"content-length", b"0")) > limit:
        raise _too_large(limit)
    try:
        async with asyncio.timeout(PATIENCE):
            message: Any = await request.receive()
            body: bytes = message.get("body", b"")
            if message.get("more_body"):
                body = await _rest(request, body, limit)
            elif message["type"] == "http.disconnect":
                raise Malformed("the connection ended before the body did")
    except TimeoutError:
        raise TooSlow(f"the body did not arrive within {PATIENCE:g} s") from None
    if len(body) > limit:
        raise _too_large(limit)
    return body


async def read_optional(request: Request[Any, Any, Any], headers: Mapping[bytes, bytes], limit: int) -> bytes:
    """As `read`; nothing when the request has no body, whatever its media type."""
    if b"transfer-encoding" not in headers and int(headers.get(b"content-length", b"0")) == 0:
        return b""
    return await read(request, headers, limit)


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
    return TooLarge(f"the body may have {limit >> 20} MiB at most" if limit >= 1 << 20 else f"the body may have {limit >> 10} KiB at most")


def _check_json(headers: Mapping[bytes, bytes]) -> None:
    content_type = headers.get(b"content-type", b"")
    if content_type != b"application/json" and not _JSON.fullmatch(content_type):
        raise WrongMediaType("send the body as application/json, in UTF-8")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise WrongMediaType("send the body without a content-encoding")


def idempotency_key(headers: Mapping[bytes, bytes]) -> str | None:
    """The header Idempotency-Key. Raises Malformed."""
    key = headers.get(b"idempotency-key")
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise Malformed("the header Idempotency-Key must have 1 to 255 printable ASCII characters")
    return key.decode("ascii")
