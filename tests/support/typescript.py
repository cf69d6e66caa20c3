"""The npm packages of clients/typescript, and the types that are generated from the OpenAPI document."""

import fcntl
import json
import subprocess
from pathlib import Path

from support.node import runner

TYPESCRIPT = Path(__file__).parents[2] / "clients/typescript"
MODULES = TYPESCRIPT / "node_modules"
SECONDS = 120
GENERATE = ("openapi-typescript/bin/cli.js", "openapi.json", "--output", "schema.ts", "--default-non-nullable=false")


def run(command: list[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)


def packages() -> None:
    """Install the packages at the versions of package.json, in one process at a time. Fails when they cannot be had."""
    wanted = json.loads((TYPESCRIPT / "package.json").read_text())["devDependencies"]
    with (TYPESCRIPT / "package.json").open() as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        found = {name: json.loads(file.read_text())["version"] for name in wanted if (file := MODULES / name / "package.json").exists()}
        if found != wanted:
            installed = run([*runner("npm"), "install"], TYPESCRIPT)
            assert installed.returncode == 0, installed.stdout + installed.stderr


def generate(folder: Path) -> None:
    """Write schema.ts from openapi.json. Fails if the generator has an objection."""
    script, *options = GENERATE
    generated = run([*runner("node"), str(MODULES / script), *options], folder)
    assert (generated.returncode, "warn" in (generated.stdout + generated.stderr).lower()) == (0, False), generated.stdout + generated.stderr
