"""`waggle dlq`: dead letters listed, grouped, retried, removed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.command_line import Called, access
from support.terminals import person

Run = Callable[[str], Called]
Json = dict[str, Any]

NOBODY = "00000000-0000-7000-8000-000000000000"


def dead(cli: Run, reason: str, count: int = 1, **payload: Any) -> list[str]:
    """Create dead letters with this reason; returns their ids, latest first."""
    text = json.dumps({"message": reason, "retryable": False, **payload})
    made = cli(f"tasks submit demo.fail --payload '{text}' --max-retries 0 --count {count} -o jsonl")
    ids = [json.loads(line)["id"] for line in made.out.splitlines()]
    assert cli(f"tasks watch {' '.join(ids)} --until-done --every 0.1 -o jsonl").code == 1
    return [task["id"] for task in json.loads(cli(f"dlq list --text '{reason}' -o json").out)["items"]]


def test_they_are_listed_and_shown(cli: Run) -> None:
    one, two = dead(cli, "a door without a name", 2)
    table = cli("dlq list --type demo.fail --text 'WITHOUT A NAME' --newer-than 1h")
    assert (table.code, table.err) == (0, "")
    assert [line.split()[0] for line in table.out.splitlines()] == ["ID", one, two]
    assert table.out.count("a door without a name") == 2
    found = json.loads(cli(f"dlq show {one} -o json").out)
    assert (found["status"], found["payload"]["message"]) == ("dead_letter", "a door without a name")
    assert "dead_letter" in cli(f"dlq show {one}").out
    lines = cli("dlq list --text 'without a name' --all -o jsonl").out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [one, two]


def test_an_empty_list_is_a_sentence_for_people_and_empty_json_for_scripts(cli: Run) -> None:
    for command, sentence in {
        "dlq list --text 'nobody wrote this'": "No matching dead letters.\n",
        "dlq groups --type demo.fial": "No matching dead letters. There is no type demo.fial; did you mean demo.fail?\n",
        "dlq list --queue mial": "No matching dead letters. There is no queue mial; did you mean mail?\n",
    }.items():
        assert cli(command) == (0, sentence, "")
        assert cli(f"{command} -o json") == (0, '{"items":[]}\n', "")
        assert cli(f"{command} -o jsonl") == (0, "", "")
    assert cli("dlq retry --type demo.fial --dry-run").out.endswith("would be retried. There is no type demo.fial; did you mean demo.fail?\n")


def test_they_are_grouped_by_what_went_wrong(cli: Run) -> None:
    dead(cli, "order 4711 has no address", 1)
    dead(cli, "order 4712 has no address", 1)
    groups = json.loads(cli("dlq groups --text 'has no address' -o json").out)["items"]
    assert [group["count"] for group in groups] == [2]
    fingerprint = groups[0]["fingerprint"]
    table = cli("dlq groups --text 'has no address'").out.splitlines()
    assert table[1].split()[:3] == [fingerprint, "2", "demo.fail"]
    assert cli(f"dlq retry --fingerprint {fingerprint} --dry-run").out == "2 dead letters would be retried\n"


def test_one_is_retried_with_another_payload(cli: Run) -> None:
    (id_,) = dead(cli, "wrong payload")
    run = cli(f"""dlq retry {id_} --payload '{{"message": "another one"}}'""")
    assert (run.code, run.out) == (0, f"retried {id_}  demo.fail  pending\n")
    assert cli(f"tasks watch {id_} --until-done --every 0.1").code == 1
    shown = cli(f"dlq show {id_}").out
    assert "original payload" in shown
    assert "wrong payload" in shown
    assert "another one" in shown


def test_a_renamed_field_is_repaired_in_many(cli: Run) -> None:
    ids = dead(cli, "the wrong name", 3)
    changes = "--set message=mended --set retryable=@retryable"
    dry = cli(f"dlq retry --text 'the wrong name' {changes} --dry-run")
    assert (dry.code, dry.err) == (0, "")
    assert dry.out.startswith("3 dead letters would be retried\n")
    assert dry.out.count('before  {"message": "the wrong name", "retryable": false}\n') == 3
    assert dry.out.count('after   {"message": "mended", "retryable": false}\n') == 3
    run = cli(f"dlq retry --text 'the wrong name' {changes}")
    assert (run.code, run.out.startswith("retried 3 dead letters")) == (0, True)
    assert cli(f"tasks watch {' '.join(ids)} --until-done --every 0.1").code == 1
    assert json.loads(cli(f"dlq show {ids[0]} -o json").out)["payload"] == {"message": "mended", "retryable": False}


def test_what_does_not_fit_its_type_after_the_changes_is_left_alone_and_shown(cli: Run) -> None:
    (id_,) = dead(cli, "it cannot be mended")
    run = cli("dlq retry --text 'cannot be mended' --set retryable=maybe --drop message")
    left = "1 was left alone because the changed payload does not fit"
    assert (run.code, run.err) == (0, "")
    assert run.out == f'retried 0 dead letters, {left}: completed\n  {id_}  payload.retryable the value is not of type "boolean"\n'
    found = json.loads(cli("dlq retries --limit 1 -o json").out)["items"][0]
    card = cli(f"dlq retries {found['id']}").out
    assert '--set retryable="maybe" --drop message' in card
    assert json.loads(cli(f"dlq show {id_} -o json").out)["payload"]["message"] == "it cannot be mended"


def test_changes_that_cannot_be_read_are_refused_before_anything_is_sent(cli: Run) -> None:
    for wrong in ("--set amount", "--set =1", "--set amount=@"):
        run = cli(f"dlq retry --all {wrong}")
        assert (run.code, "must be NAME=VALUE" in run.err) == (2, True)
    assert "not both" in cli(f"dlq retry {NOBODY} --drop amount").err


def test_several_are_retried_and_an_id_of_no_dead_letter_is_reported(cli: Run) -> None:
    ids = dead(cli, "several", 2)
    run = cli(f"dlq retry {ids[0]} {NOBODY} {ids[1]}")
    assert run.code == 3
    assert [line.split()[1] for line in run.out.splitlines()] == ids
    assert f"waggle dlq retry: {NOBODY}: there is no task with this id\n" in run.err


def test_a_bulk_retry_is_followed_to_its_end(cli: Run) -> None:
    dead(cli, "three of a kind", 3)
    run = cli("dlq retry --text 'three of a kind'")
    assert (run.code, run.err) == (0, "")
    assert run.out.startswith("retried 3 dead letters")
    assert run.out.endswith(": completed\n")
    listed = json.loads(cli("dlq retries --limit 1 -o json").out)["items"][0]
    assert (listed["state"], listed["retried"]) == ("completed", 3)
    table = cli("dlq retries --limit 1").out.splitlines()
    assert table[1].split()[:2] == [listed["id"], "completed"]
    assert table[1].endswith("text three of a kind")
    assert "three of a kind" in cli(f"dlq retries {listed['id']}").out


def test_a_bulk_retry_that_fails_again_says_why_it_stopped(cli: Run) -> None:
    dead(cli, "it fails again", 40)
    run = cli("dlq retry --text 'it fails again' --rate 4")
    assert run.code == 1
    assert ": stopped\n" in run.out
    assert "failed again\n" in run.out


def test_a_detached_bulk_retry_is_stopped_by_another_command(cli: Run) -> None:
    dead(cli, "let go", 4)
    run = cli("dlq retry --text 'let go' --rate 0.2 --detach")
    assert run.code == 0
    id_ = run.out.split()[2]
    assert f"It keeps running. Watch it: waggle dlq retries {id_} --watch\n" in run.err
    assert f"Stop it: waggle dlq retries {id_} --stop\n" in run.err
    stopped = cli(f"dlq retries {id_} --stop -o json")
    assert (stopped.code, json.loads(stopped.out)["state"]) == (0, "cancelled")
    watched = cli(f"dlq retries {id_} --watch")
    assert (watched.code, ": cancelled\n" in watched.out) == (1, True)


def test_progress_is_shown_on_a_terminal_and_ctrl_c_leaves_it_running(shop: Json, cli: Run, folder: Path) -> None:
    dead(cli, "a slow one", 3)
    with person("dlq", "retry", "--text", "a slow one", "--rate", "0.2", place=folder, **access(shop)) as somebody:
        somebody.reads_until("retrying")
        somebody.reads_until("of 3")
        somebody.presses_ctrl_c()
        assert somebody.sees_it_end() == 130
    hint = next(line for line in somebody.seen.splitlines() if line.startswith("Stop it: waggle "))
    assert "It keeps running. Watch it: " in somebody.seen
    command = hint.partition("waggle ")[2]
    assert json.loads(cli(command.replace("--stop", "-o json")).out)["state"] == "running"
    assert cli(command).code == 0


def test_they_are_removed_and_cleaned_up(cli: Run) -> None:
    one, two = dead(cli, "given up", 2)
    assert cli(f"dlq remove {one}") == (0, f"removed {one}  demo.fail  failed\n", "")
    again = cli(f"dlq remove {one}")
    assert again.code == 3
    assert "there is no dead letter with this id" in again.err
    answer = json.loads(cli("dlq cleanup --older-than 365d -o json").out)
    assert answer["cleaned"] == 0
    assert cli("dlq cleanup --older-than 365d").out == f"removed 0 dead letters, {answer['remaining']:,} left\n"
    assert json.loads(cli(f"dlq show {two} -o json").out)["id"] == two
