"""HTTP/1.1 without I/O: a request as bytes, and a reader of its response (the parser is that of Node, in httptools)."""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import httptools

from waggle.client.errors import UnreachableError

HEADER: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
LARGEST_ANSWER: Final = 256 << 20  # bytes


class ApiAnswer(NamedTuple):
    """A response: its status, its headers by lower-case names, and its body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_json(self) -> bool:
        return self.headers.get("content-type", "").startswith("application/json")


def request(method: str, target: str, host: str, headers: Mapping[str, str], body: bytes) -> bytes:
    """A request. Raises ValueError for a header that cannot be sent."""
    lines = [f"{method} {target} HTTP/1.1", f"host: {host}"]
    for name, value in headers.items():
        if not HEADER.fullmatch(value):
            raise ValueError(f"the header {name} is printable ASCII without spaces around it, not {value!r}")
        lines.append(f"{name}: {value}")
    if body or method in ("POST", "PATCH", "PUT"):
        lines.append(f"content-length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class ResponseReader:
    """Reads one response. `answer` is there once it is complete; `reusable` says whether its connection can carry another request."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = 0
        self.began = self.reusable = self._has_head = False
        self.answer: ApiAnswer | None = None

    def feed(self, data: bytes) -> None:
        """Read more bytes; none means that the server has closed the connection. Raises UnreachableError."""
        if not data:
            raise UnreachableError("the API closed the connection" + (" within an answer" if self.began else ""), unknown=True)
        self.began = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise UnreachableError(f"what answers does not speak HTTP: {error}", unknown=True) from None

    @property
    def status(self) -> int:
        """The status; 0 before it is known."""
        return self._parser.get_status_code() if self._has_head else 0

    def taken(self) -> bytes:
        """The part of the body that has come and was not taken yet, for a body without an end."""
        body, self._body, self._size = b"".join(self._body), [], 0
        return body

    def on_message_begin(self) -> None:
        if self.answer is not None:  # nobody asked for a second one
            self.reusable = False

    def on_headers_complete(self) -> None:
        self._has_head = self._parser.get_status_code() >= 200

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > LARGEST_ANSWER:
            raise UnreachableError(f"the answer is larger than {LARGEST_ANSWER >> 20} MiB", unknown=True)
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() >= 200 and self.answer is None:  # others only announce an answer
            self.reusable = self._parser.should_keep_alive()
            self.answer = ApiAnswer(self._parser.get_status_code(), dict(self._headers), b"".join(self._body))
