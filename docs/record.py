"""Records the picture in README.md: `uv run python docs/record.py` writes docs/waggle.svg.

It clones this repository into a temporary folder, drives two real terminals with tmux (`waggle up` in one, commands in the other), captures both about
six times a second, and draws them as one animated SVG. Only commits are recorded. Needs tmux and jq, and port 8420 free.
"""

import json
import os
import shlex
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from recording import Frame, Screen, draw

ROOT: Final = Path(__file__).parents[1]
SOCKET: Final = "waggle-record"
COLUMNS: Final = 96
CAPTURE_SECONDS: Final = 0.15
KEY_SECONDS: Final = 0.025
STOP_SECONDS: Final = 60.0
PROMPT: Final = "$ "


@dataclass
class Terminal:
    """A tmux session of its own; `frames` is what it showed, and when."""

    name: str
    rows: int
    folder: Path
    frames: list[Frame] = field(default_factory=list)

    def open(self) -> None:
        shell = "bash --noprofile --norc"
        size = ("-x", str(COLUMNS), "-y", str(self.rows))
        env = ("TERM=xterm-256color", "COLORTERM=truecolor", "UV_NO_PROGRESS=1")
        tmux("new-session", "-d", "-s", self.name, *size, "-c", str(self.folder), *(word for each in env for word in ("-e", each)), shell)
        self.type(f"PS1='{PROMPT}'; clear")
        self.key("Enter")
        time.sleep(0.5)

    def capture(self, now: float) -> None:
        lines = tmux("capture-pane", "-e", "-p", "-t", self.name).split("\n")[: self.rows]
        if not self.frames or self.frames[-1].lines != lines:
            self.frames.append(Frame(now, lines))

    def text(self) -> str:
        return tmux("capture-pane", "-p", "-t", self.name).rstrip()

    def is_waiting(self) -> bool:
        """Whether the shell shows its prompt again."""
        return self.text().endswith("\n" + PROMPT.strip())

    def key(self, key: str) -> None:
        tmux("send-keys", "-t", self.name, key)

    def type(self, letter: str) -> None:
        tmux("send-keys", "-t", self.name, "-l", letter)


@dataclass
class Recorder:
    terminals: list[Terminal]
    began: float = field(default_factory=time.monotonic)

    def watch(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            for terminal in self.terminals:
                terminal.capture(time.monotonic() - self.began)
            time.sleep(CAPTURE_SECONDS)

    def run(self, terminal: Terminal, command: str, *, until: str = "", hold: float = 2.0, limit: float = 90.0, clear: bool = True) -> None:
        """Type a command, wait until it ends, or shows `until`, and leave that on the screen for `hold` seconds of the picture."""
        if clear:
            terminal.key("C-l")
            self.watch(0.3)
        for letter in command:
            terminal.type(letter)
            terminal.capture(time.monotonic() - self.began)
            time.sleep(KEY_SECONDS)
        self.watch(0.4)
        terminal.key("Enter")
        ends = time.monotonic() + limit
        while not (until in terminal.text() if until else terminal.is_waiting()):
            if time.monotonic() > ends:
                raise SystemExit(f"{command!r} was not done after {limit:.0f} s:\n{terminal.text()}")
            self.watch(CAPTURE_SECONDS)
        self.watch(1.0)
        max((each.frames[-1] for each in self.terminals), key=lambda frame: frame.at).hold = hold


def tmux(*words: str) -> str:
    found = subprocess.run(["tmux", "-L", SOCKET, "-f", "/dev/null", *words], check=True, capture_output=True, text=True)  # noqa: S603, S607
    return found.stdout


def record(folder: Path) -> list[Screen]:
    up, shell = Terminal("up", 25, folder), Terminal("shell", 18, folder)
    for terminal in (up, shell):
        terminal.open()
    recorder = Recorder([up, shell])
    recorder.watch(1.0)
    try:
        recorder.run(up, "uv run waggle up", until="Ctrl-C stops everything", hold=2.0, clear=False)
        hello = json.dumps({"hello": "world"})
        recorder.run(shell, f"uv run waggle tasks submit demo.echo --payload {shlex.quote(hello)} --wait 10", hold=4)
        recorder.run(shell, "uv run waggle tasks submit demo.echo --count 10000", hold=1.5)
        recorder.run(shell, "uv run waggle queues list", hold=2.5, clear=False)
        recorder.run(shell, "kill -9 $(jq .pids.nats .waggle/up.json)   # the broker dies", hold=1.0)
        recorder.run(shell, "uv run waggle tasks submit demo.echo --count 1000  # still accepted", hold=1.0, clear=False)
        recorder.run(shell, "uv run waggle audit --wait 30   # and nothing is lost", hold=5, clear=False)
    finally:
        stop(up)
    return [Screen("waggle up", up.rows, up.frames), Screen("another terminal", shell.rows, shell.frames)]


def stop(up: Terminal) -> None:
    """Let `waggle up` stop what it started, then close both terminals."""
    up.key("C-c")
    ends = time.monotonic() + STOP_SECONDS
    while not up.is_waiting() and time.monotonic() < ends:
        time.sleep(CAPTURE_SECONDS)
    tmux("kill-server")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="demo-") as parent:
        folder = Path(parent) / "waggle"
        Path(parent).chmod(0o755)  # the embedded Postgres does not run as root
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)  # noqa: S603, S607
        subprocess.run(["uv", "sync", "--quiet"], check=True, cwd=folder)  # noqa: S607
        os.environ.pop("VIRTUAL_ENV", None)
        screens = record(folder)
    (ROOT / "docs/waggle.svg").write_text(draw(screens, COLUMNS))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main()
