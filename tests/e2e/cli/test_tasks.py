"""`waggle tasks` against a running Waggle: what it prints, and the exit codes that scripts rely on."""

import asyncio
import json
import os
import re
import shlex
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import pytest

from support.command_line import WAGGLE, Called, access, called, waggle
from support.facts import until
from support.system import Client, client_for

Run = Callable[[str], Called]
Json = dict[str, Any]

NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def tasks(shop: Json, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `waggle tasks …` in a folder of this test's own."""
    monkeypatch.chdir(folder)
    for name, value in access(shop).items():
        monkeypatch.setenv(name, value)
    return lambda command: called(capsys, "tasks", *shlex.split(command))


@pytest.fixture
def submit(tasks: Run) -> Callable[[str], Json]:
    """Submit a task; what the API answered."""

    def submit(command: str) -> Json:
        run = tasks(f"submit {command} -o json")
        assert run.out, run.err
        found: Json = json.loads(run.out)
        return found

    return submit


@pytest.fixture
async def api(shop: Json) -> AsyncIterator[Client]:
    """The same API, without the command line."""
    async with client_for(shop) as opened:
        yield opened


async def test_json_is_exactly_what_the_api_answers(tasks: Run, submit: Callable[[str], Json], api: Client) -> None:
    task = submit("""demo.echo --payload '{"price": 1.10, "big": 12345678901234567890}' --wait 10""")
    submit("demo.echo --wait 10")
    one = await api.get(f"/api/tasks/{task['id']}")
    some = await api.get("/api/tasks", params={"type": "demo.echo", "limit": 1})
    assert tasks(f"show {task['id']} -o json") == (0, one.text + "\n", "")
    assert tasks("list --type demo.echo --limit 1 -o json") == (0, some.text + "\n", "")
    assert '"price": 1.10' in one.text
    assert set(some.json()) == {"items", "next_cursor"}


async def test_a_submission_shows_the_id_and_the_task_is_what_was_asked_for(tasks: Run, api: Client, folder: Path) -> None:
    (folder / "p.json").write_text('{"from": "a file"}')
    run = tasks("submit demo.echo --payload @p.json --priority high --queue mail --max-retries 7 --timeout 2.5 --delay 3600")
    assert (run.code, run.err) == (0, "")
    word, task_id, kind, status = run.out.split()
    assert (word, kind, status) == ("submitted", "demo.echo", "pending")
    task = await api.cancel(task_id)
    assert (task["priority"], task["queue"], task["max_retries"], task["timeout"], task["payload"]) == (2, "mail", 7, 2.5, {"from": "a file"})


def soon() -> str:
    return (datetime.now(UTC) + timedelta(seconds=1)).isoformat()


WAITS = {
    "completed": ("submit demo.echo --wait 10", 0),
    "dead_letter": ("submit demo.fail --max-retries 0 --wait 10", 1),
    "failed": ("""submit demo.sleep --payload '{{"seconds": 60}}' --deadline {soon} --wait 10""", 1),
    "pending": ("submit demo.echo --delay 60 --wait 0.1", 1),
}


@pytest.mark.parametrize("status", WAITS)
def test_the_exit_code_says_whether_the_task_completed(status: str, tasks: Run) -> None:
    command, code = WAITS[status]
    run = tasks(command.format(soon=soon()) + " -o json")
    assert (run.code, json.loads(run.out)["status"]) == (code, status)
    task_id = json.loads(run.out)["id"]
    assert tasks(f"show {task_id} --wait 0.1").code == code
    assert tasks(f"show {task_id}").code == 0


def test_a_wait_that_was_too_short_says_how_to_continue(tasks: Run) -> None:
    run = tasks("submit demo.echo --delay 60 --wait 0.1")
    assert run.code == 1
    task_id = run.out.split()[1]
    assert run.err == f"The task has not ended after 0.1 s.\nWait longer: waggle tasks show {task_id} --wait 60\n"


def test_a_refusal_names_every_field_at_once(tasks: Run) -> None:
    run = tasks("""submit email.send --payload '{"to": 7}' --queue nowhere""")
    assert (run.code, run.out) == (1, "")
    assert "waggle tasks submit: 3 fields are not valid\n" in run.err
    assert "  payload.subject: is required\n" in run.err
    assert "  queue: is not known; " in run.err
    assert "  (validation_error, request " in run.err


@pytest.mark.parametrize("command", ["show {}", "show {} --wait 5", "cancel {}", "show {} -o json"])
def test_an_unknown_id_is_exit_code_3(command: str, tasks: Run) -> None:
    run = tasks(command.format(NOBODY))
    assert (run.code, run.out) == (3, "")
    assert "there is no task with this id" in run.err


def test_an_unreachable_api_is_exit_code_4(tasks: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for command in ("submit demo.echo", "list", f"show {NOBODY} --wait 60", f"cancel {NOBODY}"):
        run = tasks(f"{command} --url http://127.0.0.1:1")
        assert run == (4, "", f"waggle tasks {command.split()[0]}: http://127.0.0.1:1 does not answer: Connection refused\n")
    monkeypatch.delenv("WAGGLE_URL")
    assert tasks("list") == (4, "", "waggle tasks list: no Waggle found: start one with `waggle up`, or give --url\n")


def test_a_list_can_be_filtered_by_metadata(tasks: Run, submit: Callable[[str], Json]) -> None:
    made = submit("""demo.echo --delay 60 --metadata '{"tenant": "a", "n": 1}'""")["id"]
    assert ids(tasks("""list --metadata '{"tenant": "a"}'""")) == [made]
    assert tasks("""list --metadata '{"tenant": "b"}'""").out == "No matching tasks.\n"


def ids(run: Called) -> list[str]:
    return [line.split()[0] for line in run.out.splitlines()[1:]]


@pytest.mark.parametrize("output", ["json", "table"])
def test_a_reader_that_has_seen_enough_is_no_crash(output: str, shop: Json) -> None:
    command = f"{WAGGLE} tasks list -o {output} --url {shop['api_url']} | true"
    run = subprocess.run(["sh", "-c", command], env={**os.environ, **access(shop)}, capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("", "")


def test_the_same_key_gives_the_same_task(tasks: Run) -> None:
    for option in ("--idempotency-key k1", "--unique-key k2"):
        first, again = (tasks(f"submit demo.echo --delay 60 {option}") for _ in range(2))
        assert (first.code, again.code) == (0, 0)
        assert first.out.split()[0] == "submitted"
        assert again.out == first.out.replace("submitted", "already exists:")
    assert tasks("submit demo.echo --delay 61 --idempotency-key k1").code == 1


def test_cancelling_reports_the_result_for_each_task(tasks: Run, submit: Callable[[str], Json]) -> None:
    waiting, other, done = (submit(command)["id"] for command in ("demo.echo --delay 60", "demo.echo --delay 60", "demo.echo --wait 10"))

    assert tasks(f"cancel {waiting}") == (0, f"cancelled {waiting}  demo.echo  cancelled\n", "")
    assert tasks(f"cancel {waiting}").code == 0
    assert tasks(f"show {waiting} --wait 1").code == 1

    run = tasks(f"cancel {done} {NOBODY} {other}")
    assert (run.code, run.out) == (1, f"cancelled {other}  demo.echo  cancelled\n")
    assert f"waggle tasks cancel: {done}: the task has already ended: completed\n" in run.err
    assert f"waggle tasks cancel: {NOBODY}: there is no task with this id\n" in run.err
    assert tasks(f"cancel {NOBODY} {done}").code == 3

    answers = tasks(f"cancel {waiting} {other} -o json").out.splitlines()
    assert [(json.loads(answer)["id"], json.loads(answer)["status"]) for answer in answers] == [(waiting, "cancelled"), (other, "cancelled")]


def test_a_long_list_says_how_to_see_the_rest(tasks: Run, submit: Callable[[str], Json]) -> None:
    made = [submit("demo.sleep --delay 60 --priority low")["id"] for _ in range(3)]
    command = "list --status pending --type demo.sleep --type demo.echo --priority 0 --limit 2"
    first = tasks(command)
    assert (first.code, ids(first)) == (0, [made[2], made[1]])
    assert first.err.startswith(f"There are more: waggle tasks {command} --cursor ")
    rest = tasks(first.err.partition("waggle tasks ")[2])
    assert (rest.code, ids(rest), rest.err) == (0, [made[0]], "")
    assert tasks(f"cancel {' '.join(made)}").code == 0
    assert tasks(command) == (0, "No matching tasks.\n", "")


async def test_a_wait_survives_the_api(shop: Json, submit: Callable[[str], Json], api: Client, folder: Path) -> None:
    """`waggle up` starts it again, on the same port."""
    task = submit("demo.echo --delay 60")
    arguments = ("tasks", "show", task["id"], "--wait", "30", "-o", "json")
    show = asyncio.create_task(asyncio.to_thread(waggle, *arguments, place=folder, **access(shop)))
    await until(lambda: _waits(api), what="the command waits")
    os.kill(shop["pids"]["api"], signal.SIGKILL)
    await until(lambda: _answers(api), 20, "the API is there again")
    await api.cancel(task)
    run = await show
    assert (run.returncode, run.stderr) == (1, "")
    assert json.loads(run.stdout)["status"] == "cancelled"


async def _waits(api: Client) -> bool:
    return "waggle_http_waiting 1.0" in (await api.get("/metrics")).text


async def _answers(api: Client) -> bool:
    try:
        return (await api.get("/readyz")).status_code == 200
    except httpx2.TransportError:
        return False


async def test_of_very_many_attempts_the_last_ones_are_shown(tasks: Run, shop: Json, api: Client) -> None:
    task = await api.wait(await api.submit("demo.fail", max_retries=0))
    assert "left out" not in tasks(f"show {task['id']}").out
    connection = await asyncpg.connect(shop["postgres_url"])
    await connection.execute(
        """INSERT INTO waggle.task_attempts (task_id, attempt, worker_id, started_at, ended_at, outcome)
           SELECT $1, n, 'w', now(), now(), 'failed' FROM generate_series(2, 150) n""",
        task["id"],
    )
    await connection.execute("UPDATE waggle.tasks SET attempt = 150, retry_count = 149, max_retries = 149 WHERE id = $1", task["id"])
    await connection.close()
    _, _, timeline = tasks(f"show {task['id']}").out.partition("timeline")
    first, gap, *rest = timeline.strip().splitlines()
    assert "submitted" in first
    assert gap.split() == ["…", "100", "attempts", "left", "out"]
    assert re.findall(r"failed +attempt (\d+)", "\n".join(rest)) == [str(number) for number in range(101, 151)]
    await api.delete(f"/api/dlq/{task['id']}")
