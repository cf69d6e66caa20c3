"""Names can be searched for, and documents use the words of the glossary."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Words and phrases that have to be read twice, and what to write instead.
BANNED = {
    r"\bmend(s|ed|ing)?\b": "fix, repair",
    r"\btold\b(?! to)": "reported, logged, shown",
    r"\banew\b": "again, from scratch",
    r"\bpatience\b": "timeout",
    r"\bwhoever\b": "the caller, the worker",
    r"\bthat is none\b": "is not a …",
    r"\bso many (seconds|tasks|of them)\b": "N seconds, the number of tasks",
    r"\bas (its|a) net\b": "as a fallback",
    r"\bout of order\b": "failing",
    r"\bfor ever\b": "forever",
    r"\bto be had\b": "available",
    r"\b(do|does|did|is|has) (it|that|this|they) [^.?!|]*, (then|it|the|they)\b(?<!\?)": "if it …",
    r"\b(bury|buries|buried)\b": "remove (a dead letter)",
    r"\b(forsaken|ripe|stands still|all the same)\b": "without a worker, due, hangs, nevertheless",
}


def classes() -> dict[str, list[str]]:
    """The modules in which each class name is defined."""
    found = defaultdict(list)
    for folder in ("libs", "services"):
        for file in sorted((ROOT / folder).glob("*/src/**/*.py")):
            for node in ast.parse(file.read_text()).body:
                if isinstance(node, ast.ClassDef):
                    found[node.name].append(str(file.relative_to(ROOT)))
    return found


def documents() -> list[Path]:
    return [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "bench").glob("*.md"), *(ROOT / "examples").glob("*.md")]


def test_a_class_name_is_defined_in_one_module() -> None:
    found = classes()
    assert len(found) > 100
    assert {name: modules for name, modules in found.items() if len(modules) > 1} == {}


@pytest.mark.parametrize(("words", "instead"), BANNED.items())
def test_the_documents_are_plain_english(words: str, instead: str) -> None:
    found = [f"{file.relative_to(ROOT)}: {match[0]!r}, write: {instead}" for file in documents() for match in prose(file, words)]
    assert found == []


def prose(file: Path, words: str) -> Iterator[re.Match[str]]:
    """Matches outside of code: names of tests, variables and output are not prose."""
    text = re.sub(r"```.*?```|`[^`]*`", "", file.read_text(), flags=re.DOTALL)
    return re.finditer(words, text, re.IGNORECASE)
