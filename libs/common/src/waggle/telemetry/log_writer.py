"""Writes log lines from a thread of its own, so that a log call never waits and never fails, whatever becomes of the output.

While the output takes nothing, up to WAITING lines wait. Further ones are dropped and counted; the first line after that says how many.
"""

import errno
import os
import select
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final

WAITING: Final = 50_000  # lines
WAITING_BYTES: Final = 16 << 20
BATCH_BYTES: Final = 64 << 10  # in one write
PIPE_BYTES: Final = select.PIPE_BUF  # several processes may write to one pipe: up to so many bytes stay together
RETRY_SECONDS: Final = 0.1
POSTED_SECONDS: Final = 1.0  # at least between two lines that say how many were dropped


class LogWriter:
    """`put` may be called by any thread. `dropped` counts the lines that were not written; `report` makes the line that says so.

    `patience`: seconds that `put` waits for its line to be written, while the output takes lines: for a process that native code may end at any time.
    """

    def __init__(
        self, descriptor: int, report: Callable[[int], str], encoding: str = "utf-8", errors: str = "backslashreplace", *, patience: float = 0.0
    ) -> None:
        self._descriptor, self._report, self._encoding, self._errors, self._patience = descriptor, report, encoding, errors, patience
        self._most = PIPE_BYTES if _is_pipe(descriptor) else BATCH_BYTES
        self._lines: SimpleQueue[bytes | threading.Event] = SimpleQueue()
        self._lock = threading.RLock()  # one thread may come back while it holds it: the collector of garbage calls anything
        self._count = self._bytes = 0
        self.dropped = self._reported = 0
        self._reported_at = 0.0
        self._has_thread = False
        self._start()

    def put(self, text: str) -> None:
        """Write a line soon."""
        line = self._line(text)
        if not self._has_thread:
            self._write_now(line)
            return
        with self._lock:
            if self._count >= WAITING or self._bytes + len(line) > WAITING_BYTES:
                self.dropped += 1
                return
            self._count += 1
            self._bytes += len(line)
            keeps_up = self._count == 1
        self._lines.put(line)
        if self._patience and keeps_up:
            self.flush(self._patience)

    def flush(self, seconds: float) -> bool:
        """Wait until what was put is written, at most `seconds`; whether it is."""
        if not self._has_thread:
            return True
        written = threading.Event()
        self._lines.put(written)
        return written.wait(seconds)

    def forked(self) -> None:
        """In a forked child: its parent's thread is not here, and what waits is its parent's."""
        self._has_thread, self._lock = False, threading.RLock()

    def _start(self) -> None:
        try:
            threading.Thread(target=self._run, name="log", daemon=True).start()
            self._has_thread = True
        except RuntimeError:  # no further thread from the system: lines are written at once
            self._has_thread = False

    def _run(self) -> None:
        while True:
            parts: list[bytes] = []
            size = 0
            found: bytes | threading.Event | None = self._lines.get()
            while found is not None:
                if isinstance(found, threading.Event) or (parts and size + len(found) > self._most):
                    self._write(parts)
                    parts, size = [], 0
                if isinstance(found, threading.Event):
                    found.set()
                else:
                    parts.append(found)
                    size += len(found)
                found = self._another()
            self._write(parts)

    def _another(self) -> bytes | threading.Event | None:
        with suppress(Empty):
            return self._lines.get_nowait()
        return None

    def _write(self, parts: list[bytes]) -> None:
        if not parts:
            return
        if not self._all_written(b"".join(parts)):
            self._drop(parts)
            return
        lost = self._gone(parts, 0) - self._reported
        if lost and time.monotonic() - self._reported_at >= POSTED_SECONDS:
            self._reported, self._reported_at = self._reported + lost, time.monotonic()
            self._all_written(self._line(self._report(lost)))

    def _drop(self, parts: list[bytes]) -> None:
        """Nobody reads: what waits goes too, and only now and then a write tries again, because each costs the other threads time."""
        while (found := self._another()) is not None:
            if isinstance(found, threading.Event):
                found.set()
            else:
                parts.append(found)
        self._gone(parts, len(parts))
        time.sleep(RETRY_SECONDS)

    def _gone(self, parts: list[bytes], dropped: int) -> int:
        """These do not wait any more. Returns how many were dropped in all."""
        with self._lock:
            self._count -= len(parts)
            self._bytes -= sum(map(len, parts))
            self.dropped += dropped
            return self.dropped

    def _line(self, text: str) -> bytes:
        return f"{text}\n".encode(self._encoding, self._errors)

    def _all_written(self, data: bytes) -> bool:
        """False when nobody reads. Waits while a pipe or a disk is full."""
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except OSError as error:
                if error.errno in (errno.EPIPE, errno.EBADF):
                    return False
                time.sleep(RETRY_SECONDS)
        return True

    def _write_now(self, line: bytes) -> None:
        try:
            os.write(self._descriptor, line)
        except OSError:
            self.dropped += 1


def _is_pipe(descriptor: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    except OSError:
        return False
