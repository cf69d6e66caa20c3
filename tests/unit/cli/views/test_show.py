"""How tasks look in a terminal."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.text import Text

from waggle_cli.rest.shapes import Json, TaskJson
from waggle_cli.views import explain, queues, show, tasks, words

NOW = datetime(2030, 1, 31, 12, 0, 0, tzinfo=UTC)
ID = "01a20428-cf15-7141-a548-5c7749aad342"


def at(seconds: float) -> str:
    return (NOW + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def task(**fields: Any) -> TaskJson:
    """A task that was created a minute ago."""
    plain: dict[str, Any] = {"id": ID, "type": "demo.echo", "status": "pending", "priority": 1, "description": "", "created": at(-60), "updated": at(-60)}
    plain |= {"retry_count": 0, "max_retries": 3, "metadata": {}, "queue": "default", "run_at": at(-60), "attempt": 0, "timeout": 300.0}
    return plain | fields  # type: ignore[return-value]  # the fields of a TaskJson


LENGTHS = {
    0: "0 ms",
    0.061: "61 ms",
    2.54: "2.5 s",
    40: "40 s",
    59.9: "59 s",
    70: "1 min 10 s",
    60: "1 min",
    719: "11 min",
    11_100: "3 h 5 min",
    90_000: "1 d 1 h",
}


@pytest.mark.parametrize("seconds", LENGTHS)
def test_a_length_of_time_is_as_exact_as_one_wants_to_read_it(seconds: float) -> None:
    assert words.duration(timedelta(seconds=seconds)) == LENGTHS[seconds]


def test_the_clocks_of_two_machines_may_differ_a_little() -> None:
    assert words.duration(timedelta(seconds=-0.3)) == "0 ms"
    assert words.relative(NOW + timedelta(seconds=0.9), NOW) == "just now"
    assert words.relative(NOW - timedelta(seconds=75), NOW) == "1 min 15 s ago"
    assert words.relative(NOW + timedelta(hours=2), NOW) == "in 2 h"


ERROR = {"code": "task_execution_failed", "message": "boom\nand more", "retryable": True}
NOTES = {
    "ready": (task(), ""),
    "later": (task(run_at=at(90)), "due in 1 min 30 s"),
    "retry": (task(run_at=at(4), retry_count=1, error=ERROR), "retry 1 of 3 in 4.0 s: boom"),
    "running": (task(status="running", started_at=at(-12)), "for 12 s"),
    "completed": (task(status="completed", started_at=at(-3), completed_at=at(-2.5)), "took 500 ms"),
    "dead": (task(status="dead_letter", error=ERROR), "boom"),
    "cancelled before it ran": (task(status="cancelled", completed_at=at(-1)), ""),
    "a status of the future": (task(status="resting"), ""),
}


@pytest.mark.parametrize("case", NOTES)
def test_a_list_notes_what_is_worth_knowing(case: str) -> None:
    found, note = NOTES[case]
    assert tasks.note(found, NOW) == note


def test_foreign_text_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[2J\x9b31m[bold]\u202e"
    error = {"code": evil, "message": evil, "retryable": False, "details": {"traceback": evil, evil: evil}}
    event: Json = {"at": at(0), "event": evil, "attempt": 1, "worker_id": evil, "outcome": evil, "error": error, "by": evil, "door": evil, "how": evil}
    found = task(type=evil, status=evil, queue=evil, description=evil, unique_key=evil, metadata={evil: evil}, payload={evil: evil}, result=evil, error=error)
    tasks.line("submitted", found)
    tasks.table([found])
    tasks.card(found, [event])
    explain.explanation({"status": evil, "summary": evil, "reasons": [{"text": evil, "advice": evil}] * 2})
    explain.waiting([{"code": evil, "queue": evil, "type": evil, "tasks": 1, "first": at(0), "advice": evil, "breaker": evil}])
    explain.log_lines([{"at": at(0), "attempt": 1, "level": evil, "event": evil, "fields": {evil: evil, "list": [evil]}}], many=True)
    shown = capsys.readouterr().out
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert "[bold]" in shown


def test_a_queue_name_from_sql_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    lane = {"ready": 0, "later": 0, "running": 0}
    queues.card({"name": "mail\x1b]0;evil\x07", "paused": True, **lane, "lanes": {"low": lane}})  # type: ignore[typeddict-item]
    shown = capsys.readouterr().out
    assert all(character.isprintable() or character == "\n" for character in shown)


def test_a_card_cuts_what_is_very_long_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    tasks.card(task(payload={"numbers": list(range(1000))}), [])
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) < 60
    assert "more lines; -o json has them all)" in shown


def test_a_card_has_the_traceback_and_what_can_be_done(capsys: pytest.CaptureFixture[str]) -> None:
    details = {"exception": "DemoError", "traceback": "Traceback (most recent call last):\n  File\nDemoError: boom", "host": "h1"}
    error = {"code": "task_timeout", "message": "too slow", "retryable": True, "alternativeAction": "Give it more time.", "details": details}
    tasks.card(task(status="dead_letter", updated=at(-1), error=error), [])
    shown = capsys.readouterr().out
    for part in ("task_timeout: too slow", "  File", "DemoError: boom", '{"host": "h1"}', "Give it more time."):
        assert part in shown
    assert '"exception"' not in shown


def test_what_goes_into_a_pipe_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    tasks.table([task(type="x" * 64, queue="q" * 32, status="dead_letter", error={**ERROR, "message": "m" * 100})])
    shown = capsys.readouterr().out
    for part in (ID, "x" * 64, "q" * 32, "m" * 100):
        assert part in shown


def rows(*notes: str) -> list[dict[str, Text]]:
    return [{"ID": Text(ID), "TYPE": Text("email.send"), "QUEUE": Text("default"), "NOTE": Text(note)} for note in notes]


def test_a_narrow_terminal_loses_what_can_be_spared_first() -> None:
    wide = show.grid(rows("x" * 30), 100, spare=["QUEUE"]).plain.splitlines()
    narrow = show.grid(rows("x" * 30), 80, spare=["QUEUE"]).plain.splitlines()
    assert wide == [f"ID{' ' * 36}TYPE        QUEUE    NOTE", f"{ID}  email.send  default  {'x' * 30}"]
    assert narrow == [f"ID{' ' * 36}TYPE        NOTE", f"{ID}  email.send  {'x' * 30}"]


def test_a_note_that_does_not_fit_goes_below_its_row() -> None:
    lines = show.grid(rows("fits", "x" * 60), 70).plain.splitlines()
    assert lines[1].endswith("  fits")
    assert lines[2:] == [f"{ID}  email.send  default", f"    {'x' * 60}"]


def test_an_id_is_never_cut_and_a_long_type_is() -> None:
    found = rows("note")
    found[0]["TYPE"] = Text("t" * 64)
    line = show.grid(found, 80, spare=["QUEUE"]).plain.splitlines()[1]
    assert line.startswith(f"{ID}  ttt")
    assert "…" in line
    assert len(line) <= 80


LONG = {**ERROR, "message": "the order 4711 has no address, and nobody knows where to send it"}


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("kind", ["demo.fail", "http.request", "a.type.with.a.rather.long.name"])
def test_ids_statuses_and_errors_are_whole_on_narrow_terminals(width: int, kind: str) -> None:
    found = [tasks.row(task(type=kind, status="dead_letter", error=LONG), NOW), tasks.row(task(type=kind, run_at=at(90)), NOW)]
    lines = show.grid(found, width, spare=tasks.SPARE).plain.splitlines()
    text = " ".join(" ".join(lines).split())
    for whole in (ID, "dead_letter", "pending", LONG["message"], "due in 1 min 30 s"):
        assert str(whole) in text
    assert all(len(line) <= width and line == line.rstrip() for line in lines)
    assert not any("…" in line.split() for line in lines)


def test_a_live_table_has_a_line_for_each_note() -> None:
    found = [tasks.row(task(status="dead_letter", error=LONG), NOW), tasks.row(task(), NOW)]
    titles, dead, waiting = show.blocks(found, 60, spare=(*tasks.SPARE, "AGE"), whole=False)
    assert [line.plain for line in titles] == [f"ID{' ' * 36}TYPE       STATUS"]
    assert [line.plain for line in dead] == [f"{ID}  demo.echo  dead_letter", "    the order 4711 has no address, and nobody knows where t…"]
    assert [line.plain for line in waiting] == [f"{ID}  demo.echo  pending"]


def test_wide_characters_take_two_columns() -> None:
    found = tasks.row(task(type="日本語" * 9, status="dead_letter", error={**ERROR, "message": "日本語" * 20}), NOW)
    lines = show.grid([found], 60, spare=tasks.SPARE)
    assert all(line.cell_len <= 60 for line in lines.split())


def test_a_timeline_fits_a_narrow_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "PIPED_WIDTH", 60)
    events: list[Json] = [{"at": at(0), "event": "ended", "outcome": "dead_letter", "attempt": 1, "seconds": 0.004, "error": LONG}]
    tasks.card(task(status="dead_letter", error=LONG), events)
    shown = capsys.readouterr().out
    assert all(len(line) <= 60 and line == line.rstrip() for line in shown.splitlines())
    assert "dead_letter  attempt 1\n" in shown
    assert "…" not in shown


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = show.grid(rows("x" * 300, "y"), width, spare=["QUEUE"]).plain.splitlines()
    assert all(len(line) <= width for line in lines)
    assert sum(ID in line for line in lines) == 2
