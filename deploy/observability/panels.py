"""What a dashboard consists of, and the JSON that Grafana makes of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

SCHEMA = 39
"""Of Grafana 10.4 and later."""
COLUMNS = 24
HEIGHT = 8
LINK = {
    "type": "link",
    "icon": "dashboard",
    "tooltip": "",
    "tags": [],
    "asDropdown": False,
    "targetBlank": False,
    "keepTime": True,
    "includeVars": True,
}
OURS = {"text": "Prometheus", "value": "tidemill-prometheus"}
"""The data source that is provisioned beside."""
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class Query:
    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    title: str
    unit: str
    """As Grafana names it: s, bytes, short, reqps, percentunit, …"""
    queries: tuple[Query, ...]
    says: str = ""
    kind: str = "timeseries"
    width: int = 8
    red_above: float | None = None
    red_below: float | None = None


@dataclass(frozen=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    """What the reader may choose; all of it at first."""

    name: str
    metric: str


@dataclass(frozen=True)
class Dashboard:
    uid: str
    """Never changed: two files with one uid take turns in Grafana, and links lead to it."""
    title: str
    says: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()

    @property
    def panels(self) -> Iterator[Panel]:
        for row in self.rows:
            yield from row.panels


def json_of(dashboard: Dashboard, others: Sequence[Dashboard]) -> dict[str, Any]:
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.says,
        "tags": ["tidemill"],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "timezone": "browser",
        "annotations": {"list": []},
        "templating": {"list": [_datasource(), *map(_variable, dashboard.variables)]},
        "links": [
            {**LINK, "title": other.title, "url": f"/d/{other.uid}"} for other in others if other is not dashboard
        ],
        "panels": list(_placed(dashboard)),
    }


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": OURS}


def _variable(variable: Variable) -> dict[str, Any]:
    return {
        "name": variable.name,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": f"label_values({variable.metric}, {variable.name})", "refId": variable.name},
        "definition": f"label_values({variable.metric}, {variable.name})",
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _placed(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    """From left to right, line by line."""
    number = top = 0
    for row in dashboard.rows:
        number += 1
        place = {"h": 1, "w": COLUMNS, "x": 0, "y": top}
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "panels": [], "gridPos": place}
        top, left = top + 1, 0
        for panel in row.panels:
            if left + panel.width > COLUMNS:
                top, left = top + HEIGHT, 0
            number += 1
            yield _panel(panel, number, {"h": HEIGHT, "w": panel.width, "x": left, "y": top})
            left += panel.width
        top += HEIGHT


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    instant = panel.kind != "timeseries"
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "min": 0, "thresholds": _thresholds(panel), "custom": _custom(panel)},
            "overrides": [],
        },
        "options": _options(panel),
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": SOURCE,
                "expr": query.expr,
                "legendFormat": query.legend or "__auto",
                "instant": instant,
                "range": not instant,
            }
            for place, query in enumerate(panel.queries)
        ],
    }


def _thresholds(panel: Panel) -> dict[str, Any]:
    first: dict[str, Any] = {"color": "red" if panel.red_below is not None else "green", "value": None}
    steps = [first]
    if panel.red_above is not None:
        steps.append({"color": "red", "value": panel.red_above})
    if panel.red_below is not None:
        steps.append({"color": "green", "value": panel.red_below})
    return {"mode": "absolute", "steps": steps}


def _custom(panel: Panel) -> dict[str, Any]:
    if panel.kind != "timeseries":
        return {}
    marked = panel.red_above is not None or panel.red_below is not None
    return {"fillOpacity": 8, "showPoints": "never", "thresholdsStyle": {"mode": "line" if marked else "off"}}


def _options(panel: Panel) -> dict[str, Any]:
    if panel.kind == "timeseries":
        return {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    return {
        "reduceOptions": {"calcs": ["lastNotNull"]},
        "colorMode": "value",
        "textMode": "auto",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "wideLayout": True,
        "showPercentChange": False,
        "percentChangeColorMode": "standard",
    }
