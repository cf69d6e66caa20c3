"""The alert rules, tried by promtool: each fires in its case, keeps quiet in another, and has a runbook."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
PROMETHEUS = ROOT / "deploy/prometheus"
RULES: list[dict[str, Any]] = yaml.safe_load((PROMETHEUS / "waggle.rules.yml").read_text())["groups"][0]["rules"]
TESTS: list[dict[str, Any]] = yaml.safe_load((PROMETHEUS / "waggle.rules.test.yml").read_text())["tests"]


def promtool(*arguments: str) -> str:
    tool = shutil.which("promtool")
    assert tool, "promtool is missing: apt-get install prometheus"
    done = subprocess.run([tool, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_rules_and_the_configuration_are_valid() -> None:
    assert "18 rules found" in promtool("check", "rules", "waggle.rules.yml")
    promtool("check", "config", "prometheus.yml")


def test_every_rule_fires_in_its_case_only() -> None:
    promtool("test", "rules", "waggle.rules.test.yml")
    fires = {name: [bool(test.get("exp_alerts")) for each in TESTS for test in each["alert_rule_test"] if test["alertname"] == name] for name in names()}
    assert fires == {name: [True, False] for name in names()}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_has_a_runbook(rule: dict[str, Any]) -> None:
    page, _, anchor = rule["annotations"]["runbook_url"].rpartition("/")[2].partition("#")
    sections = re.findall(r"^## (.+)$", (ROOT / "docs" / page).read_text(), flags=re.MULTILINE)
    assert anchor == rule["alert"].lower()
    assert rule["alert"] in sections
    assert rule["labels"]["severity"] in ("page", "ticket")


def names() -> list[str]:
    return [rule["alert"] for rule in RULES]
