"""A pattern of Python's means the same once it is written for JSON Schema."""

import re

import jsonschema_rs
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as some

from waggle.payloads.patterns import Untranslatable, portable

ATOMS = ["a", "b", "é", r"\w", r"\d", r"\s", r"\W", r"\D", r"\S", ".", "[a-c]", "[^a]", r"[\w-]", r"[\d.]", "(a|b)", "(?:ab)", "(?=a)", "(?!b)", "(?<=a)"]
ATOMS += [
    "$",
    "^",
    r"\b",
    r"\n",
    r"\.",
    "-",
    "[]x]",
    "(?P<n>a)",
    "{",
    "}",
    "]",
    r"\x41",
    r"\u00e9",
    r"[\x00-\x1f]",
    r"[^\s]",
    "|",
    r"\Z",
    r"\A",
    "[a-]",
    "[-a]",
]
ATOMS += ["[$.&~]", "/", r"\/", "_", "[a[:]"]
TIMES = ["", "", "", "*", "+", "?", "{1,2}", "{,2}", "{2}", "*?"]
PATTERNS = some.lists(some.tuples(some.sampled_from(ATOMS), some.sampled_from(TIMES)).map("".join), min_size=1, max_size=4).map("".join)
TEXTS = some.text("abéA1٣ \n-_.²\x1c\u2028\ufeff{}]x\u0301\\/&~$\r", max_size=5)


def compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern)
    except re.error:
        return None


@settings(max_examples=1000, derandomize=True)
@given(PATTERNS, some.sampled_from(["", "^"]), some.sampled_from(["", "$"]), some.lists(TEXTS, min_size=1, max_size=8))
def test_both_match_the_same(middle: str, start: str, end: str, texts: list[str]) -> None:
    pattern = start + middle + end
    by_python = compiled(pattern)
    assume(by_python is not None)
    assert by_python is not None
    try:
        translated = portable(pattern)
    except Untranslatable:
        return
    door = jsonschema_rs.validator_for({"pattern": translated})
    assert {text: door.is_valid(text) for text in texts} == {text: by_python.search(text) is not None for text in texts}, translated


@pytest.mark.parametrize("pattern", ["^[a-z0-9._-]+@[a-z]+", "^(a|b){2,5}", r"^\(?[0-9]+\)?", "[^0-9]", "x{3}"])
def test_an_ordinary_pattern_stays_as_it_is(pattern: str) -> None:
    assert portable(pattern) == pattern


@pytest.mark.parametrize("pattern", ["(?i)a", "(?a:\\w)", "a++", "(?>a+)b", "(a)?(?(1)b|c)", "(a)?\\1", "[^\\W]", "\\Bx", "(?=a)*"])
def test_what_has_no_counterpart_is_left_to_python(pattern: str) -> None:
    with pytest.raises(Untranslatable):
        portable(pattern)
