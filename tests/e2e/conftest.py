"""The fixtures of the end to end tests."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.command_line import up

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def shop(session_folder: Path) -> Iterator[dict[str, Any]]:
    """The example shop, run by `waggle up` as its README says, for all tests that need a running Waggle and leave it as it is; its ready file."""
    with up("--app", "shop.tasks:app", "--ephemeral", place=EXAMPLES, output=session_folder / "shop.txt") as facts:
        yield facts
