"""Many submissions: how a file is checked and cut into batches."""

import io
import json
from pathlib import Path

import pytest

from waggle.nesting import LEVELS
from waggle_cli.rest import submissions

GOOD = b'{"type": "demo.echo"}'

WRONG = {
    b"{nope": "is not JSON: JSON is malformed",
    b'{"type": "x", "payload": {"a": ' + b"[" * LEVELS + b"]" * LEVELS + b"}}": "is nested too deeply: 512 levels are allowed",
    b"[1]": "expected object, got array",
    b'{"payload": {}}': "type: is required",
    b'{"type": "x", "payloda": {}}': "payloda: is not a field of a task; did you mean payload?",
    b'{"type": "x", "payload": [1]}': "payload: must be an object",
    b'{"type": "x", "priority": "hihg"}': "priority: must be 0 to 3 or one of LOW",
    b'{"type": "x", "max_retries": -1}': "max_retries: expected int >= 0",
    b'{"type": "\xff"}': "is not UTF-8",
    b'{"type": "x", "description": "' + b"y" * submissions.LINE_BYTES + b'"}': "is longer than",
}


@pytest.mark.parametrize("line", WRONG, ids=lambda line: line[:30].decode(errors="replace"))
def test_what_is_wrong_with_an_invalid_line(line: bytes) -> None:
    assert WRONG[line] in submissions.wrong_with(line)


def test_a_payload_at_the_limit_of_levels_is_a_good_line() -> None:
    assert not submissions.wrong_with(b'{"type": "x", "payload": {"a": ' + b"[" * (LEVELS - 1) + b"]" * (LEVELS - 1) + b"}}")


def test_all_bad_lines_are_reported_with_their_numbers() -> None:
    with pytest.raises(submissions.BadLines) as found:
        submissions.checked(io.BytesIO(b"\n".join([GOOD, b"[", b"", GOOD, b"{}"])), lambda _: None)
    assert [line.partition(":")[0] for line in found.value.reasons] == ["line 2", "line 5"]


def test_very_many_bad_lines_are_counted() -> None:
    with pytest.raises(submissions.BadLines) as found:
        submissions.checked(io.BytesIO(b"[\n" * 1_234), lambda _: None)
    assert len(found.value.reasons) == submissions.REPORT_LIMIT + 1
    assert found.value.reasons[-1] == "… and 1,214 more such lines"


def test_a_line_without_end_costs_no_memory_and_is_one_bad_line() -> None:
    with pytest.raises(submissions.BadLines) as found:
        submissions.checked(io.BytesIO(b"x" * (3 * submissions.LINE_BYTES) + b"\n" + GOOD), lambda _: None)
    assert found.value.reasons == [f"line 1: is longer than {submissions.LINE_BYTES} bytes"]


def test_a_checked_file_is_at_its_beginning_and_its_empty_lines_do_not_count() -> None:
    file = io.BytesIO(b"\xef\xbb\xbf" + GOOD + b"\r\n\n" + GOOD)
    assert submissions.checked(file, lambda _: None) == 2
    assert list(submissions.lines(file)) == [(1, GOOD), (3, GOOD)]


def test_batches_hold_what_the_api_takes_and_are_the_same_each_time() -> None:
    small = [(number, GOOD) for number in range(1, 2_502)]
    found = list(submissions.batches(small))
    assert [len(batch.lines) for batch in found] == [1_000, 1_000, 501]
    assert found[1].lines[0] == 1_001
    assert json.loads(found[2].body) == {"tasks": [json.loads(GOOD)] * 501}
    assert found == list(submissions.batches(small))


def test_large_tasks_make_smaller_batches() -> None:
    large = b'{"type": "x", "description": "' + b"y" * (1 << 20) + b'"}'
    found = list(submissions.batches((number, large) for number in range(40)))
    assert [len(batch.lines) for batch in found] == [15, 15, 10]
    assert all(len(batch.body) < 16 << 20 for batch in found)


def test_what_cannot_be_read_twice_is_copied(tmp_path: Path) -> None:
    with submissions.opened("-", io.BytesIO(GOOD)) as file:
        assert (file.read(), file.seek(0), file.read()) == (GOOD, 0, GOOD)
    (tmp_path / "tasks.jsonl").write_bytes(GOOD)
    with submissions.opened(str(tmp_path / "tasks.jsonl"), io.BytesIO()) as file:
        assert file.read() == GOOD
