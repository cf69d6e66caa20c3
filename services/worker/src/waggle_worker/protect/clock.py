"""The clock of the bucket's server, in which the times of a record are written."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class ServerClock:
    """Between this process's monotonic seconds and the server's time. Until it was set the machine's own clock has to do."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._known: tuple[datetime, float] | None = None  # the same moment by both clocks

    def set(self, moment: datetime, at: float) -> None:
        self._known = moment, at

    def moment(self, monotonic: float) -> datetime:
        """A monotonic time by the server's clock."""
        known, at = self._known or (datetime.now(UTC), self._now())
        return known + timedelta(seconds=monotonic - at)

    def monotonic(self, moment: datetime) -> float:
        """A time of the server's clock in monotonic seconds."""
        known, at = self._known or (datetime.now(UTC), self._now())
        return at + (moment - known).total_seconds()

    def bounded(self, moment: datetime | None, most: float) -> float:
        """A time to come, in monotonic seconds: now at the earliest, in `most` seconds at the latest, because a server's clock may jump."""
        now = self._now()
        found = now if moment is None else self.monotonic(moment)
        return min(max(found, now), now + most)
