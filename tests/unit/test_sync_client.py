"""The synchronous client is made from the asynchronous one, and is what that makes now."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_it_is_up_to_date(tmp_path: Path) -> None:
    made = runpy.run_path(str(ROOT / "clients" / "python" / "sync_client.py"))
    made["made"](tmp_path)
    there = made["CLIENT"] / "sync"
    assert {file.name: file.read_text() for file in tmp_path.glob("*.py")} == {file.name: file.read_text() for file in there.glob("*.py")}, (
        "run `just sync-client`"
    )
