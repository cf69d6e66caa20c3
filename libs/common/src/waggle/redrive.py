"""Redrives (bulk retries of dead letters): the filter, a redrive as the API shows it, and the rule that paces and stops one. Pure.

A redrive begins with a few tasks and checks their outcomes. It stops when most of the recent outcomes are failures, and has at most the tasks of one
minute without an outcome: slow handlers do not stop it, a paused queue does.
"""

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

from waggle.payload_changes import PayloadChanges, Unfit

FIRST_BATCH: Final = 10  # tasks in the first batch, whose outcomes are awaited
OUTCOMES_NEEDED: Final = 5  # outcomes before it may stop
FIRST_OUTCOMES_SECONDS: Final = 10.0  # to wait for them
RECENT_LIMIT: Final = 100  # outcomes that count as recent
OPEN_SECONDS: Final = 60.0  # tasks without an outcome, in seconds of the rate
OPEN_LIMIT: Final = 10_000
TICK_SECONDS: Final = 0.25  # between two batches, if the rate allows
BATCH_LIMIT: Final = 1_000
RATE_MIN: Final = 0.001  # tasks per second
RATE_MAX: Final = 10_000.0
LIMIT_MAX: Final = 1_000_000_000


class DeadLetterFilter(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Selects dead letters: all given fields must match. Ages are seconds since the death; the message of the error contains `text`."""

    type: list[str] | None = None
    queue: str | None = None
    code: list[str] | None = None
    text: str | None = None
    older_than: float | None = None
    newer_than: float | None = None
    fingerprint: str | None = None
    ids: list[UUID] | None = None


class Redrive(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A bulk retry of dead letters. `state` is running, completed, stopped (by itself; `reason` says why) or cancelled (by an operator).

    `skipped` tasks had a passed deadline or a `unique_key` in use; `failed_again` counts retried tasks whose first attempt failed. With `changes`, `unfit`
    counts the dead letters that stay, because their changed payload does not fit; `first_unfit` shows some of them.
    """

    id: UUID
    state: str
    filter: DeadLetterFilter
    rate: float
    matched: int
    retried: int
    skipped: int
    failed_again: int
    created: datetime
    updated: datetime
    submitted_by: str
    limit: int | None = None
    reason: str | None = None
    ended_at: datetime | None = None
    changes: PayloadChanges | None = None
    unfit: int = 0
    first_unfit: list[Unfit] | None = None
    hidden: list[str] | None = None


class Recent(NamedTuple):
    """Recent outcomes of retried tasks: first attempts that ended, and how many of them failed."""

    ended: int
    failed: int

    def after(self, ended: int, failed: int) -> "Recent":
        """The counts with these added; old ones are dropped by halving."""
        found = Recent(self.ended + ended, self.failed + failed)
        while found.ended > RECENT_LIMIT:
            found = Recent(found.ended // 2, found.failed // 2)
        return found


class Progress(NamedTuple):
    """The progress of a redrive. `waited` is the age of its last batch in seconds, None before the first; `open` tasks have no outcome yet."""

    rate: float
    limit: int | None
    retried: int
    ended: int
    open: int
    recent: Recent
    waited: float | None


class LetGo(NamedTuple):
    """Retry up to `most` tasks; the next step is due after `seconds`."""

    most: int
    seconds: float


class Wait(NamedTuple):
    """Retry nothing; the next step is due after `seconds`."""

    seconds: float


class Stop(NamedTuple):
    """Stop: the retried tasks fail again."""

    reason: str


class Finish(NamedTuple):
    """Complete: the limit is reached."""


def next_step(at: Progress) -> LetGo | Wait | Stop | Finish:
    """The next step of a redrive. A rate out of range counts as the nearest valid one: otherwise the step would fail forever."""
    if at.recent.ended >= OUTCOMES_NEEDED and 2 * at.recent.failed >= at.recent.ended:
        return Stop(f"{at.recent.failed} of the last {at.recent.ended} finished tasks failed again")
    if at.limit is not None and at.retried >= at.limit:
        return Finish()
    if at.retried == FIRST_BATCH and at.ended < OUTCOMES_NEEDED and at.open and at.waited is not None and at.waited < FIRST_OUTCOMES_SECONDS:
        return Wait(TICK_SECONDS)
    rate = min(max(at.rate, RATE_MIN), RATE_MAX)
    room = min(max(FIRST_BATCH, int(rate * OPEN_SECONDS)), OPEN_LIMIT) - at.open
    if room <= 0:
        return Wait(2 * TICK_SECONDS)
    count = min(max(1, round(rate * TICK_SECONDS)), BATCH_LIMIT, room)
    if at.retried < FIRST_BATCH:
        count = min(count, FIRST_BATCH - at.retried)
    if at.limit is not None:
        count = min(count, at.limit - at.retried)
    return LetGo(count, count / rate)
