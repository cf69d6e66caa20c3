"""The wheels as others install them: `waggle` alone is enough for handlers, `waggle[up]` runs everything."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from support.command_line import up
from support.system import client_for, ok

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
UV = os.environ.get("UV") or shutil.which("uv") or "uv"

HANDLERS = """
from waggle import App, BreakerOpen, Context, Priority, Reject, Retry, Snooze, Status, TaskError
from waggle.testing import context

app = App()


@app.task("email.send", queue="mail", max_retries=5, timeout=30)
async def send(ctx: Context, to: str) -> dict:
    if "@" not in to:
        raise Reject("no address")
    async with ctx.breaker("smtp"):
        ctx.log.info("sending")
    return {"message_id": ctx.idempotency_key}
"""

TESTS = """
import asyncio

from handlers import BreakerOpen, Reject, app, context, send

assert list(app.handlers) == ["email.send"]
assert len(asyncio.run(send(context("email.send"), to="anna@example.org"))["message_id"]) == 36
for ctx, to, raised in [(context(), "anna", Reject), (context(open_breakers=["smtp"]), "anna@example.org", BreakerOpen)]:
    try:
        asyncio.run(send(ctx, to=to))
    except raised:
        continue
    raise AssertionError(raised)
"""


CLIENT = """
from waggle import SyncClient

print(SyncClient().enqueue("email.send", {"to": "otto@example.org"}).result(timeout=60))
"""


@pytest.fixture(scope="module")
def wheels(session_folder: Path) -> Path:
    """A wheel of each distribution, in a folder."""
    made = session_folder / "wheels"
    _uv("build", "--quiet", "--all-packages", "--wheel", "--out-dir", str(made))
    return made


def test_what_is_not_python_is_inside(wheels: Path) -> None:
    sources = [path for folder in ("libs", "services") for path in (ROOT / folder).glob("*/src/**/*") if path.is_file() and "__pycache__" not in path.parts]
    expected = {str(path).partition("/src/")[2] for path in sources}
    found = {name for wheel in wheels.glob("*.whl") for name in zipfile.ZipFile(wheel).namelist()}
    assert expected - found == set()
    assert {Path(name).suffix for name in expected} >= {".py", ".sql", ".html", ".js", ".json", ".typed"}
    assert len([name for name in found if name.endswith("py.typed")]) == len(list(wheels.glob("*.whl")))
    assert len([name for name in found if name.endswith("dist-info/licenses/LICENSE")]) == len(list(wheels.glob("*.whl")))


def test_waggle_alone_is_enough_to_write_and_test_handlers(wheels: Path, folder: Path) -> None:
    python = _environment(folder, wheels, "waggle")
    listed = json.loads(_uv("pip", "list", "--python", str(python), "--format", "json"))
    assert {each["name"] for each in listed} <= {"waggle", "httptools", "msgspec", "structlog", "typing-extensions"}
    (folder / "handlers.py").write_text(HANDLERS)
    (folder / "tests.py").write_text(TESTS)
    _run(str(python), "tests.py", cwd=folder)


@pytest.mark.timeout(300)
async def test_waggle_with_its_extra_up_runs_everything(wheels: Path, folder: Path) -> None:
    program = _environment(folder, wheels, "waggle[up]").with_name("waggle")
    assert "Run everything on this machine" in _run(str(program), "--help", cwd=folder)
    (folder / "handlers.py").write_text(HANDLERS)
    with up("--ephemeral", "--app", "handlers:app", place=folder, output=folder / "up.txt", program=program) as facts:
        async with client_for(facts) as client:
            created = ok(await client.post("/api/tasks", json={"type": "email.send", "payload": {"to": "anna@example.org"}}), 201)
            read = ok(await client.get(f"/api/tasks/{created['id']}?wait=10"))
            assert (read["status"], read["result"]) == ("completed", {"message_id": created["id"]})
            await asyncio.to_thread(waggle_alone_submits_and_waits, wheels, folder, facts)
            assert "rapidoc" in (await client.get("/schema", headers={"accept": "text/html"})).text


def waggle_alone_submits_and_waits(wheels: Path, place: Path, facts: dict[str, Any]) -> None:
    (place / "alone").mkdir()
    python = _environment(place / "alone", wheels, "waggle")
    (place / "client.py").write_text(CLIENT)
    assert "message_id" in _run(str(python), "client.py", cwd=place, WAGGLE_URL=facts["api_url"], WAGGLE_API_KEY=facts["api_key"])


def test_a_service_that_is_not_installed_is_named_with_what_to_install(wheels: Path, folder: Path) -> None:
    program = _environment(folder, wheels, "waggle[cli]").with_name("waggle")
    for arguments, extra in [(["api"], "api"), (["worker"], "worker"), (["dlq"], "dlq"), (["up", "--ephemeral"], "up")]:
        ended = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
        assert (ended.returncode, ended.stderr.count("\n")) == (2, 1), ended.stderr
        assert f"install `waggle[{extra}]`" in ended.stderr


def _environment(folder: Path, wheels: Path, requirement: str) -> Path:
    """A virtual environment with our wheels, and the versions of all else that the tests run with; its Python.

    The wheels are named by their files: others may have published something under the same names.
    """
    python = folder / "venv" / "bin" / "python"
    constraints = folder / "constraints.txt"
    ours = [f"{wheel.name.partition('-')[0].replace('_', '-')} @ {wheel.as_uri()}" for wheel in wheels.glob("*.whl")]
    constraints.write_text("\n".join([*ours, *PROJECT["tool"]["uv"]["constraint-dependencies"]]))
    _uv("venv", "--quiet", "--python", sys.executable, str(folder / "venv"))
    newest = ["--exclude-newer", PROJECT["tool"]["uv"]["exclude-newer"]]
    _uv("pip", "install", "--quiet", "--python", str(python), "--constraint", str(constraints), *newest, requirement)
    return python


def _uv(*arguments: str) -> str:
    return _run(UV, *arguments, cwd=ROOT)


def _run(*command: str, cwd: Path, **variables: str) -> str:
    environ = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PYTHONPATH")}
    ended = subprocess.run(command, cwd=cwd, env=environ | variables, capture_output=True, text=True, timeout=240, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout
