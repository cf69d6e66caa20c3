"""The command line on narrow and simple terminals, and in pipes whose reader leaves."""

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.command_line import WAGGLE, Called, access, waggle
from support.terminals import person

Json = dict[str, Any]
Run = Callable[[str], Called]

REASON = "größer … \u2713 than the order, which nobody knows where to send"


@pytest.fixture
def dead(cli: Run) -> str:
    """The id of a dead letter."""
    payload = json.dumps({"message": REASON, "retryable": False})
    made = cli(f"tasks submit demo.fail --payload {shlex.quote(payload)} --max-retries 0 --wait 10 -o json")
    return str(json.loads(made.out)["id"])


@pytest.mark.parametrize("columns", [60, 80])
@pytest.mark.parametrize("command", ["tasks list --type demo.fail --all", "dlq list --all", "tasks show ID", "tasks watch ID --until-done"])
def test_ids_statuses_and_errors_are_readable(shop: Json, folder: Path, dead: str, columns: int, command: str) -> None:
    words = command.replace("ID", dead).split()
    with person(*words, place=folder, columns=columns, **access(shop)) as somebody:
        somebody.sees_it_end()
    lines = somebody.seen.replace("\r", "").splitlines()
    assert all(len(line) <= columns for line in lines) or command.startswith("tasks watch")  # which draws each line anew
    assert any(dead in line for line in lines)
    assert not any(word == "…" for line in lines for word in line.split() if "größer" not in line), somebody.seen
    assert command.startswith("dlq list") or "dead_letter" in somebody.seen


@pytest.mark.parametrize("command", ["tasks list", "tasks show ID", "dlq list", "dlq groups", "types", "--help", "keys"])
def test_lines_in_a_pipe_end_without_blanks(shop: Json, folder: Path, dead: str, command: str) -> None:
    run = waggle(*command.replace("ID", dead).split(), place=folder, **access(shop))
    assert run.returncode == 0, run.stderr  # which may say that there are more
    assert [line for line in run.stdout.splitlines() if line != line.rstrip()] == []


@pytest.mark.parametrize("command", ["tasks list --all", "tasks list -o jsonl", "tasks list -o json --all", "--help", "config docs"])
def test_a_reader_that_leaves_ends_it_quietly(shop: Json, folder: Path, dead: str, command: str) -> None:
    environ = {"PATH": "/usr/bin:/bin", **access(shop)}
    with subprocess.Popen([WAGGLE, *command.split()], cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()  # before anything is written
        said = process.stderr.read()
        assert (process.wait(60), said) == (141, b"")


@pytest.mark.parametrize("environ", [{"LC_ALL": "C", "PYTHONIOENCODING": "ascii"}, {"TERM": "dumb", "PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}])
def test_an_ascii_terminal_shows_other_characters_by_their_numbers(shop: Json, folder: Path, dead: str, environ: dict[str, str]) -> None:
    for command in (f"tasks show {dead}", "dlq list --all", "dlq groups", f"explain {dead}"):
        run = waggle(*command.split(), place=folder, **access(shop), **environ)
        assert (run.returncode, run.stderr) == (0, ""), command
        assert ("gr\\xf6\\xdfer ... + than" in run.stdout) == ("PYTHONIOENCODING" in environ), command


def test_a_terminal_that_only_shows_lines_gets_lines(shop: Json, folder: Path, dead: str) -> None:
    with person("tasks", "watch", dead, "--until-done", place=folder, **access(shop), TERM="dumb") as somebody:
        assert somebody.sees_it_end() == 1
    assert "\x1b" not in somebody.raw
    assert f"{dead}  dead_letter  demo.fail" in somebody.seen
