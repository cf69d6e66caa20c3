"""`python -m waggle.telemetry.reference`: docs/metrics.md, made from the catalogue."""

from collections.abc import Iterator
from typing import Any, Final

from waggle.telemetry.catalogue import MetricSpec, declared

ABOVE: Final = """\
<!-- Made from libs/common/src/waggle/telemetry/catalogue.py by `uv run just docs`. A test holds this page to it. -->

# Metrics

Each process serves its own metrics at `/metrics`, in the text format of Prometheus, or in OpenMetrics with exemplars
for who accepts that: the API on its own port, the other services on `WAGGLE_METRICS_HOST` and `WAGGLE_METRICS_PORT`.
Several worker processes are several addresses. The log line `ready` and the ready file have them, and `waggle up`
writes a configuration of Prometheus with all of them, `.waggle/prometheus.yml`. A page also has metrics of the process
from prometheus_client (`python_…`, and on Linux `process_…`).

The schedulers show the figures of the whole system. With several of them each shows the same ones: take the maximum,
`max by (queue) (task_queue_size)`. [dashboards.md](dashboards.md) shows all of them, and
[alerts.md](alerts.md) says when to wake somebody.

A name is `waggle_<part>_<what>_<unit>`. Units are `seconds` and `bytes`; a number of things has no unit; a counter ends
in `_total`. The names marked with * are fixed by the requirements of Waggle and do not follow the rule. A histogram
`name` appears on the page as `name_bucket`, `name_sum` and `name_count`.

Label values are bounded. `type` is a registered task type, or `other`. `breaker` is the name of a circuit breaker;
`http` stands for all hosts that `http.request` calls, and `other` for names after the first hundred.
"""
TITLES: Final = ("metric", "kind", "unit", "labels", "services", "meaning", "when it is bad")


def page() -> str:
    """The whole page."""
    return ABOVE + "\n" + "\n".join([_line(TITLES), _line("---" for _ in TITLES), *(_line(_cells(spec)) for spec in declared())]) + "\n"


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(spec: MetricSpec[Any]) -> Iterator[str]:
    yield f"`{spec.name}`" + "\\*" * spec.required
    yield spec.type
    yield spec.unit
    yield ", ".join(f"`{label}`" for label in spec.labels)
    yield ", ".join(spec.where)
    yield spec.meaning
    yield spec.advice


if __name__ == "__main__":
    print(page(), end="")
