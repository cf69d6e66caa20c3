"""`waggle tasks ended`: a consumer of every end, which is killed and goes on."""

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from support.command_line import WAGGLE, Called, access

Run = Callable[[str], Called]
Json = dict[str, Any]

TASKS = 600
START = datetime.now(UTC).isoformat()


def consumer(shop: Json, folder: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    """A program of its own, which writes what it gets into a file `….ends` of its own."""
    with (folder / f"{time.monotonic_ns()}.ends").open("wb") as ends, (folder / "errors").open("ab") as errors:
        command = [WAGGLE, "tasks", "ended", "--type", "demo.echo", *arguments]
        return subprocess.Popen(command, cwd=folder, env={**os.environ, **access(shop)}, stdout=ends, stderr=errors)


def got(folder: Path) -> list[str]:
    """The ids in the files; a kill may have cut a last line off."""
    lines = [line for file in folder.glob("*.ends") for line in file.read_text().splitlines(keepends=True)]
    return [json.loads(line)["id"] for line in lines if line.endswith("\n")]


def until(fact: Callable[[], object], seconds: float = 60.0) -> None:
    ends = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < ends
        time.sleep(0.05)


def test_a_consumer_that_is_killed_again_and_again_misses_no_end(shop: Json, cli: Run, folder: Path) -> None:
    process = consumer(shop, folder, "--keep", "place", "--since", START)
    until((folder / "place").exists)
    made: set[str] = set()
    for pause in (0.2, 0.4, 0.6, 0.8):
        run = cli(f"tasks submit demo.echo --count {TASKS // 4} -o jsonl")
        made |= {json.loads(line)["id"] for line in run.out.splitlines()}
        time.sleep(pause)
        process.kill()
        process.wait()
        process = consumer(shop, folder, "--keep", "place")
    assert len(made) == TASKS
    until(lambda: made <= set(got(folder)))
    last = json.loads(cli("tasks submit demo.echo -o json").out)["id"]
    until(lambda: last in got(folder), 10.0)  # an event wakes it: without one it looks every 15 s
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 130
    assert (folder / "errors").read_text() == ""
    assert Counter(got(folder))[last] == 1


def test_what_came_to_rest_since_a_time_is_shown_once(cli: Run) -> None:
    made = [json.loads(line)["id"] for line in cli("""tasks submit demo.echo --count 5 --delay 1h -o jsonl""").out.splitlines()]
    for task_id in made[:3]:
        cli(f"tasks cancel {task_id}")
    run = cli(f"tasks ended --status cancelled --since {START} --once")
    shown = [json.loads(line)["id"] for line in run.out.splitlines()]
    assert [task_id for task_id in shown if task_id in made] == made[:3]
    assert len(shown) == len(set(shown))
    assert (run.code, run.err) == (0, "")
    assert cli("tasks ended --status failed --type demo.echo --once").out == ""


def test_a_place_that_cannot_be_kept_is_found_out_before_anything_is_shown(cli: Run, folder: Path) -> None:
    run = cli(f"tasks ended --keep no/such/folder --since {START} --once")
    assert (run.code, run.out) == (2, "")
    assert run.err == "waggle tasks ended: the place cannot be kept in no/such/folder: No such file or directory\n"
    for text in (b"not a place\n", b'{"other": "x"}', b"", b'{"cursor": "\xff"}'):
        (folder / "place").write_bytes(text)
        run = cli("tasks ended --keep place --once")
        assert (run.code, run.out, run.err) == (2, "", "waggle tasks ended: place is no file that `--keep` has written\n")
        assert (folder / "place").read_bytes() == text
