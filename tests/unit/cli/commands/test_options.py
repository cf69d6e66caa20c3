"""What people type into options: what it means, and the error if it is invalid. No command here calls an API."""

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import get_args

import pytest

from support.command_line import called
from waggle.errors import ErrorCode
from waggle.nesting import LEVELS
from waggle.task import AT_REST, Priority, Status
from waggle_cli.__main__ import main
from waggle_cli.commands import parameters
from waggle_cli.rest import client, shapes
from waggle_cli.rest.errors import Unreachable


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Run a command in this process; returns its exit code and its error message on one line. An attempt to call an API ends with code 4."""
    monkeypatch.setenv("WAGGLE_URL", "http://127.0.0.1:1")

    def run(*arguments: str) -> tuple[int, str]:
        code, _, err = called(capsys, *arguments)
        return code, " ".join(err.replace("│", "").split())

    return run


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """The bodies that a submission would send."""
    bodies: list[dict[str, object]] = []

    def submit(_: object, body: bytes, key: str) -> None:
        bodies.append({**json.loads(body, parse_float=str), "key": key})
        raise Unreachable("not now")

    monkeypatch.setattr(client.Api, "submit", submit)
    return bodies


WRONG = {
    "a payload that is not JSON": (
        "submit x --payload {a:1}",
        "--payload: it is not JSON: Expecting property name enclosed in double quotes at line 1, column 2",
    ),
    "a payload that is empty": ("submit x --payload=", "it is not JSON: Expecting value at line 1, column 1"),
    "a payload that is no object": ("submit x --payload [1]", 'it must be a JSON object such as {"name": "value"}'),
    "a payload with a number that JSON has not": ('submit x --payload {"a":NaN}', "NaN is not JSON"),
    "a payload one level too deep": (f'submit x --payload {{"a":{"[" * LEVELS}{"]" * LEVELS}}}', "it is nested too deeply: 512 levels are allowed"),
    "a payload 100,000 levels deep": (f'submit x --payload {{"a":{"[" * 100_000}', "it is nested too deeply"),
    "a file that is not there": ("submit x --payload @/nowhere", "cannot read /nowhere: No such file or directory"),
    "metadata that is no object": ("submit x --metadata 7", "--metadata: it must be a JSON object"),
    "a misspelt priority": ("submit x --priority hihg", "must be low, medium, high or critical, or 0 to 3; did you mean high?"),
    "a priority that is too high": ("list --priority 4", "must be low, medium, high or critical, or 0 to 3"),
    "a misspelt status": ("list --status faild", 'Did you mean "failed"?'),
    "an invalid time": ("submit x --run-at tomorrow", "must be a time such as 2030-01-31T18:00 or 2030-01-31T18:00:00Z"),
    "an invalid length of time": ("submit x --delay nan", "must be a number of seconds, 0 or more"),
    "a length of time with an unknown unit": ("submit x --delay 2w", "must be a number of seconds, 0 or more, or a length such as 15m, 2h or 7d"),
    "a negative length of time": ("show 01a20428-cf15-7141-a548-5c7749aad342 --wait -1", "must be a number of seconds, 0 or more"),
    "an invalid id": ("show 42", "'42' is not the id of a task"),
    "one invalid id of several": ("cancel 01a20428-cf15-7141-a548-5c7749aad342 42", "'42' is not the id of a task"),
    "no id": ("cancel", "requires an argument"),
    "a key that no header can carry": ("submit x --idempotency-key é", "Must be 1 to 240 printable ASCII characters"),
    "an unknown output": ("list -o yaml", 'Choose from: "table", "json", "jsonl"'),
    "an unknown option": ("list --stat failed", "Unknown option: --stat. Did you mean --status?"),
    "an unknown command": ("lst", 'Unknown command "lst". Did you mean "list"?'),
    "a command that needs an id": ("purge", "requires an argument"),
    "no type and no file": ("submit", "give a TYPE or a --file"),
    "a file that cannot be": ("submit --file /nowhere", "There is no such file."),
    "a folder for a file": ("submit --file /", "It is a folder."),
    "a file and a task": ("submit x --file /dev/null", "--file holds complete tasks: leave out TYPE"),
    "a count of none": ("submit x --count 0", "Must be >= 1"),
    "many that are waited for": ("submit x --count 2 --wait 3", "--count cannot be combined with --wait or --unique-key"),
    "ids and a description of tasks": ("watch 01a20428-cf15-7141-a548-5c7749aad342 --queue mail", "give either ids or filter options, not both"),
    "more than can be watched": ("watch --limit 201", "cannot watch more than 200 tasks"),
    "a URL without its scheme": ("list --url localhost:8420", "--url must be a URL such as http://127.0.0.1:8420, not 'localhost:8420'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_usage_is_reported_before_anything_is_sent(case: str, run: Callable[..., tuple[int, str]]) -> None:
    command, message = WRONG[case]
    code, said = run("tasks", *command.split())
    assert code == 2
    assert message in said


OTHERS = {
    "a misspelt group": ("queus", 'Unknown command "queus". Did you mean "queues"?'),
    "a misspelt command of a group that has a default": ("queues shwo", 'waggle queues: Unknown command "shwo". Did you mean "show"?'),
    "nothing like any command": ("types zzz", "Available commands: list, show, stub, check."),
    "too many arguments": ("queues show a b", "waggle queues show: too many arguments: b"),
    "a misspelt command beside a service": ("dlq lst", 'Did you mean "list"?'),
    "a bulk retry of nothing in particular": ("dlq retry", "or --all for every dead letter"),
    "a bulk retry at no rate": ("dlq retry --all --rate 0", "Must be > 0"),
    "ids and a description of dead letters": ("dlq retry 01a20428-cf15-7141-a548-5c7749aad342 --type x", "give either ids or filter options"),
    "a payload for many": ("dlq retry --all --payload {}", "--payload is for a single dead letter"),
    "a misspelt code": ("dlq list --code task_timout", 'Did you mean "task_timeout"?'),
    "a bulk retry without its id": ("dlq retries --stop", "give the id of a bulk retry"),
    "an unknown shell": ("completion tcsh", 'Choose from: "bash", "zsh", "fish"'),
}


@pytest.mark.parametrize("case", OTHERS)
def test_the_other_groups_report_wrong_usage_as_well(case: str, run: Callable[..., tuple[int, str]]) -> None:
    command, message = OTHERS[case]
    code, said = run(*command.split())
    assert code == 2
    assert message in said


LENGTHS = {"90": 90.0, "1.5": 1.5, "15m": 900.0, "2h": 7200.0, "7D": 604800.0, "3s": 3.0}


@pytest.mark.parametrize("given", LENGTHS)
def test_a_length_of_time_may_have_a_unit(given: str, run: Callable[..., tuple[int, str]], sent: list[dict[str, object]]) -> None:
    run("tasks", "submit", "x", "--delay", given)
    assert float(str(sent[0]["delay"])) == LENGTHS[given]


def test_a_payload_is_sent_as_it_was_written(run: Callable[..., tuple[int, str]], sent: list[dict[str, object]], tmp_path: Path) -> None:
    (tmp_path / "payload.json").write_text('{"price": 1.10}')
    run("tasks", "submit", "x", "--payload", '{"price": 1.10}')
    run("tasks", "submit", "x", "--payload", f"@{tmp_path / 'payload.json'}")
    assert [body["payload"] for body in sent] == [{"price": "1.10"}, {"price": "1.10"}]


def test_a_payload_comes_from_standard_input(run: Callable[..., tuple[int, str]], sent: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'\xef\xbb\xbf{"from": "a pipe"}\n')))
    run("tasks", "submit", "x", "--payload", "-")
    assert sent[0]["payload"] == {"from": "a pipe"}


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("berlin")
def test_a_time_that_the_clock_skips_is_refused_with_its_reason(run: Callable[..., tuple[int, str]], sent: list[dict[str, object]]) -> None:
    for option in ("--run-at", "--deadline"):
        code, said = run("tasks", "submit", "x", option, "2030-03-31T02:30")
        assert (code, "there is no 2030-03-31T02:30 in this machine's time zone" in said) == (2, True)
    assert sent == []
    for time_, offset in {"2030-03-31T03:00": "+02:00", "2030-10-27T02:30": "+02:00", "2030-03-31T02:30+01:00": "+02:00"}.items():
        run("tasks", "submit", "x", "--run-at", time_)
        assert str(sent[-1]["run_at"]).endswith(offset)


def test_every_option_becomes_a_field_and_what_is_not_given_is_left_out(
    run: Callable[..., tuple[int, str]], sent: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run("tasks", "submit", "x")
    run(
        *("tasks", "submit", "x", "--priority", "CRITICAL", "--queue", "q", "--max-retries", "0", "--timeout", "1.5", "--delay", "2"),
        *("--run-at", "2030-01-31T18:00:00Z", "--deadline", "2030-01-31T18:00+02:00", "--unique-key", "u", "--idempotency-key", "i"),
        *("--description", "for people", "--metadata", '{"tenant": "a"}'),
    )
    bare, full = sent
    assert bare.keys() == {"type", "key"}
    assert bare["key"] != full["key"] == "i"
    moments = [datetime.fromisoformat(str(full.pop(name))).timestamp() for name in ("run_at", "deadline")]
    assert moments == [1896112800.0, 1896105600.0]
    assert full == {
        "type": "x",
        "priority": 3,
        "queue": "q",
        "max_retries": 0,
        "timeout": "1.5",
        "delay": "2.0",
        "unique_key": "u",
        "description": "for people",
        "metadata": {"tenant": "a"},
        "key": "i",
    }


def test_a_submission_whose_outcome_is_unknown_can_be_repeated_as_the_same(run: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    keys = []

    def submit(_: object, __: bytes, key: str) -> None:
        keys.append(key)
        raise Unreachable("the connection was lost", unknown=True)

    monkeypatch.setattr(client.Api, "submit", submit)
    code, said = run("tasks", "submit", "x")
    assert code == 4
    assert said.endswith(f"The task may have been accepted. To be sure, repeat the command with --idempotency-key {keys[0]}")


def test_the_words_are_those_of_the_product() -> None:
    assert list(shapes.PRIORITIES) == [priority.name.lower() for priority in Priority]
    assert set(get_args(parameters.Status)) == set(Status)
    assert set(get_args(parameters.ErrorCode)) == set(ErrorCode)
    assert set(shapes.AT_REST) == AT_REST


def test_the_exit_codes_are_those_of_the_help() -> None:
    from waggle_cli.commands.session import Exit

    assert [line.split()[0] for line in parameters.EXIT_CODES.splitlines()[1:]] == [str(code.value) for code in Exit]


def test_help_does_not_wait_for_what_it_does_not_need() -> None:
    run = subprocess.run([sys.executable, "-X", "importtime", "-m", "waggle_cli", "tasks", "submit", "--help"], capture_output=True, text=True, check=True)
    assert "Exit codes:" in run.stdout
    assert not {"httpx2", "msgspec", "structlog", "waggle", "asyncio"} & {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}


def test_on_windows_it_says_what_to_use_instead(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(os, "name", "nt")
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "waggle: the command line and the services need Linux or macOS; on Windows, run them in WSL 2\n"
