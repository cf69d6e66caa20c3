"""The model of the window of suspects holds, and notices when a rule is left out: `docs/model/suspects.py`, which has larger scenarios too."""

import subprocess
import sys
from pathlib import Path

MODEL = Path(__file__).parents[3] / "docs" / "model" / "suspects.py"


def walk(*words: str) -> list[str]:
    ended = subprocess.run([sys.executable, str(MODEL), *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout.splitlines()


def test_no_neighbour_becomes_a_dead_letter_and_every_task_comes_to_rest() -> None:
    lines = walk()
    assert len(lines) == 4
    assert all(line.startswith("ok ") and line.endswith(": holds") for line in lines)


def test_a_rule_that_is_left_out_is_noticed() -> None:
    names = ("alone on the last try", "others wait for it", "here until settled", "unclaimed")
    lines = walk("mutations", *names)
    assert len(lines) == len(names)
    assert all(line.startswith("ok ") and "a neighbour is a dead letter" in line for line in lines)
