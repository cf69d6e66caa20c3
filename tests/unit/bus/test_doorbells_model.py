"""The model of a doorbell that carries several tasks holds, and notices when a rule is left out: `docs/model/doorbells.py`."""

import subprocess
import sys
from pathlib import Path

MODEL = Path(__file__).parents[3] / "docs" / "model" / "doorbells.py"


def walk(*words: str) -> list[str]:
    ended = subprocess.run([sys.executable, str(MODEL), *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout.splitlines()


def test_every_task_of_a_doorbell_runs_once_and_the_doorbell_is_acked() -> None:
    lines = walk()
    assert len(lines) == 3
    assert all(line.startswith("ok ") and line.endswith(": holds") for line in lines)


def test_a_rule_that_is_left_out_is_noticed() -> None:
    lines = walk("mutations")
    assert len(lines) == 3
    assert all(line.startswith("ok ") and not line.endswith("holds") for line in lines)
