"""The terminal of `waggle up` holds nobody up: not without a reader, and not with a pipe that nobody empties."""

import os
import subprocess
import sys

LINES = "from waggle_cli.views.terminal import Terminal\nterminal = Terminal()\nfor _ in range(5_000):\n    terminal.line('worker', 'warning', 'x' * 100)\n"


def test_a_pipe_that_nobody_empties() -> None:
    reader, writer = os.pipe()
    try:
        assert subprocess.run([sys.executable, "-c", LINES], stdout=writer, timeout=60, check=False).returncode == 0
    finally:
        os.close(reader)
        os.close(writer)


def test_without_a_reader() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ran = subprocess.run([sys.executable, "-c", LINES], stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False)
    finally:
        os.close(writer)
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_what_it_says_comes_out() -> None:
    ran = subprocess.run([sys.executable, "-c", LINES + "terminal.done('worker', 'fine')"], capture_output=True, text=True, timeout=60, check=True)
    lines = ran.stdout.splitlines()
    assert (len(lines), lines[0].split()[:2], lines[-1].split()) == (5_001, ["worker", "warning"], ["✓", "worker", "fine"])
