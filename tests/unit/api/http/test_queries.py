"""Query strings and cursors: what is parsed, and the errors for anything else."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waggle_api.http import cursors, queries
from waggle_api.routes import parameters


@given(st.uuids())
def test_a_cursor_comes_back_as_it_was_written(last: UUID) -> None:
    assert cursors.read(cursors.write(last)) == last


@given(st.text(max_size=30))
def test_anything_else_is_not_a_cursor(text: str) -> None:
    try:
        found = cursors.read(text)
    except ValueError:
        return
    assert len(text) == 22
    assert isinstance(found, UUID)


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parameters.priority, "2", 2),
        (parameters.priority, "high", 2),
        (queries.whole(1, 10), "10", 10),
        (queries.number(0, 60), "1.5", 1.5),
        (parameters.json_object, '{"a": [1]}', '{"a": [1]}'),
        (parameters.status, "dead_letter", "dead_letter"),
    ],
)
def test_parameters_are_parsed(parse: Any, text: str, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parameters.priority, "4"),
        (parameters.priority, "urgent"),
        (parameters.priority, "²"),
        (queries.whole(1, 10), "11"),
        (queries.whole(1, 10), "1.0"),
        (queries.whole(1, 10), "٣"),
        (queries.number(0, 60), "nan"),
        (queries.number(0, 60), "61"),
        (queries.number(0, 60), "-1"),
        (queries.moment, "yesterday"),
        (queries.moment, "2026-01-01T00:00:00"),
        (queries.moment, "0001-01-01T00:00:00+14:00"),
        (parameters.json_object, "[]"),
        (parameters.json_object, '{"a":"\\u0000"}'),
        (parameters.json_object, "[" * 2000),
        (parameters.status, "done"),
        (queries.name(r"^[a-z]+$", 5), "a\n"),
        (queries.name(r"^[a-z]+$", 5), "abcdef"),
    ],
)
def test_invalid_parameters_are_refused(parse: Any, text: str) -> None:
    with pytest.raises(ValueError, match=r"must|cannot"):
        parse(text)


@pytest.mark.parametrize("text", ["2026-01-01T02:00:00+02:00", "2026-01-01T02:00:00 02:00", "2026-01-01T00:00:00Z", "2026-01-01 00:00:00Z"])
def test_a_plus_that_was_not_encoded_is_understood_in_a_time(text: str) -> None:
    assert queries.moment(text).isoformat() == "2026-01-01T00:00:00+00:00"
