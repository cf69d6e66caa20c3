"""The model of how breakers are shared holds, and notices when a rule is left out: `docs/model/breakers.py`, which has larger scenarios too."""

import subprocess
import sys
from pathlib import Path

MODEL = Path(__file__).parents[4] / "docs" / "model" / "breakers.py"


def walk(*words: str) -> str:
    ended = subprocess.run([sys.executable, str(MODEL), *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_every_state_of_the_small_scenarios_keeps_the_rules() -> None:
    lines = walk().splitlines()
    assert len(lines) == 3
    assert all(line.startswith("ok ") and line.endswith(": holds") for line in lines)


def test_a_rule_that_is_left_out_is_noticed() -> None:
    names = ("compare and set", "waits for leases", "leases end", "a reset bumps", "closings have a time", "a refused probe reads again", "released")
    lines = walk("mutations", *names).splitlines()
    assert len(lines) == len(names)
    assert all(line.startswith("ok ") and not line.endswith("holds") for line in lines)
