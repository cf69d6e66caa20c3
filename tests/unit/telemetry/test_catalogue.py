"""Metrics are declared in one place, by one rule."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import Counter, Gauge, Histogram

from waggle.telemetry.catalogue import MetricSpec, declared
from waggle.telemetry.histograms import BatchHistogram
from waggle.telemetry.reference import page

ROOT = Path(__file__).parents[3]
CATALOGUE = ROOT / "libs/common/src/waggle/telemetry/catalogue.py"
CONSTRUCTORS = {"Counter", "Gauge", "Histogram", "Summary", "Info", "Enum"}
REQUIRED = {
    "system_cpu_usage",
    "system_memory_usage",
    "system_event_loop_lag",
    "task_queue_size",
    "task_processing_rate",
    "task_error_rate",
    "task_processing_duration",
    "dlq_size",
    "dlq_tasks_cleaned_total",
    "dlq_tasks_remaining",
    "dlq_cleanup_duration",
    "dlq_cleanup_success_total",
    "dlq_cleanup_failure_total",
    "circuit_breaker_trips_total",
    "auth_failures_total",
    "rate_limit_exceeded_total",
}
"""What the requirements call `task_processing_duration`, `dlq_tasks_cleaned`, …; counters end in `_total` on the page."""


def test_the_names_of_the_requirements_are_kept() -> None:
    assert {spec.name for spec in declared() if spec.required} == REQUIRED


@pytest.mark.parametrize("spec", [spec for spec in declared() if not spec.required], ids=lambda spec: spec.name)
def test_names_follow_the_rule(spec: MetricSpec[Counter]) -> None:
    assert re.fullmatch(r"waggle_[a-z]+(_[a-z]+)*", spec.name)
    assert (spec.kind is Counter) == spec.name.endswith("_total")
    assert spec.name.count("_") >= 2 + (spec.kind is Counter) or "outcome" in spec.labels, "only a label `outcome` replaces what happened"
    what = spec.name.removesuffix("_total")
    assert what.endswith(f"_{spec.unit}") if spec.unit else not re.search(r"_(ms|milliseconds|seconds|minutes|kb|mb|bytes|percent|ratio)$", what)
    assert not re.search("duration|latency|_age", what) or spec.unit == "seconds"


@pytest.mark.parametrize("spec", declared(), ids=lambda spec: spec.name)
def test_a_metric_is_described_and_has_a_service(spec: MetricSpec[Counter]) -> None:
    assert spec.meaning
    assert spec.where
    assert spec.kind in (Counter, Gauge, Histogram, BatchHistogram)
    assert len(spec.advice) > 10, "what to do when it is bad"
    assert all(re.fullmatch("[a-z]+", label) for label in spec.labels)


def test_names_are_unique() -> None:
    names = [spec.name for spec in declared()]
    assert len(names) == len(set(names))


def test_no_metric_is_made_outside_the_catalogue() -> None:
    code = [file for folder in ("libs", "services") for file in (ROOT / folder).rglob("*.py") if file != CATALOGUE]
    assert len(code) > 100
    assert [f"{file.relative_to(ROOT)}:{line}" for file in code for line in constructed(file.read_text())] == []


@pytest.mark.parametrize(
    "source",
    [
        "from prometheus_client import Counter\nCounter('a', 'b')",
        "from prometheus_client import Gauge as G\nG('a', 'b')",
        "import prometheus_client\nprometheus_client.Histogram('a', 'b')",
        "import prometheus_client as p\np.Summary('a', 'b')",
        "from prometheus_client.metrics import Info\nInfo('a', 'b')",
    ],
)
def test_a_metric_that_is_made_elsewhere_is_found(source: str) -> None:
    assert list(constructed(source)) == [2]
    assert list(constructed("from collections import Counter\nCounter('ab')")) == []


def constructed(source: str) -> Iterator[int]:
    """The lines where a metric of prometheus_client is constructed."""
    if "prometheus_client" not in source:
        return
    tree = ast.parse(source)
    classes, modules = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prometheus_client"):
            classes |= {alias.asname or alias.name for alias in node.names if alias.name in CONSTRUCTORS}
        elif isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name.partition(".")[0] for alias in node.names if alias.name.startswith("prometheus_client")}
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in classes:
                yield node.lineno
            case ast.Call(func=ast.Attribute(value=ast.Name(id=module), attr=attr)) if module in modules and attr in CONSTRUCTORS:
                yield node.lineno


def test_every_declared_metric_is_made_by_a_service() -> None:
    code = "\n".join(file.read_text() for folder in ("libs", "services") for file in (ROOT / folder).rglob("*.py") if file != CATALOGUE)
    constants = re.findall(r"^(\w+): Final = MetricSpec\(", CATALOGUE.read_text(), flags=re.MULTILINE)
    assert len(constants) == len(declared())
    assert [name for name in constants if f"catalogue.{name}.create()" not in code] == []


def test_the_page_of_the_metrics_is_the_one_that_the_code_makes() -> None:
    assert (ROOT / "docs/metrics.md").read_text() == page(), "run `uv run just docs`"


def test_what_handlers_import_does_not_need_the_catalogue() -> None:
    program = "import sys, waggle, waggle.app, waggle.context; print([m for m in sys.modules if m.startswith(('prometheus_client', 'waggle.telemetry'))])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60).stdout == "[]\n"
