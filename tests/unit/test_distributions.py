"""What the distributions say of themselves: one version for all, exact among each other, ranges for what they share with their users."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
WORKSPACE = tomllib.loads((ROOT / "pyproject.toml").read_text())
FOLDERS = sorted(file.parent for place in ("libs", "services") for file in (ROOT / place).glob("*/pyproject.toml"))
PROJECTS: dict[str, dict[str, Any]] = {folder.name: tomllib.loads((folder / "pyproject.toml").read_text())["project"] for folder in FOLDERS}
VERSION = PROJECTS["common"]["version"]
NAMES = {project["name"] for project in PROJECTS.values()}
PRIVATE = {"asyncpg", "nats-py", "uvicorn"}  # Waggle uses private parts of them


def requirements(project: dict[str, Any]) -> list[str]:
    return [*project["dependencies"], *(text for extra in project.get("optional-dependencies", {}).values() for text in extra)]


def name(requirement: str) -> str:
    found = re.match(r"[\w-]+", requirement)
    assert found
    return found[0]


@pytest.mark.parametrize("project", PROJECTS.values(), ids=PROJECTS)
def test_all_have_one_version_and_require_it_of_each_other(project: dict[str, Any]) -> None:
    assert project["version"] == VERSION, "run `uv run just version X.Y.Z`"
    for requirement in requirements(project):
        if name(requirement) in NAMES:
            assert requirement.endswith(f"=={VERSION}"), "run `uv run just version X.Y.Z`"


def test_the_changelog_has_a_section_for_the_version() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## \[{re.escape(VERSION)}\] - \d{{4}}-\d\d-\d\d$", text, re.MULTILINE)
    assert "## [Unreleased]" in text


@pytest.mark.parametrize("project", PROJECTS.values(), ids=PROJECTS)
def test_what_users_share_with_us_is_a_range(project: dict[str, Any]) -> None:
    exact = {name(text) for text in requirements(project) if "==" in text} - NAMES
    assert exact <= PRIVATE


def test_the_workspace_pins_what_the_tests_run_with() -> None:
    pinned = {name(text): text.partition("==")[2] for text in WORKSPACE["tool"]["uv"]["constraint-dependencies"]}
    required = {name(text) for project in PROJECTS.values() for text in requirements(project)} - NAMES
    assert required == pinned.keys()
    assert all(pinned.values())
    for project in PROJECTS.values():
        for text in requirements(project):
            if name(text) in PRIVATE:
                assert text.partition("==")[2] == pinned[name(text)]


@pytest.mark.parametrize("project", PROJECTS.values(), ids=PROJECTS)
def test_all_describe_themselves_alike(project: dict[str, Any]) -> None:
    common = PROJECTS["common"]
    for field in ("requires-python", "license", "license-files", "readme", "authors", "urls"):
        assert project[field] == common[field]
    pythons = [each for each in common["classifiers"] if "Python :: 3." in each]
    assert [each for each in project["classifiers"] if "Python :: 3." in each] == pythons
    assert len(project["description"]) < 120


@pytest.mark.parametrize(
    "folder", [file.parent for folder in ("libs", "services") for file in (ROOT / folder).glob("*/pyproject.toml")], ids=lambda path: path.name
)
def test_each_has_its_readme_and_the_licence(folder: Path) -> None:
    assert (folder / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert (folder / "README.md").read_text().startswith(f"# {PROJECTS[folder.name]['name']}\n")


def test_what_handlers_import_is_light() -> None:
    """Neither importing waggle nor waggle.testing loads anything that serves."""
    code = "import sys, waggle, waggle.testing; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())
    assert loaded >= {"waggle", "msgspec"}
    heavy = "asyncpg nats sqlalchemy alembic uvicorn uvloop httptools uuid_utils prometheus_client litestar jsonschema_rs aiohttp pybreaker cyclopts httpx2"
    assert not loaded & {*heavy.split(), "waggle_embedded"}
