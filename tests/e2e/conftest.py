"""The fixtures of the end to end tests."""

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.command_line import Called, access, called, up

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def shop(session_folder: Path) -> Iterator[dict[str, Any]]:
    """The example shop, run by `waggle up` as its README says, for all tests that need a running Waggle and leave it as it is; its ready file."""
    with up("--app", "shop.tasks:app", "--ephemeral", place=EXAMPLES, output=session_folder / "shop.txt") as facts:
        yield facts


@pytest.fixture
def cli(shop: dict[str, Any], folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Called]:
    """Run `waggle …` against the shop, in a folder of this test's own."""
    monkeypatch.chdir(folder)
    for name, value in access(shop).items():
        monkeypatch.setenv(name, value)
    return lambda command: called(capsys, *shlex.split(command))
