"""`waggle explain`, `tasks explain`, `tasks logs` and `alerts` against a running `waggle up`, whose services may do only what they need on NATS."""

import json
import shlex
import time
from collections.abc import Callable
from typing import Any

from support.command_line import Called

Run = Callable[[str], Called]


def submitted(cli: Run, command: str) -> str:
    run = cli(f"tasks submit {command} -o json")
    assert run.out, run.err
    return str(json.loads(run.out)["id"])


def test_a_task_that_waits_is_explained_alone_and_among_all(cli: Run) -> None:
    task = submitted(cli, "demo.echo --delay 3600")
    for command in (f"explain {task}", f"tasks explain {task}"):
        run = cli(command)
        assert run.code == 0
        assert run.out.startswith("pending  It waits for its time, at ")
        assert "nothing to do: it runs at its time" in run.out
    assert json.loads(cli(f"explain {task} -o json").out)["reasons"][0]["code"] == "waits_for_time"
    everything = cli("explain").out
    assert everything.startswith("REASON")
    assert "waits_for_time" in everything
    assert cli(f"tasks cancel {task}").code == 0
    assert "It was cancelled at " in cli(f"explain {task}").out
    assert cli("explain 00000000-0000-7000-8000-000000000000").code == 3


def test_a_due_task_of_a_paused_queue_is_explained_without_delay(cli: Run) -> None:
    """The API may ask the stream for the head of a lane."""
    assert cli("queues pause default").code == 0
    try:
        task = submitted(cli, "demo.echo")
        took = []
        for _ in range(3):
            began = time.monotonic()
            assert "The queue default is paused since " in cli(f"explain {task}").out
            took.append(time.monotonic() - began)
        assert min(took) < 1.5, "the stream does not answer"
    finally:
        assert cli("queues resume default").code == 0


def test_logs_are_shown_and_followed(cli: Run) -> None:
    task = submitted(cli, "demo.sleep --payload " + shlex.quote('{"seconds": 2.2}'))
    followed = cli(f"tasks logs {task} -f")
    assert followed.code == 0
    assert [line.rpartition("slept=")[2].strip() for line in followed.out.splitlines()] == ["1", "2"]
    assert followed.out == cli(f"tasks logs {task}").out
    lines: list[dict[str, Any]] = [json.loads(line) for line in cli(f"tasks logs {task} -o jsonl").out.splitlines()]
    assert [(line["attempt"], line["event"], line["fields"]) for line in lines] == [(1, "still asleep", {"slept": 1}), (1, "still asleep", {"slept": 2})]
    assert cli(f"tasks logs {submitted(cli, 'demo.echo --wait 10')}").out == "It has logged nothing.\n"
    assert "(has logs)" in cli(f"tasks show {task}").out


def test_without_alerts_that_is_said(cli: Run) -> None:
    assert cli("alerts") == (0, "No alerts.\n", "")
