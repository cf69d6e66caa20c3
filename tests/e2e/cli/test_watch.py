"""`waggle tasks watch`: what changes, as it changes."""

import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.command_line import WAGGLE, Called, access
from support.terminals import person

Run = Callable[[str], Called]
Json = dict[str, Any]


def submitted(cli: Run, command: str) -> str:
    run = cli(f"tasks submit {command} -o json")
    assert run.out, run.err
    return str(json.loads(run.out)["id"])


def test_each_change_is_a_line_until_all_have_ended(cli: Run) -> None:
    quick = submitted(cli, "demo.echo --delay 0.5")
    bad = submitted(cli, "demo.fail --max-retries 0 --delay 0.5")
    run = cli(f"tasks watch {quick} {bad} --until-done --every 0.1")
    assert (run.code, run.err) == (1, "")  # one of them did not complete
    told = [tuple(re.split(r"  +", line)[1:3]) for line in run.out.splitlines()]
    assert set(told) >= {(quick, "completed"), (bad, "dead_letter")}
    assert len(told) == len(set(told))


def test_all_that_completed_is_exit_code_0(cli: Run) -> None:
    submitted(cli, """demo.sleep --payload '{"seconds": 0.3}' --metadata '{"watch": "ok"}'""")
    assert cli("""tasks watch --metadata '{"watch": "ok"}' --until-done --every 0.1""").code == 0


def test_json_lines_are_the_tasks_themselves(cli: Run) -> None:
    made = submitted(cli, """demo.echo --payload '{"price": 1.10}' --delay 0.3""")
    run = cli(f"tasks watch {made} --until-done --every 0.1 -o jsonl")
    assert json.loads(run.out.splitlines()[-1])["status"] == "completed"
    assert '"price": 1.10' in run.out


def test_nothing_to_watch_is_reported_and_an_unknown_id_is_exit_code_3(cli: Run) -> None:
    assert cli("tasks watch --type demo.ehco --until-done").out == "No matching tasks. There is no type demo.ehco; did you mean demo.echo?\n"
    assert cli("tasks watch 00000000-0000-7000-8000-000000000000 --until-done").code == 3


def test_a_terminal_shows_a_table_that_lives_and_ctrl_c_ends_it_well(shop: Json, cli: Run, folder: Path) -> None:
    first = submitted(cli, """demo.echo --metadata '{"watch": "live"}'""")
    command = ("tasks", "watch", "--metadata", '{"watch": "live"}', "--every", "0.2")
    with person(*command, place=folder, columns=120, **access(shop)) as somebody:
        somebody.reads_until(first)
        somebody.reads_until("1 completed")
        second = submitted(cli, """demo.sleep --payload '{"seconds": 0.5}' --metadata '{"watch": "live"}'""")
        somebody.reads_until(second)
        somebody.reads_until("2 completed")
        somebody.presses_ctrl_c()
        assert somebody.sees_it_end() == 0
    assert "Traceback" not in somebody.seen
    assert somebody.raw.rstrip().endswith("\x1b[?25h")  # the cursor is back


def test_ctrl_c_before_they_were_done_is_130(shop: Json, cli: Run, folder: Path) -> None:
    waiting = submitted(cli, "demo.echo --delay 1h")
    with person("tasks", "watch", waiting, "--until-done", place=folder, **access(shop)) as somebody:
        somebody.reads_until("1 pending")
        somebody.presses_ctrl_c()
        assert somebody.sees_it_end() == 130


@contextmanager
def watching(shop: Json, folder: Path, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """A `waggle tasks watch -o jsonl` whose lines go into a pipe."""
    command = [WAGGLE, "tasks", "watch", *arguments, "-o", "jsonl", "--every", "0.2"]
    with subprocess.Popen(command, cwd=folder, env={**os.environ, **access(shop)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        stop = threading.Timer(60, process.kill)
        stop.start()
        try:
            yield process
        finally:
            process.kill()
            stop.cancel()


def told(process: "subprocess.Popen[bytes]") -> tuple[str, str]:
    """The next line: a task's id and its status."""
    assert process.stdout is not None
    task = json.loads(process.stdout.readline())
    return task["id"], task["status"]


def test_a_watch_in_a_pipe_writes_at_once(shop: Json, cli: Run, folder: Path) -> None:
    waiting = submitted(cli, "demo.echo --delay 1h")
    with watching(shop, folder, waiting) as process:
        assert told(process) == (waiting, "pending")
        cli(f"tasks cancel {waiting}")
        assert told(process) == (waiting, "cancelled")
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0


def test_a_task_that_leaves_the_filter_is_watched_to_its_end(shop: Json, cli: Run, folder: Path) -> None:
    waiting = submitted(cli, """demo.echo --delay 1h --metadata '{"watch": "leaves"}'""")
    with watching(shop, folder, "--status", "pending", "--metadata", '{"watch": "leaves"}', "--until-done") as process:
        assert told(process) == (waiting, "pending")
        cli(f"tasks cancel {waiting}")
        assert told(process) == (waiting, "cancelled")
        assert process.wait() == 1
