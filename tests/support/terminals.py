"""A command on its own terminal, as a person sees it."""

import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path
from typing import Final

from support.command_line import WAGGLE
from support.processes import kill

SECONDS: Final = 30.0
_escapes: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Person:
    """A person at the terminal: reads, types, presses Ctrl-C."""

    def __init__(self, process: "subprocess.Popen[bytes]", terminal: int) -> None:
        self._process, self._terminal = process, terminal
        self.raw = ""

    @property
    def seen(self) -> str:
        """The text shown so far, without colours and cursor movements."""
        return _escapes.sub("", self.raw)

    def reads_until(self, text: str) -> None:
        """Read until the text is shown."""
        deadline = time.monotonic() + SECONDS
        while text not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} was not shown: {self.seen}"
            assert self._read(), f"it ended without showing {text!r}: {self.seen}"

    def types(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def presses_ctrl_c(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def sees_it_end(self) -> int:
        """Read to the end; the exit code."""
        deadline = time.monotonic() + SECONDS
        while self._read():
            assert time.monotonic() < deadline, f"it does not end: {self.seen}"
        return self._process.wait(SECONDS)

    def _read(self) -> bool:
        if not select.select([self._terminal], [], [], 0.2)[0]:
            return True
        try:
            data = os.read(self._terminal, 1 << 16)
        except OSError:  # the other end is closed
            return False
        self.raw += data.decode(errors="replace")
        return bool(data)


@contextmanager
def person(*arguments: str, place: Path, columns: int = 100, **environ: str) -> Iterator[Person]:
    """Run `waggle ARGUMENTS` on a terminal with the given number of columns."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("WAGGLE_", "FORCE_COLOR", "NO_COLOR", "COLUMNS", "LINES"))}
    process = subprocess.Popen(
        [WAGGLE, *arguments], cwd=place, env={**plain, "TERM": "xterm-256color", **environ}, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    try:
        yield Person(process, ours)
    finally:
        kill(process)
        os.close(ours)
