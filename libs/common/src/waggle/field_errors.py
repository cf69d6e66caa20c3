"""What is wrong with the fields of a document, collected so that all of it is told at once, and with its JSON."""

import difflib
import re
from collections.abc import Collection
from typing import Final

import msgspec

MOST_ERRORS: Final = 1_000
MOST_PROPOSALS: Final = 5
LONGEST_FIELD: Final = 200
LONGEST_MESSAGE: Final = 500

# What a body raises that is not JSON as we take it: wrong syntax, wrong UTF-8, numbers out of range, nested too deeply.
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

NUL: Final = "the character U+0000 cannot be stored"
_nul: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # behind an odd number of backslashes the zeros are an escape


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one field; `field` is its path, such as `tasks[3].payload.to`."""

    field: str
    message: str


class Invalid(Exception):
    """Some of its fields are wrong: all of them are told at once."""

    def __init__(self, errors: list[FieldError]) -> None:
        self.detail = "1 field is not valid" if len(errors) == 1 else f"{len(errors)} fields are not valid"
        super().__init__(self.detail)
        self.errors = errors


class Findings:
    """Collects what is wrong with a request, up to MOST_ERRORS; `prefix` stands before every field that is added."""

    def __init__(self) -> None:
        self.errors: list[FieldError] = []
        self.prefix = ""
        self.unknown_name = False  # a type or queue that somebody may have announced a moment ago
        self._proposals = MOST_PROPOSALS

    @property
    def full(self) -> bool:
        return len(self.errors) >= MOST_ERRORS

    def add(self, field: str, message: str) -> None:
        if not self.full:
            self.errors.append(FieldError((self.prefix + field)[:LONGEST_FIELD], message[:LONGEST_MESSAGE]))

    def propose(self, name: str, known: Collection[str]) -> str:
        """`; did you mean …?` when a known name is near, a few times a request: looking is slow, and a batch may be wrong everywhere."""
        self._proposals -= 1
        return did_you_mean(name, known) if self._proposals >= 0 else ""

    def check(self) -> None:
        """Raises Invalid when something was found."""
        if self.errors:
            raise Invalid(self.errors)


def did_you_mean(name: str, known: Collection[str]) -> str:
    """`; did you mean …?` when a known name is near, else nothing."""
    near = difflib.get_close_matches(name[:64], known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def plain(error: msgspec.ValidationError) -> str:
    """msgspec's message, without its path and its back quotes."""
    message = str(error).partition(" - at `")[0].replace("`", "").replace(" | null", "")
    return message[:1].lower() + message[1:]


def holds_nul(json: msgspec.Raw | bytes) -> bool:
    """Whether a key or a text of a JSON text holds the character U+0000."""
    return _nul.search(json) is not None
