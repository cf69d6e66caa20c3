"""What a new user does first, as the README tells it: start everything, submit with curl, look around with the command line."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.command_line import up, waggle
from support.system import client_for, ok


@pytest.fixture(scope="module")
def place(session_folder: Path) -> Path:
    """The folder in which the user works."""
    made = session_folder / "first-steps"
    made.mkdir(mode=0o711)
    return made


@pytest.fixture(scope="module")
def running(place: Path) -> Iterator[dict[str, Any]]:
    """`waggle up` in that folder."""
    with up(place=place, output=place / "output.txt") as facts:
        yield facts


async def test_the_first_steps(running: dict[str, Any], place: Path) -> None:
    nothing = waggle("tasks", "list", place=place)
    assert (nothing.returncode, nothing.stderr) == (0, "")
    assert nothing.stdout == """No tasks yet. Submit one: waggle tasks submit demo.echo --payload '{"hello": "world"}'\n"""

    # curl -sX POST "$API/api/tasks" -H 'content-type: application/json' -d '{"type":"demo.echo","payload":{"hello":"world"}}'
    # curl -s "$API/api/tasks/$ID?wait=10"
    async with client_for(running) as client:
        body = b'{"type":"demo.echo","payload":{"hello":"world"}}'
        created = ok(await client.post("/api/tasks", content=body, headers={"content-type": "application/json"}), 201)
        read = ok(await client.get(f"/api/tasks/{created['id']}?wait=10"))
    assert read["status"] == "completed"
    assert read["result"] == {"hello": "world"}

    submitted = waggle("tasks", "submit", "demo.fail", "--max-retries", "0", place=place)
    assert (submitted.returncode, submitted.stderr) == (0, "")
    word, task_id, kind, _ = submitted.stdout.split()
    assert (word, kind) == ("submitted", "demo.fail")

    buried = waggle("tasks", "show", task_id, "--wait", "10", place=place)
    assert buried.returncode == 1

    listed = waggle("tasks", "list", place=place)
    assert listed.returncode == 0
    lines = listed.stdout.splitlines()
    assert lines[0].split() == ["ID", "TYPE", "STATUS", "QUEUE", "PRIORITY", "AGE", "NOTE"]
    assert [line.split()[:5] for line in lines[1:]] == [
        [task_id, "demo.fail", "dead_letter", "default", "medium"],
        [created["id"], "demo.echo", "completed", "default", "medium"],
    ]

    shown = waggle("tasks", "show", task_id, place=place)
    assert shown.returncode == 0
    assert shown.stdout.split()[:2] == ["demo.fail", "dead_letter"]
    assert "task_execution_failed: DemoError: failed on request" in shown.stdout
    assert re.search(r"failed +attempt 1 ", shown.stdout.partition("timeline")[2])


def test_the_command_line_finds_the_api_from_a_folder_below(running: dict[str, Any], place: Path) -> None:
    below = place / "src" / "deep"
    below.mkdir(parents=True)
    found = waggle("tasks", "submit", "demo.echo", "--wait", "10", "-o", "json", place=below)
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["status"] == "completed"
