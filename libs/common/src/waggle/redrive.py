"""Retrying dead letters in bulk: which ones, a redrive as the API shows it, and the rule that paces and stops it. Pure.

It begins with a few and looks how they do. It stops when most of those that came to an end of late failed again at once, and never has more on
their way than it lets go in a minute: handlers that take long do not hold it up, a paused queue does.
"""

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

FIRST: Final = 10  # the portion whose outcomes are looked at before more follow
ENOUGH: Final = 5  # outcomes from which it is judged
PATIENCE: Final = 10.0  # seconds to wait for these
MEMORY: Final = 100  # outcomes that count as of late
OPEN_SECONDS: Final = 60.0  # how many may be on their way, in seconds of the rate
OPEN_MOST: Final = 10_000
TICK: Final = 0.25  # seconds between two portions, where the rate allows
PORTION_MOST: Final = 1_000
RATE_LEAST: Final = 0.001  # tasks a second
RATE_MOST: Final = 10_000.0
LIMIT_MOST: Final = 1_000_000_000


class DeadLetterFilter(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Which dead letters are meant: all that every given field fits. Ages are in seconds since they died; `text` is contained in the error's message."""

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

    `skipped` had a deadline that passed or a `unique_key` that is taken again; of those retried, `failed_again` failed their first attempt.
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


class Recent(NamedTuple):
    """How those that were retried did of late: first attempts that ended, and those of them that failed."""

    ended: int
    failed: int

    def after(self, ended: int, failed: int) -> "Recent":
        """With these added; old ones are forgotten by halves."""
        found = Recent(self.ended + ended, self.failed + failed)
        while found.ended > MEMORY:
            found = Recent(found.ended // 2, found.failed // 2)
        return found


class Progress(NamedTuple):
    """Where a redrive stands. `waited` is the age of its last portion in seconds, None before the first; `open` have no outcome yet."""

    rate: float
    limit: int | None
    retried: int
    ended: int
    open: int
    recent: Recent
    waited: float | None


class LetGo(NamedTuple):
    """Retry so many, then look again after so many seconds."""

    most: int
    seconds: float


class Wait(NamedTuple):
    """Retry nothing, look again after so many seconds."""

    seconds: float


class Stop(NamedTuple):
    """What is retried fails again."""

    reason: str


class Finish(NamedTuple):
    """As many as were wanted."""


def next_step(at: Progress) -> LetGo | Wait | Stop | Finish:
    """What a redrive does now. A rate that no door lets in is taken as the nearest that one does: a step that fails would fail for ever."""
    if at.recent.ended >= ENOUGH and 2 * at.recent.failed >= at.recent.ended:
        return Stop(f"{at.recent.failed} of the last {at.recent.ended} that came to an end failed again")
    if at.limit is not None and at.retried >= at.limit:
        return Finish()
    if at.retried == FIRST and at.ended < ENOUGH and at.open and at.waited is not None and at.waited < PATIENCE:
        return Wait(TICK)
    rate = min(max(at.rate, RATE_LEAST), RATE_MOST)
    room = min(max(FIRST, int(rate * OPEN_SECONDS)), OPEN_MOST) - at.open
    if room <= 0:
        return Wait(2 * TICK)
    count = min(max(1, round(rate * TICK)), PORTION_MOST, room)
    if at.retried < FIRST:
        count = min(count, FIRST - at.retried)
    if at.limit is not None:
        count = min(count, at.limit - at.retried)
    return LetGo(count, count / rate)
