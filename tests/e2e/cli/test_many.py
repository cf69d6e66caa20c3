"""Many tasks at once: `waggle tasks submit --count` and `--file`, and long lists."""

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.command_line import Called, access, waggle
from support.terminals import person

Run = Callable[[str], Called]
Json = dict[str, Any]


def lines(tasks: int, run: str) -> str:
    return "".join(json.dumps({"type": "demo.echo", "payload": {"n": n}, "delay": 600, "metadata": {"run": run}}) + "\n" for n in range(tasks))


def stored(cli: Run, run: str) -> list[Json]:
    """The tasks of a run, as the API lists them."""
    found = cli(f"""tasks list --metadata '{{"run": "{run}"}}' --all -o jsonl""")
    assert (found.code, found.err) == (0, "")
    return [json.loads(line) for line in found.out.splitlines()]


def test_a_task_is_submitted_several_times(cli: Run) -> None:
    run = cli("""tasks submit demo.echo --count 1500 --delay 1h --metadata '{"run": "count"}'""")
    assert run.code == 0
    assert run.out.startswith("submitted 1,500 tasks in ")
    assert len({task["id"] for task in stored(cli, "count")}) == 1_500


def test_a_file_is_submitted_and_a_repetition_with_its_key_doubles_nothing(cli: Run, folder: Path) -> None:
    (folder / "tasks.jsonl").write_text(lines(1_200, "file"))
    command = "tasks submit --file tasks.jsonl --idempotency-key file-1"
    assert cli(command).code == 0
    again = cli(command)
    assert again.code == 0
    assert again.out.endswith("; 1,200 of them already existed\n")
    assert len(stored(cli, "file")) == 1_200


def test_the_answers_are_one_task_a_line_or_one_document(cli: Run, folder: Path) -> None:
    (folder / "tasks.jsonl").write_text(lines(1_001, "output"))
    tasks = [json.loads(line) for line in cli("tasks submit --file tasks.jsonl --idempotency-key o -o jsonl").out.splitlines()]
    document = json.loads(cli("tasks submit --file tasks.jsonl --idempotency-key o -o json").out)
    assert [task["id"] for task in tasks] == [task["id"] for task in document["items"]]
    assert len(tasks) == 1_001


def test_tasks_come_from_standard_input(shop: Json, cli: Run, folder: Path) -> None:
    run = waggle("tasks", "submit", "--file", "-", place=folder, stdin=lines(3, "stdin"), **access(shop))
    assert (run.returncode, run.stderr) == (0, "")
    assert len(stored(cli, "stdin")) == 3


def test_bad_lines_are_reported_before_anything_is_sent(cli: Run, folder: Path) -> None:
    (folder / "tasks.jsonl").write_text(lines(2, "bad") + '{"type": "demo.echo", "payloda": 1}\n\n[1\n')
    run = cli("tasks submit --file tasks.jsonl")
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith("waggle tasks submit: nothing was sent, because tasks.jsonl has invalid lines:\n")
    assert "  line 3: payloda: is not a field of a task; did you mean payload?\n" in run.err
    assert "  line 5: is not JSON: " in run.err
    assert stored(cli, "bad") == []


def test_a_file_without_tasks_is_reported(cli: Run, folder: Path) -> None:
    (folder / "tasks.jsonl").write_text("\n\n")
    assert cli("tasks submit --file tasks.jsonl").err == "waggle tasks submit: tasks.jsonl holds no tasks\n"


def test_what_the_api_refuses_is_reported_by_line_and_the_rest_can_be_submitted_afterwards(cli: Run, folder: Path) -> None:
    file = folder / "tasks.jsonl"
    file.write_text("\n" + lines(1_000, "late") + '{"type": "demo.ehco", "metadata": {"run": "late"}, "delay": 600}\n')
    run = cli("tasks submit --file tasks.jsonl --idempotency-key late")
    assert run.code == 1
    assert "  tasks.jsonl, line 1002, type: no worker has announced this type; did you mean demo.echo?" in run.err
    assert run.err.endswith("1,000 of 1,001 tasks were accepted. Repeat the command with --idempotency-key late to submit only the others.\n")

    file.write_text(file.read_text().replace("ehco", "echo"))
    assert cli("tasks submit --file tasks.jsonl --idempotency-key late").code == 0
    assert len(stored(cli, "late")) == 1_001


def test_a_batch_whose_answer_is_lost_is_sent_again_and_doubles_nothing(shop: Json, cli: Run, folder: Path) -> None:
    (folder / "tasks.jsonl").write_text(lines(1_500, "lost"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_lose_the_first_answers, args=(listener, urlsplit(shop["api_url"]).port, 2), daemon=True)
        thread.start()
        run = waggle(
            "tasks", "submit", "--file", "tasks.jsonl", place=folder, **{**access(shop), "WAGGLE_URL": f"http://127.0.0.1:{listener.getsockname()[1]}"}
        )
    assert (run.returncode, run.stderr) == (0, "")
    assert len(stored(cli, "lost")) == 1_500


def _lose_the_first_answers(listener: socket.socket, port: int | None, lost: int) -> None:
    """A proxy in front of the API that loses the first answers: the requests arrive, their answers do not."""
    assert port is not None
    while True:
        try:
            client, _ = listener.accept()
        except OSError:  # the test is over
            return
        with client, socket.create_connection(("127.0.0.1", port)) as api:
            answers = threading.Thread(target=_pump, args=(api, client, lost > 0), daemon=True)
            answers.start()
            _pump(client, api, False)
            answers.join(10)
        lost -= 1


def _pump(source: socket.socket, target: socket.socket, lose: bool) -> None:
    """Forward an answer, or close the connection instead."""
    try:
        while data := source.recv(1 << 16):
            if lose:
                target.shutdown(socket.SHUT_RDWR)
                return
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


def test_long_lists_are_followed_to_their_end(cli: Run) -> None:
    cli("""tasks submit demo.echo --count 1100 --delay 1h --metadata '{"run": "long"}'""")
    narrowed = """tasks list --metadata '{"run": "long"}'"""
    some = cli(f"{narrowed} --limit 1050 -o jsonl")
    assert len(some.out.splitlines()) == 1_050
    assert some.err.startswith("There are more: waggle tasks list --metadata ")
    assert len(json.loads(cli(f"{narrowed} --limit 1050 -o json").out)["items"]) == 1_050
    assert len(json.loads(cli(f"{narrowed} --all -o json").out)["items"]) == 1_100
    assert len(cli(f"{narrowed} --all").out.splitlines()) == 1_101


def test_ids_are_read_from_standard_input(shop: Json, cli: Run, folder: Path) -> None:
    made = [json.loads(cli("tasks submit demo.echo --delay 1h -o json").out)["id"] for _ in range(3)]
    for verb, done in (("cancel", "cancelled"), ("purge", "purged")):
        run = waggle("tasks", verb, "-", place=folder, stdin="\n".join(made), **access(shop))
        assert (run.returncode, run.stderr) == (0, "")
        assert [line.split()[:2] for line in run.stdout.splitlines()] == [[done, id_] for id_ in made]
    assert cli(f"tasks show {made[0]}").code == 3


def test_what_is_not_finished_is_not_purged(cli: Run) -> None:
    waiting = json.loads(cli("tasks submit demo.echo --delay 1h -o json").out)["id"]
    run = cli(f"tasks purge {waiting}")
    assert (run.code, run.out) == (1, "")
    assert waiting in run.err


@pytest.mark.parametrize("colours", [True, False])
def test_progress_is_shown_on_a_terminal_and_leaves_one_line(colours: bool, shop: Json, folder: Path) -> None:
    (folder / "tasks.jsonl").write_text(lines(5_000, "progress"))
    environ = {**access(shop), **({} if colours else {"NO_COLOR": "1"})}
    with person("tasks", "submit", "--file", "tasks.jsonl", place=folder, **environ) as somebody:
        assert somebody.sees_it_end() == 0
    assert "submitting" in somebody.seen
    assert "of 5000" in somebody.seen
    assert somebody.seen.rstrip().splitlines()[-1].startswith("submitted 5,000 tasks in ")
    assert bool("\x1b[38;5" in somebody.raw or "\x1b[32m" in somebody.raw or "\x1b[36m" in somebody.raw) is colours
