"""Runs the programs of the table one after the other. The others still run if one fails."""

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
POLL_SECONDS = 0.2
LAST_LINES = 15


@dataclass(frozen=True)
class Run:
    """One run of a program: the lines that it printed, their figures, and the error if it failed."""

    program: Program
    call: Call
    seconds: float
    others: float
    """Cores that other programs used meanwhile, on average."""
    lines: list[Line]
    figures: list[Figure]
    error: str = ""


def run(program: Program, *, full: bool, on_progress: Callable[[float], None] = lambda _: None) -> Run:
    """Run it to its end; `on_progress` is called with the seconds so far. KeyboardInterrupt stops the program gracefully, then propagates."""
    call = program.call(full=full)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "output"
        used, ours, began = machine.used(), machine.ours(), time.monotonic()
        script, *arguments = call.arguments
        said_at_once = {**os.environ, "PYTHONUNBUFFERED": "1"}
        process = spawn([sys.executable, BENCH / script, *arguments], log=log, at_parents_death=signal.SIGINT, env=said_at_once)
        try:
            failure = wait(process, most_seconds(call), lambda: on_progress(time.monotonic() - began))
        finally:
            stop(process)
        seconds = time.monotonic() - began
        others = max(0.0, (machine.used() - used) - (machine.ours() - ours)) / seconds
        lines, said = parted(log.read_text(errors="replace"))
    figures: list[Figure] = []
    try:
        figures = [figure for line in lines for figure in program.figures(line)]
    except (KeyError, TypeError, ValueError) as error:
        failure = failure or f"unexpected JSON line: {type(error).__name__}: {error}"
    if not failure and not figures:
        failure = "no figures printed"
    return Run(program, call, round(seconds, 1), round(others, 2), lines, figures, "\n".join([failure, *said[-LAST_LINES:]]) if failure else "")


def most_seconds(call: Call) -> float:
    """The time limit of a program; on a slow machine it may take much longer than usual."""
    return call.seconds * 5 + 300


def wait(process: "Popen[bytes]", most: float, on_progress: Callable[[], None]) -> str:
    """The error; empty if it succeeded."""
    deadline = time.monotonic() + most
    while time.monotonic() < deadline:
        with contextlib.suppress(TimeoutExpired):
            code = process.wait(POLL_SECONDS)
            return f"exit code {code}" if code else ""
        on_progress()
    return f"still running after {most:.0f} s"


def stop(process: "Popen[bytes]") -> None:
    """Send SIGINT, so that the program stops what it started; after a minute, kill it."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(STOP_SECONDS)
        except TimeoutExpired:
            process.kill()
            process.wait()


def parted(output: str) -> tuple[list[Line], list[str]]:
    """The JSON lines, and the other lines."""
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
    """Treat SIGTERM and SIGHUP like Ctrl-C."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
