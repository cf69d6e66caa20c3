"""Lines of a handler: what is kept of them."""

import json
from typing import Any

import pytest

from waggle_worker.attempt_log import AttemptLog, LogLimits


class Breaks:
    """Its conversion to text fails."""

    def __str__(self) -> str:
        raise ValueError("no text")


def kept(log: AttemptLog) -> list[dict[str, Any]]:
    text = log.text()
    return [] if text is None else json.loads(text)


def test_bytes_are_limited_too() -> None:
    log = AttemptLog(LogLimits(100, 1_000))
    log.add({"event": "long", "level": "info", "text": "x" * 2_000})
    log.add({"event": "short", "level": "info"})
    assert [line["event"] for line in kept(log)] == ["short", "1 more lines were not kept"]


def test_what_cannot_be_written_does_not_fail_the_handler() -> None:
    log = AttemptLog(LogLimits(100, 10_000))
    log.add({"event": "odd", "level": "error", "value": Breaks(), 1: "a number as name", "exc_info": True})
    [line] = kept(log)
    assert (line["event"], line["level"]) == ("odd", "error")


@pytest.mark.parametrize("event", [{"event": "\ud800"}, {"event": "odd", "\ud800": 1}, {"event": "odd", "text": "\ud800"}])
def test_half_of_a_surrogate_pair_fails_nothing(event: dict[str, Any]) -> None:
    log = AttemptLog(LogLimits(100, 10_000))
    log.add({"level": "info", **event})
    assert len(kept(log)) == 1


def test_a_text_is_kept_as_it_was_written() -> None:
    log = AttemptLog(LogLimits(100, 10_000))
    log.add({"event": r"a path such as C:\u0000", "level": "info", "text": "a\x00b"})
    [line] = kept(log)
    assert (line["event"], line["fields"]) == (r"a path such as C:\u0000", {"text": "a\x00b"})


def test_nothing_is_kept_without_a_line() -> None:
    assert AttemptLog(LogLimits(1, 1)).text() is None
