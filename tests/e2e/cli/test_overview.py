"""`waggle queues`, `workers`, `types`, `breakers`, and the shell's completion of all of them."""

import json
import shlex
import subprocess
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from support.command_line import COMMAND_SECONDS, WAGGLE, Called, access
from support.facts import until
from support.fleet import FleetSettings
from support.terminals import person
from waggle.bus import breakers, connection
from waggle.bus.breakers import Record, State

Run = Callable[[str], Called]
Json = dict[str, Any]

COMMANDS = {"queues": "QUEUE", "queues list": "QUEUE", "workers": "WORKER", "workers list": "WORKER", "types": "TYPE", "types list": "TYPE"}


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_there_is_a_table_and_json_is_what_the_api_answers(command: str, cli: Run) -> None:
    table, document, lines = cli(command), cli(f"{command} -o json"), cli(f"{command} -o jsonl")
    assert [run.code for run in (table, document, lines)] == [0, 0, 0]
    assert table.out.startswith(COMMANDS[command])
    items = json.loads(document.out)["items"]
    assert len(items) >= 1
    assert len(lines.out.splitlines()) == len(items) == len(table.out.splitlines()) - 1


def test_a_queue_is_paused_shown_and_resumed(cli: Run) -> None:
    assert cli("queues pause reports") == (0, "paused reports\n", "")
    assert "paused" in cli("queues show reports").out
    assert json.loads(cli("queues show reports -o json").out)["paused"] is True
    assert next(line for line in cli("queues").out.splitlines() if line.startswith("reports")).endswith("paused")
    assert cli("queues resume reports") == (0, "resumed reports\n", "")
    assert json.loads(cli("queues show reports -o json").out)["paused"] is False


def test_one_unknown_queue_does_not_hold_up_the_others(cli: Run) -> None:
    run = cli("queues resume rePorts reports")
    assert (run.code, run.out) == (3, "resumed reports\n")
    assert "did you mean reports?" in run.err


@pytest.mark.parametrize(("command", "meant"), {"queues show mial": "mail", "queues stats defualt": "default", "types show emial.send": "email.send"}.items())
def test_a_misspelt_name_is_exit_code_3_with_the_nearest_one(command: str, meant: str, cli: Run) -> None:
    run = cli(command)
    assert (run.code, run.out) == (3, "")
    assert f"did you mean {meant}?" in run.err


def test_a_queues_figures_are_shown(cli: Run) -> None:
    assert cli("tasks submit demo.echo --wait 10").code == 0
    shown = cli("queues stats default --window 2h").out
    assert "the last 2 h" in shown
    assert "error rate" in shown
    assert json.loads(cli("queues stats default -o json").out)["tasks_completed"] >= 1


def waiting(cli: Run, count: int) -> None:
    made = """tasks submit email.send --delay 1h --priority low --payload '{"to": "a", "subject": "b"}'"""
    assert cli(f"{made} --count {count}").code == 0


def test_a_purge_needs_yes_without_a_terminal(cli: Run) -> None:
    waiting(cli, 3)
    run = cli("queues purge mail --priority low")
    assert (run.code, run.out) == (2, "")
    assert "repeat the command with --yes" in run.err
    assert cli("queues purge mail --priority low --type email.send --yes") == (0, "cancelled 3 waiting tasks\n", "")
    assert json.loads(cli("queues purge mail --priority low --yes -o json").out) == {"cancelled": 0}


@pytest.mark.parametrize(("answer", "code", "said"), [("n\n", 1, "Nothing was done."), ("y\n", 0, "cancelled 2 waiting tasks")])
def test_a_purge_at_a_terminal_asks_first(answer: str, code: int, said: str, shop: Json, cli: Run, folder: Path) -> None:
    waiting(cli, 2)
    with person("queues", "purge", "mail", "--priority", "low", place=folder, **access(shop)) as somebody:
        somebody.reads_until("Cancel the waiting tasks of queue mail (2 tasks in all), only those of priority 0? [y/N]")
        somebody.types(answer)
        assert somebody.sees_it_end() == code
    assert said in somebody.seen
    cli("queues purge mail --yes")


def test_a_type_is_shown_with_its_schema(cli: Run) -> None:
    shown = cli("types show email.send").out
    for part in ("email.send", "queue", "mail", '"required"', '"subject"', "backoff", "1.0 s, 2.0 s, 4.0 s … at most 5 min; 100% of it by chance"):
        assert part in shown
    assert json.loads(cli("types show email.send -o json").out)["schema"]["required"] == ["to", "subject"]
    assert "to, subject, body?" in cli("types").out


@pytest.fixture
async def open_breaker(shop: Json) -> AsyncIterator[str]:
    """A breaker that is open, as a worker would have left it."""
    now = datetime.now(UTC)
    settings = FleetSettings(postgres_url=shop["postgres_url"], nats_url=shop["nats_url"])
    async with connection.connection(settings, "test") as bus:
        await until(lambda: bus.connected, what="NATS is there")
        record = Record("smtp.example", State.OPEN, failures=5, trips=2, opened_at=now, retry_at=now + timedelta(minutes=10), error="refused\x1b[2J")
        await breakers.put(bus, record, 0)
        yield record.name
        await breakers.reset(bus, record.name)


async def test_a_breaker_is_seen_and_reset(open_breaker: str, cli: Run) -> None:
    line = next(line for line in cli("breakers").out.splitlines() if line.startswith(open_breaker))
    assert line.split()[1] == "open"
    assert "refused" in line
    shown = cli(f"breakers show {open_breaker}")
    assert "refused" in shown.out
    assert "\x1b" not in shown.out
    assert "did you mean smtp.example?" in cli("breakers show smtp.exmaple").err
    assert cli(f"breakers reset {open_breaker}") == (0, f"reset {open_breaker}  closed\n", "")
    assert json.loads(cli(f"breakers show {open_breaker} -o json").out)["state"] == "closed"


COMPLETED = {
    "waggle ": {"tasks", "dlq", "queues", "workers", "types", "breakers", "up"},
    "waggle dlq re": {"retry", "retries", "remove"},
    "waggle queues p": {"pause", "purge"},
    "waggle tasks submit --fi": {"--file"},
    "waggle tasks list --status f": {"failed"},
    "waggle queues pause ": {"default", "mail", "payments", "reports"},
    "waggle tasks submit email": {"email.send"},
    "waggle tasks list --type pay": {"payment.collect"},
}


def test_the_completion_of_a_real_bash_knows_commands_options_and_names(shop: Json, folder: Path) -> None:
    """All lines in one bash, which sources the script as people do, with readline's own variables."""
    script = subprocess.run([WAGGLE, "completion", "bash"], capture_output=True, text=True, check=True, timeout=COMMAND_SECONDS).stdout
    (folder / "waggle.bash").write_text(script)
    subprocess.run(["bash", "-n", folder / "waggle.bash"], check=True, timeout=COMMAND_SECONDS)
    program = ["source waggle.bash", 'try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _waggle; echo "${COMPREPLY[*]}"; }']
    program += ["try " + " ".join(shlex.quote(word) for word in line.split(" ")) for line in COMPLETED]
    environ = {**access(shop), "PATH": f"{WAGGLE.parent}:/usr/bin:/bin", "HOME": str(folder)}
    run = subprocess.run(
        ["bash", "--norc", "-c", "\n".join(program)], cwd=folder, env=environ, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=True
    )
    for line, words in zip(COMPLETED, run.stdout.splitlines(), strict=True):
        assert COMPLETED[line] <= set(words.split()), line


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_get_a_script_of_theirs(shell: str, cli: Run) -> None:
    script = cli(f"completion {shell}").out
    assert {"zsh": "#compdef waggle", "fish": "complete -c waggle"}[shell] in script
    assert "payment" not in script  # names are asked for when they are needed


def test_the_completion_is_installed_where_bash_finds_it(folder: Path) -> None:
    environ = {"HOME": str(folder), "SHELL": "/bin/bash", "PATH": "/usr/bin:/bin"}
    subprocess.run([WAGGLE, "--install-completion", "--shell", "bash"], env=environ, capture_output=True, check=True, timeout=COMMAND_SECONDS)
    (installed,) = (folder / ".local").rglob("waggle")
    subprocess.run(["bash", "-n", installed], check=True, timeout=COMMAND_SECONDS)
    assert str(installed) in (folder / ".bashrc").read_text()
