"""How tasks look in a terminal."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from waggle_cli import show
from waggle_cli.client import Attempt, Task

NOW = datetime(2030, 1, 31, 12, 0, 0, tzinfo=UTC)
ID = "01a20428-cf15-7141-a548-5c7749aad342"


def at(seconds: float) -> str:
    return (NOW + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def task(**fields: Any) -> Task:
    """A task that was created a minute ago."""
    plain: dict[str, Any] = {"id": ID, "type": "demo.echo", "status": "pending", "priority": 1, "description": "", "created": at(-60), "updated": at(-60)}
    plain |= {"retry_count": 0, "max_retries": 3, "metadata": {}, "queue": "default", "run_at": at(-60), "attempt": 0, "timeout": 300.0}
    return plain | fields  # type: ignore[return-value]  # the fields of a Task


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
    assert show.duration(timedelta(seconds=seconds)) == LENGTHS[seconds]


def test_the_clocks_of_two_machines_may_differ_a_little() -> None:
    assert show.duration(timedelta(seconds=-0.3)) == "0 ms"
    assert show.relative(NOW + timedelta(seconds=0.9), NOW) == "just now"
    assert show.relative(NOW - timedelta(seconds=75), NOW) == "1 min 15 s ago"
    assert show.relative(NOW + timedelta(hours=2), NOW) == "in 2 h"


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
    assert show.note(found, NOW) == note


def test_what_strangers_wrote_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[2J\x9b31m[bold]\u202e"
    error = {"code": evil, "message": evil, "retryable": False, "details": {"traceback": evil, evil: evil}}
    attempt: Attempt = {"attempt": 1, "worker_id": evil, "started_at": at(0), "ended_at": at(1), "outcome": evil, "error": error}  # type: ignore[typeddict-item]
    found = task(type=evil, status=evil, queue=evil, description=evil, unique_key=evil, metadata={evil: evil}, payload={evil: evil}, result=evil, error=error)
    show.line("submitted", found)
    show.table([found], narrowed=False)
    show.card(found, [attempt])
    shown = capsys.readouterr().out
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert "[bold]" in shown


def test_a_card_cuts_what_is_very_long_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    show.card(task(payload={"numbers": list(range(1000))}), [])
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) < 60
    assert "more lines; -o json has them all)" in shown


def test_a_card_has_the_traceback_and_what_can_be_done(capsys: pytest.CaptureFixture[str]) -> None:
    details = {"exception": "DemoError", "traceback": "Traceback (most recent call last):\n  File\nDemoError: boom", "host": "h1"}
    error = {"code": "task_timeout", "message": "too slow", "retryable": True, "alternativeAction": "Give it more time.", "details": details}
    show.card(task(status="dead_letter", updated=at(-1), error=error), [])
    shown = capsys.readouterr().out
    for part in ("task_timeout: too slow", "  File", "DemoError: boom", '{"host": "h1"}', "Give it more time."):
        assert part in shown
    assert '"exception"' not in shown


def test_what_goes_into_a_pipe_is_not_cut(capsys: pytest.CaptureFixture[str]) -> None:
    show.table([task(type="x" * 64, queue="q" * 32, status="dead_letter", error={**ERROR, "message": "m" * 100})], narrowed=False)
    shown = capsys.readouterr().out
    for part in (ID, "x" * 64, "q" * 32, "m" * 100):
        assert part in shown
