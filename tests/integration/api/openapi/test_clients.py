"""Clients that are generated from the OpenAPI document: no generator has an objection, and what it makes submits and lists tasks at a running API."""

import asyncio
import json
import os
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from support.keys import ADMIN_KEY
from support.node import runner
from support.processes import Process
from support.typescript import MODULES, TYPESCRIPT, generate, packages, run
from waggle.store import catalogue
from waggle.store import postgres as store
from waggle_api import app

ROOT = Path(__file__).parents[4]
GENERATOR = "openapi-python-client==0.29.1"


@pytest.fixture(autouse=True)
async def _demo(process: Process) -> None:
    """The type that the clients use."""
    async with store.pool(process.settings, "test", 1) as pool:
        await catalogue.announce(pool, [catalogue.TaskType("demo.echo", "default", 3, 300.0, True, "{}")], ["default"])


def says(folder: Path, *command: str) -> str:
    """What a command prints that succeeds and has nothing to complain of."""
    done = run([*command], folder)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return done.stdout


def seen(said: str) -> dict[str, Any]:
    """What the client saw: its task is in its list, and a mistake is refused."""
    found: dict[str, Any] = json.loads(said)
    assert found["id"] in found["listed"]
    assert (found["status"], found["refused"]) == ("pending", "validation_error")
    return found


def python(*command: str) -> list[str]:
    """A command in an environment of the generator, which its clients' requirements come with; as old as the project's."""
    newest = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["exclude-newer"]
    return [os.environ.get("UV", "uv"), "--quiet", "tool", "run", "--python", sys.executable, "--exclude-newer", newest, "--from", GENERATOR, *command]


async def test_a_generated_python_client_works(process: Process, folder: Path) -> None:
    (folder / "openapi.json").write_bytes(app.document())
    options = ("--path", "openapi.json", "--meta", "none", "--output-path", "generated", "--fail-on-warning")
    said = await asyncio.to_thread(says, folder, *python("openapi-python-client", "generate", *options))
    assert said == "Generating generated\n"
    shutil.copy(ROOT / "clients/python/calls.py", folder)
    seen(await asyncio.to_thread(says, folder, *python("python", "calls.py", process.api_url, ADMIN_KEY)))


async def test_a_generated_typescript_client_works(process: Process, folder: Path) -> None:
    await asyncio.to_thread(packages)
    (folder / "openapi.json").write_bytes(app.document())
    (folder / "node_modules").symlink_to(MODULES)
    (folder / "package.json").write_text('{"type": "module"}')
    shutil.copy(TYPESCRIPT / "calls.ts", folder)
    await asyncio.to_thread(generate, folder)
    options = ("--strict", "--target", "ES2022", "--module", "ES2022", "--moduleResolution", "Bundler", "--lib", "ES2022,DOM")
    await asyncio.to_thread(says, folder, *runner("node"), str(MODULES / "typescript/bin/tsc"), *options, "calls.ts")
    seen(await asyncio.to_thread(says, folder, *runner("node"), "calls.js", process.api_url, ADMIN_KEY))
