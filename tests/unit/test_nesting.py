"""How deep JSON may be nested is the same on every Python, and brackets inside strings do not count."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from waggle import nesting
from waggle.nesting import LEVELS, TooDeep


def lists(levels: int, inside: bytes = b"") -> bytes:
    return b"[" * levels + inside + b"]" * levels


def is_refused(text: bytes | msgspec.Raw) -> bool:
    try:
        nesting.check(text)
    except TooDeep:
        return True
    return False


FLAT = {
    "many objects beside each other": b"[" + b",".join([b'{"a":[1]}'] * 5_000) + b"]",
    "brackets in a string": lists(LEVELS - 1, b'"' + b"[" * 5_000 + b'"'),
    "brackets behind an escaped quote": lists(LEVELS - 1, rb'"\"' + b"[" * 5_000 + b'"'),
    "brackets behind an escaped backslash and quote": lists(LEVELS - 1, rb'"\\\"' + b"[" * 5_000 + b'"'),
    "much text and few brackets": lists(LEVELS, b'"' + b"text " * 100_000 + b'"'),
    "strings of single brackets": lists(1, b",".join([b'"["'] * 5_000)),
}
DEEP = {
    "closing brackets in a string": lists(LEVELS - 10, b'"' + b"]" * 5_000 + b'",' + lists(11)),
    "a string that ends in a backslash": lists(LEVELS - 10, rb'"\\",' + lists(11, rb'"\\"')),
    "behind much that is flat": b"[" + b",".join([b'{"a":[1]}'] * 5_000) + b"," + lists(LEVELS) + b"]",
}


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{ "[": [ '])
def test_the_limit_is_taken_and_one_level_more_is_refused(opening: bytes) -> None:
    per_level = opening.count(b"[") + opening.count(b"{") - opening.count(b'"["')
    closing = b"]}" if per_level == 2 else b"]" if opening == b"[" else b"}"
    levels = LEVELS // per_level
    allowed = opening * levels + b"1" + closing * levels
    assert not is_refused(allowed)
    assert not is_refused(msgspec.Raw(allowed))
    assert is_refused(b"[" + allowed + b"]")
    assert is_refused(msgspec.Raw(b"[" + allowed + b"]"))


@pytest.mark.parametrize("text", FLAT.values(), ids=FLAT)
def test_brackets_in_strings_and_beside_each_other_are_no_levels(text: bytes) -> None:
    msgspec.json.decode(text)
    assert not is_refused(text)


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_what_is_deep_is_found_behind_anything(text: bytes) -> None:
    msgspec.json.decode(text)
    assert is_refused(text)


def test_what_is_at_the_limit_can_be_decoded_by_every_python() -> None:
    """Below a hundred frames, as a request has them."""

    def below(frames: int) -> object:
        return below(frames - 1) if frames else (msgspec.json.decode(lists(LEVELS)), json.loads(lists(LEVELS)))

    assert below(100)


json_values = some.recursive(some.text('[]{}"\\a') | some.integers(), lambda inner: some.lists(inner) | some.dictionaries(some.text('[]{}"\\a'), inner))


@given(json_values, some.integers(0, 8))
def test_it_counts_as_a_decoder_does(value: object, missing: int) -> None:
    text = lists(LEVELS - missing, msgspec.json.encode(value))
    assert is_refused(text) == (depth(value) > missing)


def depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)
