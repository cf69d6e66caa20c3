"""What the API asks of the dlq service, and how it is refused. The messages carry no identity: who asked is what the API says.

`until` is the last moment, by the database's clock, at which the caller still waits: a command that comes later is not done.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from waggle.redrive import LIMIT_MOST, RATE_LEAST, RATE_MOST, DeadLetterFilter


class Refusal(StrEnum):
    """Why a command was not done; the code of a refused request."""

    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    INVALID = "invalid"  # Postgres does not take a value
    TOO_LATE = "too_late"
    UNREADABLE = "unreadable"
    UNKNOWN = "unknown"  # the database did not answer: it may have been done


class Refused(Exception):
    """A command was not done, or nobody knows; `detail` is for whoever asked."""

    def __init__(self, refusal: Refusal, detail: str) -> None:
        super().__init__(detail)
        self.refusal, self.detail = refusal, detail


class Command(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every command says."""

    asked_by: str
    until: Annotated[datetime, Meta(tz=True)]


class Retry(Command, frozen=True, kw_only=True, omit_defaults=True):
    """Retry one dead letter; with another payload (the text of a JSON object that fits the type's schema). Answered by a Task."""

    id: UUID
    payload: str | None = None


class Remove(Command, frozen=True, kw_only=True):
    """Make one dead letter failed. Answered by a Task."""

    id: UUID


class Cleanup(Command, frozen=True, kw_only=True, omit_defaults=True):
    """Clean up: what died more than `older_than` seconds ago; without it by the settings' period and size. Answered by Cleaned."""

    older_than: float | None = None


class BeginRedrive(Command, frozen=True, kw_only=True, omit_defaults=True):
    """Begin a redrive under this id; without a rate at that of the settings. Answered by a Redrive."""

    id: UUID
    filter: DeadLetterFilter
    rate: Annotated[float, Meta(ge=RATE_LEAST, le=RATE_MOST)] | None = None
    limit: Annotated[int, Meta(ge=1, le=LIMIT_MOST)] | None = None


class CancelRedrive(Command, frozen=True, kw_only=True):
    """Stop a redrive. Answered by a Redrive."""

    id: UUID


class Cleaned(msgspec.Struct, frozen=True):
    """Dead letters that became failed, and those that are left."""

    cleaned: int
    remaining: int
