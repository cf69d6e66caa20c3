"""Answers whose body is already encoded: each is an ASGI application, which costs a third of a framework's response."""

from typing import Any, Final, Generic, TypeVar

import msgspec
from litestar.types import Receive, Scope, Send

T = TypeVar("T")

encode: Final = msgspec.json.Encoder().encode

JSON: Final = b"application/json"
TEXT: Final = b"text/plain; charset=utf-8"
SECRET: Final = (b"cache-control", b"no-store, no-transform")  # of an answer to a read that holds secrets: it is not compressed, see http.compression


class Page(msgspec.Struct, Generic[T], frozen=True, omit_defaults=True):
    """A list, or the answer to a batch; without a cursor it is the last page. `caught_up`: it has a cursor, and there is nothing after it by now."""

    items: list[T]
    next_cursor: str | None = None
    caught_up: bool = False


class EncodedResponse:
    """A status, headers and the bytes of a body."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, body: bytes, *headers: tuple[bytes, bytes], content_type: bytes = JSON) -> None:
        self.status, self.body = status, body
        self.headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *headers]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002  # the shape of an ASGI application
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def ok(found: msgspec.Struct) -> EncodedResponse:
    """200 with one object."""
    return EncodedResponse(200, encode(found))


def page(found: list[Any], next_cursor: str | None = None, *, caught_up: bool = False) -> EncodedResponse:
    """200 with a page of a list."""
    return EncodedResponse(200, encode(Page(found, next_cursor, caught_up)))


def no_content() -> EncodedResponse:
    """204."""
    answer = EncodedResponse(204, b"")
    answer.headers = []
    return answer
