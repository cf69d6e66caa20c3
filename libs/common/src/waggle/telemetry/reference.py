"""`python -m waggle.telemetry.reference`: docs/metrics.md, made from the catalogue."""

from collections.abc import Iterator
from typing import Any, Final

from waggle.telemetry.catalogue import MetricSpec, declared

ABOVE: Final = """\
<!-- Made from libs/common/src/waggle/telemetry/catalogue.py: change it there, then run `uv run just docs`. A test holds this page against the code. -->

# Metrics

Each process serves its own metrics in the Prometheus text format: the API at `/metrics` of its port, the other services on a port of their own
(`WAGGLE_METRICS_PORT`; the log line `ready` and the ready file have the address). Besides those below a page shows what prometheus_client says of the
process (`python_…`, and on Linux `process_…`).

A name is `waggle_<room>_<what>_<unit>`: units are seconds and bytes, a counter ends in `_total`. Names marked with * come from the requirements of Waggle and
do not follow the rule. A histogram `name` is on the page as `name_bucket`, `name_sum` and `name_count`.

Label values are bounded: `type` is a registered task type (else `other`), `breaker` is `http` for all hosts of `http.request` together, and `other` for
names after the first hundred.
"""
TITLES: Final = ("metric", "kind", "unit", "labels", "services", "meaning")


def page() -> str:
    """The whole page."""
    return ABOVE + "\n" + "\n".join([_line(TITLES), _line("---" for _ in TITLES), *(_line(_cells(spec)) for spec in declared())]) + "\n"


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(spec: MetricSpec[Any]) -> Iterator[str]:
    yield f"`{spec.name}`" + "\\*" * spec.required
    yield spec.kind.__name__.lower()
    yield spec.unit
    yield ", ".join(f"`{label}`" for label in spec.labels)
    yield ", ".join(spec.where)
    yield spec.meaning


if __name__ == "__main__":
    print(page(), end="")
