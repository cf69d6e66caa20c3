"""What a dashboard is made of, and how it becomes Grafana's JSON. `boards` has the dashboards themselves.

Queries follow three rules. What every scheduler or dlq service shows alike is taken as a maximum. Counters are shown as rates. A panel that compares
two things shows both.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS: Final = 24
RATE: Final = "$__rate_interval"
JOB: Final = 'job=~"$job"'


@dataclass(frozen=True)
class Panel:
    """A panel: its queries with their legends, its unit, and what to do when it looks bad. `kind`: timeseries, stat or table."""

    title: str
    queries: Sequence[tuple[str, str]]
    unit: str
    advice: str
    kind: str = "timeseries"
    width: int = 8
    bad: float | None = None  # from here on it is red
    link: tuple[str, str] | None = None  # the title and address of what a value leads to
    stacked: bool = False


@dataclass(frozen=True)
class Board:
    """A dashboard: what question it answers, and its rows of panels."""

    uid: str
    title: str
    answers: str
    rows: Sequence[tuple[str, Sequence[Panel]]]
    variables: Sequence[tuple[str, str, str]] = field(default_factory=tuple)  # name, label, query


def top(metric: str, by: str, extra: str = "") -> str:
    """What every scheduler shows alike."""
    return f"max by ({by}) ({metric}{{{JOB}{extra}}})"


def rate(metric: str, by: str = "", extra: str = "") -> str:
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{JOB}{extra}}}[{RATE}]))"


def quantile(share: float, metric: str, by: str = "", extra: str = "") -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{{{JOB}{extra}}}[{RATE}])))"


def ratio(part: str, whole: str) -> str:
    """A share, 0 where there is nothing."""
    return f"{part} / ({whole} > 0) or {whole} * 0"


def rendered(board: Board) -> dict[str, Any]:
    """The dashboard as Grafana's JSON model (classic, schema version 39): https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/"""
    panels: list[dict[str, Any]] = []
    down = 0
    for title, row in board.rows:
        panels.append(
            {"type": "row", "id": len(panels) + 1, "title": title, "collapsed": False, "panels": [], "gridPos": {"h": 1, "w": COLUMNS, "x": 0, "y": down}}
        )
        down += 1
        right, height = 0, 5 if all(panel.kind == "stat" for panel in row) else 8
        for panel in row:
            if right + panel.width > COLUMNS:
                right, down = 0, down + height
            panels.append(_panel(panel, len(panels) + 1, {"h": height, "w": panel.width, "x": right, "y": down}))
            right += panel.width
        down += height
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.answers,
        "tags": ["waggle"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "30s",
        "timezone": "browser",
        "links": [
            {"type": "dashboards", "title": "Waggle", "tags": ["waggle"], "asDropdown": True, "keepTime": True, "includeVars": False, "icon": "external link"}
        ],
        "templating": {"list": _variables(board)},
        "annotations": {"list": []},
        "panels": panels,
    }


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.bad is not None:
        steps.append({"color": "red", "value": panel.bad})
    defaults: dict[str, Any] = {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}, "links": _links(panel)}
    if panel.kind == "timeseries":
        custom: dict[str, Any] = {"lineWidth": 1, "fillOpacity": 10, "showPoints": "never", "spanNulls": False}
        if panel.stacked:
            custom["stacking"] = {"mode": "normal", "group": "A"}
        if panel.bad is not None:
            custom["thresholdsStyle"] = {"mode": "line"}
        defaults |= {"min": 0, "color": {"mode": "palette-classic"}, "custom": custom}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.advice,
        "gridPos": place,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel.kind),
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": query, "legendFormat": legend, "exemplar": "_bucket" in query, "range": True}
            for index, (query, legend) in enumerate(panel.queries)
        ],
    }


def _links(panel: Panel) -> list[dict[str, Any]]:
    return [] if panel.link is None else [{"title": panel.link[0], "url": panel.link[1], "targetBlank": False}]


def _options(kind: str) -> dict[str, Any]:
    if kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}, "colorMode": "background", "graphMode": "area", "textMode": "value"}
    return {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}, "tooltip": {"mode": "multi", "sort": "desc"}}


def _variables(board: Board) -> list[dict[str, Any]]:
    sources = [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0, "refresh": 1},
        {"name": "traces", "label": "Traces", "type": "datasource", "query": "tempo", "hide": 0, "refresh": 1},
    ]
    queries = [("job", "Job", "label_values(system_cpu_usage, job)"), *board.variables]
    asked = [
        {
            "name": name, "label": label, "type": "query", "datasource": SOURCE, "query": {"query": query, "refId": name}, "definition": query,
            "includeAll": True, "multi": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}, "refresh": 2, "sort": 1, "hide": 0,
        }
        for name, label, query in queries
    ]  # fmt: skip
    return sources + asked
