"""W3C Trace Context: what is read, what is passed on, and which traces are recorded."""

import pytest

from waggle.telemetry import traces
from waggle.telemetry.traces import SWITCH, TraceContext, begin, parse, trace_id

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize("flags", ["01", "03", "0b", "ff"])
def test_the_last_flag_says_whether_it_is_sampled(flags: str) -> None:
    assert parse(f"00-{TRACE}-{SPAN}-{flags}") == TraceContext(TRACE, SPAN, sampled=True)


def test_a_newer_version_is_read_as_far_as_it_is_known() -> None:
    assert parse(f"42-{TRACE}-{SPAN}-00-what-comes-then") == TraceContext(TRACE, SPAN, sampled=False)


@pytest.mark.parametrize(
    "text",
    [None, "", "00", f"00-{TRACE}-{SPAN}", f"00-{TRACE.upper()}-{SPAN}-01", f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"ff-{TRACE}-{SPAN}-01",
     f"00-{TRACE}-{SPAN}-01-more", f" 00-{TRACE}-{SPAN}-01"],
)  # fmt: skip
def test_an_invalid_one_is_none(text: str | None) -> None:
    assert parse(text) is None
    assert trace_id(text) is None


def test_a_state_is_passed_on_as_it_came_up_to_a_length() -> None:
    found = parse(f"00-{TRACE}-{SPAN}-01", "a=1,b=2")
    assert found is not None
    assert found.child().state == "a=1,b=2"
    long = ",".join(f"v{number}=x" for number in range(100))
    kept = (parse(f"00-{TRACE}-{SPAN}-01", long) or found).state or ""
    assert len(kept) <= traces.STATE_LENGTH
    assert long.startswith(kept + ",")
    assert [(parse(f"00-{TRACE}-{SPAN}-01", text) or found).state for text in ("", "a=\n", "a=\xe9", "x" * 1000)] == [None] * 4


def test_a_child_is_in_the_same_trace_and_as_sampled() -> None:
    parent = TraceContext(TRACE, SPAN, sampled=False)
    child = begin(parent)
    assert (child.trace_id, child.sampled) == (TRACE, False)
    assert child.span_id != SPAN
    assert parse(child.parent) == child


@pytest.mark.parametrize("ratio", [0.0, 0.25, 1.0])
def test_the_ratio_decides_where_a_trace_begins(ratio: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SWITCH, "ratio", ratio)
    share = sum(begin(None).sampled for _ in range(4_000)) / 4_000
    assert abs(share - ratio) < 0.05
