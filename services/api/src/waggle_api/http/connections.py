"""How many connections the API holds, in all and of one address. One that is too many gets an answer that says so, and a flood of those is cut off."""

import time
from collections import Counter
from typing import Final

import structlog

from waggle import machine
from waggle_api import metrics

log = structlog.get_logger()

SPARE: Final = 64  # connections above the limit that get an answer at the same time; others are closed without one
LOG_SECONDS: Final = 30.0  # between two log lines about them
OTHER_FILES: Final = 256  # that the process has open: servers, logs, libraries
LEAST_OTHER_FILES: Final = 64


class Connections:
    """The open connections by address. `most`: in all, `most_each`: of one address."""

    def __init__(self, most: int, most_each: int) -> None:
        (self._most, self._spare), self._most_each = _with_files(most), most_each
        self._open: Counter[str] = Counter()
        self.all = 0
        self._said = -LOG_SECONDS

    def enter(self, address: str) -> str | None:
        """Count a connection, until `leave`. Gives why it is one too many: "" if it should not even be told."""
        self.all += 1
        self._open[address] += 1
        if self._open[address] > self._most_each:
            self._refused("address", address)
            spare = self._open[address] <= self._most_each + self._spare
            return f"{self._most_each} connections of one address are open" if spare else ""
        if self.all > self._most:
            self._refused("all", address)
            return f"{self._most} connections are open" if self.all <= self._most + self._spare else ""
        return None

    def _refused(self, limit: str, address: str) -> None:
        metrics.refused(limit).inc()
        now = time.monotonic()
        if now - self._said >= LOG_SECONDS:
            self._said = now
            log.warning("too many connections, refusing more", limit=limit, address=address, open=self.all, of_address=self._open[address])

    def leave(self, address: str) -> None:
        self.all -= 1
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]


def _with_files(most: int) -> tuple[int, int]:
    """So many connections as the process may have files for, and so many more that get an answer. Where files are few, each use gets a share."""
    limits = machine.raise_file_limit()
    if limits is None:
        return most, SPARE
    files = limits[1]
    spare, others = min(SPARE, files // 8), min(OTHER_FILES, max(LEAST_OTHER_FILES, files // 4))
    possible = max(1, files - spare - others)
    if possible < most:
        log.warning("fewer connections than set: the limit of open files is low", connections=possible, open_files=files)
    return min(most, possible), spare
