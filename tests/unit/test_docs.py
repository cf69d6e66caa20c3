"""The documents are held against the code."""

import re
from pathlib import Path

import pytest

from waggle.task import FINAL, NEXT, AttemptOutcome, Status
from waggle_cli.views.settings_page import page
from waggle_worker.run import NEXT as RUN_NEXT
from waggle_worker.run import RunState

ROOT = Path(__file__).parents[2]
DOCUMENT_WIDTH = 120


def rows(document: str, first_cell: str) -> list[list[str]]:
    """The cells of the table whose header begins with `first_cell`."""
    lines = iter((ROOT / document).read_text().splitlines())
    for line in lines:
        if line.startswith(f"| {first_cell} |"):
            break
    next(lines)
    table = []
    for line in lines:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


def names(cell: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", cell))


def test_the_table_of_states_is_the_status_machine() -> None:
    table = {Status(names(start).pop()): {Status(name) for name in names(ends)} for start, ends in rows("docs/states.md", "from")}
    assert table == {**NEXT, **dict.fromkeys(FINAL, frozenset())}


def test_the_table_of_a_runs_states_is_the_workers() -> None:
    table = {RunState(names(start).pop()): {RunState(name) for name in names(ends)} for start, ends, _ in rows("docs/states.md", "a run that is")}
    assert table == RUN_NEXT


def test_every_way_an_attempt_can_end_is_explained() -> None:
    assert {names(row[0]).pop() for row in rows("docs/states.md", "an attempt ended as")} == {ended.value for ended in AttemptOutcome}


def test_the_page_of_the_settings_is_the_one_that_the_code_makes() -> None:
    assert (ROOT / "docs/settings.md").read_text() == page(), "run `uv run just docs`"


@pytest.mark.parametrize("document", ["docs/promises.md", "docs/model.md"])
def test_a_document_names_tests_that_exist(document: str) -> None:
    text = (ROOT / document).read_text()
    files = list((ROOT / "tests").rglob("test_*.py"))
    functions = {name for file in files for name in re.findall(r"def (test_\w+)", file.read_text())}
    assert set(re.findall(r"\b(test_\w+\.py)", text)) <= {file.name for file in files}
    promised = set(re.findall(r"(?:`|::)(test_\w+)[`\[]", text))
    assert len(promised) > 30
    assert promised <= functions, promised - functions


def test_what_the_model_leaves_out_is_in_the_code() -> None:
    code = [file for folder in ("libs", "services") for file in (ROOT / folder).rglob("*.*") if file.suffix in (".py", ".sql")]
    lines = [line for line in (ROOT / "docs/model.md").read_text().splitlines() if line.startswith("|") and line.count(" | ") >= 3]
    named = {name for line in lines for name in re.findall(r"`([\w/]+\.(?:py|sql))`", line.split(" | ")[2])}
    assert len(named) > 15
    assert [name for name in named if not any(f"/{name}" in str(file) for file in code)] == []
    removed = [found for line in lines for found in re.findall(r"`([\w/]+\.(?:py|sql))` without `([^`]+)`", line.split(" | ")[2])]
    assert len(removed) > 5
    assert [(name, text) for name, text in removed if not any(text in file.read_text() for file in code if str(file).endswith(f"/{name}"))] == []


def test_links_between_the_documents_lead_somewhere() -> None:
    for document in documents():
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_lines_of_the_documents_fit_a_narrow_window() -> None:
    """Rows of tables, commands and output cannot be wrapped."""
    for document in documents():
        prose = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
        too_long = [line for line in prose.splitlines() if len(line) > DOCUMENT_WIDTH and not line.startswith(("|", "    "))]
        assert too_long == [], document.relative_to(ROOT)


def documents() -> list[Path]:
    """All documents of ours; packages that a tool installed in some folder are not."""
    patterns = ("*.md", "docs/**/*.md", "bench/*.md", "examples/*.md", "findings/*.md", "clients/*/*.md", "libs/*/*.md", "services/*/*.md")
    return [file for pattern in patterns for file in ROOT.glob(pattern)]


def test_subjects_are_built_in_one_module() -> None:
    code = [file for folder in ("libs", "services") for file in (ROOT / folder).rglob("*.py") if file.name != "subjects.py"]
    assert len(code) > 50
    assert [str(file) for file in code if re.search(r"""["']\$JS\.|["']waggle\.(work|settled|control)""", file.read_text())] == []


def test_the_log_lines_that_are_explained_exist() -> None:
    code = "\n".join(file.read_text() for folder in ("libs", "services") for file in (ROOT / folder).rglob("*.py"))
    explained = [line for row in rows("docs/operating.md", "log line") for line in re.findall(r"`([^`]+)`", row[0])]
    assert len(explained) > 20
    assert [line for line in explained if f'"{line}' not in code] == []
