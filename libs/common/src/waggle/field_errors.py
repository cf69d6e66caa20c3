"""What is wrong with a JSON document and its fields. All field errors are collected, so that one answer reports them all."""

import difflib
import re
from collections.abc import Collection
from typing import Final

import msgspec

from waggle import nesting

ERROR_LIMIT: Final = 1_000
PROPOSAL_LIMIT: Final = 5
FIELD_LENGTH: Final = 200
MESSAGE_LENGTH: Final = 500

# What a decoder raises for a text that is not JSON: wrong syntax, wrong UTF-8, numbers out of range, nested too deeply (see waggle.nesting).
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

NUL: Final = "the character U+0000 cannot be stored"
_nul: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # after an odd number of backslashes, `u0000` is an escape


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one field; `field` is its path, such as `tasks[3].payload.to`."""

    field: str
    message: str


class Unreadable(Exception):
    """A text that cannot be read as JSON. The message continues a sentence: `is not JSON: …`."""

    def __init__(self, cause: Exception | None = None) -> None:
        super().__init__(_reason(cause))


class Invalid(Exception):
    """Some fields are not valid; `errors` lists them all."""

    def __init__(self, errors: list[FieldError]) -> None:
        self.detail = "1 field is not valid" if len(errors) == 1 else f"{len(errors)} fields are not valid"
        super().__init__(self.detail)
        self.errors = errors


class FieldErrors:
    """Collects up to ERROR_LIMIT field errors; `prefix` is put before the path of every field that is added."""

    def __init__(self, errors: Collection[FieldError] = ()) -> None:
        self.errors = list(errors)
        self.prefix = ""
        self.has_unknown_name = False  # a type or queue that may have been announced a moment ago
        self._proposals_left = PROPOSAL_LIMIT

    @property
    def full(self) -> bool:
        return len(self.errors) >= ERROR_LIMIT

    def add(self, field: str, message: str) -> None:
        if not self.full:
            self.errors.append(FieldError((self.prefix + field)[:FIELD_LENGTH], message[:MESSAGE_LENGTH]))

    def has(self, field: str) -> bool:
        """Whether this field was found wrong."""
        return any(error.field == self.prefix + field for error in self.errors)

    def propose(self, name: str, known: Collection[str]) -> str:
        """As `did_you_mean`, but only PROPOSAL_LIMIT times: the search is slow, and a batch may be wrong everywhere."""
        self._proposals_left -= 1
        return did_you_mean(name, known) if self._proposals_left >= 0 else ""

    def check(self) -> None:
        """Raise Invalid if there are errors."""
        if self.errors:
            raise Invalid(self.errors)


def did_you_mean(name: str, known: Collection[str]) -> str:
    """`; did you mean …?` if a known name is similar, else nothing."""
    near = difflib.get_close_matches(name[:64], known, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def plain(error: msgspec.ValidationError) -> str:
    """msgspec's message, without its path and its back quotes."""
    message = str(error).partition(" - at `")[0].replace("`", "").replace(" | null", "")
    return message[:1].lower() + message[1:]


def holds_nul(json: msgspec.Raw | bytes) -> bool:
    """Whether a key or a string in a JSON text holds the character U+0000."""
    return _nul.search(json) is not None


def _reason(cause: Exception | None) -> str:
    match cause:
        case RecursionError():
            return f"is nested too deeply: {nesting.LEVELS} levels are allowed"
        case UnicodeDecodeError():
            return "is not UTF-8"
        case _:
            return f"is not JSON: {cause}"
