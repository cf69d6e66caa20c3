"""Why the API does not do what it was asked. These errors know no HTTP: `problems` maps each to its answer."""

import difflib
from collections.abc import Collection
from typing import Final

import msgspec

MOST_ERRORS: Final = 1_000
MOST_PROPOSALS: Final = 5
LONGEST_FIELD: Final = 200
LONGEST_MESSAGE: Final = 500


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one field; `field` is its path, such as `tasks[3].payload.to`."""

    field: str
    message: str


class Refusal(Exception):
    """The request is not done; `detail` is for whoever sent it."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Malformed(Refusal):
    """It cannot be read: not JSON, not UTF-8, a header that makes no sense."""


class WrongMediaType(Refusal):
    """Its body is in another format than JSON."""


class TooLarge(Refusal):
    """Its body is larger than the limit."""


class TooSlow(Refusal):
    """Its body does not come."""


class NotFound(Refusal):
    """There is no such thing."""


class Conflict(Refusal):
    """It contradicts what is there."""


class Unavailable(Refusal):
    """Not now; `retry_after` is in seconds."""

    def __init__(self, detail: str, retry_after: int = 2) -> None:
        super().__init__(detail)
        self.retry_after = retry_after


class Invalid(Refusal):
    """Some of its fields are wrong: all of them are told at once."""

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("1 field is not valid" if len(errors) == 1 else f"{len(errors)} fields are not valid")
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
