"""A type checker sees the calls of a handler: mypy finds each mistake that is marked in `support/typed_calls.py`, and no other."""

import re
import subprocess
import sys
from pathlib import Path

import support

FILE = Path(support.__path__[0]) / "typed_calls.py"


def test_each_mistake_is_found(folder: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-pretty", "--hide-error-context", "--no-incremental", f"--cache-dir={folder}", str(FILE)]
    found = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    errors = {(int(line), kind) for line, kind in re.findall(r"typed_calls\.py:(\d+): error: .* \[([a-z-]+)\]", found)}
    marks = [(number, line.partition("# mistake: ")[2]) for number, line in enumerate(FILE.read_text().splitlines(), 1)]
    assert {number for number, _ in errors} == {number for number, kinds in marks if kinds}, found
    assert all(kind in dict(marks)[number].split(", ") for number, kind in errors), found


def test_the_package_brings_no_server_and_no_migrations() -> None:
    heavy = "asyncpg, nats, alembic, sqlalchemy, litestar, uvicorn, opentelemetry, prometheus_client, psycopg, django, httpx2, waggle_cli"
    script = f"import sys, waggle; waggle.Client, waggle.SyncClient; print([name for name in '{heavy}'.split(', ') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"
