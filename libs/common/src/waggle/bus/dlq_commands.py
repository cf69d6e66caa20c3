"""The commands that the API sends to the dlq service, and their refusals. NATS messages carry no identity: the API names the caller in `asked_by`.

`until` is when the caller stops waiting, by the clock of the database: a command that arrives later is refused.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from waggle.payload_changes import PayloadChanges
from waggle.redrive import LIMIT_MAX, RATE_MAX, RATE_MIN, DeadLetterFilter


class RefusalCode(StrEnum):
    """Why a command was refused; the error code of the reply."""

    NOT_FOUND = "not_found"
    CONFLICT = "conflict"
    INVALID = "invalid"  # Postgres refuses a value
    TOO_LATE = "too_late"
    UNREADABLE = "unreadable"
    UNKNOWN = "unknown"  # Postgres did not answer: the command may have been done


class CommandRefused(Exception):
    """A command was refused, or its outcome is unknown; `detail` is for the caller."""

    def __init__(self, refusal: RefusalCode, detail: str) -> None:
        super().__init__(detail)
        self.refusal, self.detail = refusal, detail


class DlqCommand(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The fields of every command."""

    asked_by: str
    until: Annotated[datetime, Meta(tz=True)]


class RetryTask(DlqCommand, frozen=True, kw_only=True, omit_defaults=True):
    """Retry one dead letter, optionally with another payload (the text of a JSON object that fits the schema of the type). The reply is a Task."""

    id: UUID
    payload: str | None = None


class RemoveTask(DlqCommand, frozen=True, kw_only=True):
    """Remove one dead letter: it becomes failed. The reply is a Task."""

    id: UUID


class CleanUp(DlqCommand, frozen=True, kw_only=True, omit_defaults=True):
    """Remove dead letters older than `older_than` seconds; without it, by the period and size of the settings. The reply is Cleaned."""

    older_than: float | None = None


class BeginRedrive(DlqCommand, frozen=True, kw_only=True, omit_defaults=True):
    """Begin a redrive with this id; without `rate`, at the rate of the settings. The reply is a Redrive."""

    id: UUID
    filter: DeadLetterFilter
    rate: Annotated[float, Meta(ge=RATE_MIN, le=RATE_MAX)] | None = None
    limit: Annotated[int, Meta(ge=1, le=LIMIT_MAX)] | None = None


class BeginChangingRedrive(BeginRedrive, frozen=True, kw_only=True, omit_defaults=True):
    """Begin a redrive that changes the payloads. A command of its own: an older dlq service would retry the payloads as they are."""

    changes: PayloadChanges


class CancelRedrive(DlqCommand, frozen=True, kw_only=True):
    """Stop a redrive. The reply is a Redrive."""

    id: UUID


class Cleaned(msgspec.Struct, frozen=True):
    """How many dead letters became failed, and how many remain."""

    cleaned: int
    remaining: int
