"""Runs the programs of the table one after the other. A program that fails keeps no other from running."""

import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen, TimeoutExpired

import machine
from measures import Call, Figure, Line, Program
from waggle_embedded.child import spawn

BENCH = Path(__file__).parent
STOP_SECONDS = 60.0
LOOK_SECONDS = 0.2
LAST_LINES = 15


@dataclass(frozen=True)
class Run:
    """How a program went: its lines as it printed them, the figures in them, and why it failed if it did."""

    program: Program
    call: Call
    seconds: float
    others: float
    """Cores that somebody else used meanwhile, on average."""
    lines: list[Line]
    figures: list[Figure]
    error: str = ""


def run(program: Program, *, full: bool, look: Callable[[float], None] = lambda _: None) -> Run:
    """Run it to its end; `look` is called with the seconds so far. KeyboardInterrupt ends the program gracefully first, and goes on."""
    call = program.call(full=full)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "output"
        used, ours, began = machine.used(), machine.ours(), time.monotonic()
        script, *arguments = call.arguments
        said_at_once = {**os.environ, "PYTHONUNBUFFERED": "1"}
        process = spawn([sys.executable, BENCH / script, *arguments], log=log, at_parents_death=signal.SIGINT, env=said_at_once)
        try:
            failure = wait(process, most_seconds(call), lambda: look(time.monotonic() - began))
        finally:
            stop(process)
        seconds = time.monotonic() - began
        others = max(0.0, (machine.used() - used) - (machine.ours() - ours)) / seconds
        lines, said = parted(log.read_text(errors="replace"))
    figures: list[Figure] = []
    try:
        figures = [figure for line in lines for figure in program.figures(line)]
    except (KeyError, TypeError, ValueError) as error:
        failure = failure or f"its line is not what the table expects: {type(error).__name__}: {error}"
    if not failure and not figures:
        failure = "it printed no figures"
    return Run(program, call, round(seconds, 1), round(others, 2), lines, figures, "\n".join([failure, *said[-LAST_LINES:]]) if failure else "")


def most_seconds(call: Call) -> float:
    """What a program may take on a slow machine; longer is a hang."""
    return call.seconds * 5 + 300


def wait(process: "Popen[bytes]", most: float, look: Callable[[], None]) -> str:
    """How it failed; empty when it did not."""
    deadline = time.monotonic() + most
    while time.monotonic() < deadline:
        with contextlib.suppress(TimeoutExpired):
            code = process.wait(LOOK_SECONDS)
            return f"it ended with exit code {code}" if code else ""
        look()
    return f"it had not ended after {most:.0f} s"


def stop(process: "Popen[bytes]") -> None:
    """As Ctrl-C would: it stops what it started."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except TimeoutExpired:
            process.kill()
            process.wait()


def parted(output: str) -> tuple[list[Line], list[str]]:
    """The JSON lines, and whatever else it said."""
    lines: list[Line] = []
    said: list[str] = []
    for text in output.splitlines():
        found = parsed(text)
        if found is not None:
            lines.append(found)
        elif text.strip():
            said.append(text)
    return lines, said


def parsed(text: str) -> Line | None:
    with contextlib.suppress(ValueError):
        found = json.loads(text)
        return found if isinstance(found, dict) else None
    return None


def obey() -> None:
    """Whoever asks us to end is obeyed as Ctrl-C is."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
