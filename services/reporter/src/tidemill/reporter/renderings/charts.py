"""Charts as Vega-Lite specifications; a chart of the same series is the same on a page and on paper."""

from collections.abc import Mapping, Sequence
from typing import Any

from tidemill.reporter.renderings.figures import WEEKDAYS, figure
from tidemill.reporter.renderings.palette import Palette
from tidemill.reporter.renderings.telling import band, name_of
from tidemill.reporter.renderings.visible import shortened, visible
from tidemill.reporter.report import Point, Series, SourceChanges
from tidemill.reporter.table import ValueType

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
"""A name, never fetched: what draws is inlined."""
KINDS = ("new", "changed", "reappeared", "gone", "failed")
SOURCES_CHARTED = 30
AXIS_AND_LEGEND = 64
Spec = dict[str, Any]


def line_chart(series: Series, colours: Palette, *, width: int | str = "container", height: int = 170) -> Spec:
    """The measure over days, the band in which it was expected, and what left it in red. A pointer shows the day."""
    divisor, suffix = _scale(series)
    x = {"field": "day", "type": "temporal", "scale": {"type": "utc"}, "axis": _days_axis(len(series.points))}
    y = {"type": "quantitative", "scale": {"zero": False, "nice": True}, "axis": _axis(divisor, suffix)}
    encoding = {"x": x, "y": {**y, "field": "value"}}
    dots = {"filled": True, "size": 18, "color": colours.line} if _alone(series) else False
    line = {"type": "line", "color": colours.line, "strokeWidth": 1.8, "point": dots}
    layers: list[Spec] = [{"mark": line, "encoding": encoding}]
    if any(None not in (point.low, point.high) for point in series.points):
        between = {"x": x, "y": {**y, "field": "low", "title": None}, "y2": {"field": "high"}}
        layers.insert(
            0, {"mark": {"type": "area", "color": colours.band, "interpolate": "monotone"}, "encoding": between}
        )
    if any(point.anomalous for point in series.points):
        dot = {"type": "point", "filled": True, "size": 60, "color": colours.bad, "opacity": 1}
        layers.append({"transform": [{"filter": "datum.anomalous"}], "mark": dot, "encoding": encoding})
    return {
        **_frame(colours, width, height),
        "description": visible(name_of(series)),
        "data": {"values": [_point(series, point, divisor or 1) for point in series.points]},
        "layer": [*layers, _pointer(x, colours)],
    }


def changes_chart(changes: Sequence[SourceChanges], colours: Palette, *, width: int | str = "container") -> Spec | None:
    """What each source brought, by kind, without what stayed as it was; None where nothing changed."""
    charted = [row for row in changes if any(getattr(row, kind) for kind in KINDS)][:SOURCES_CHARTED]
    if not charted:
        return None
    values = [
        {"source": _short(row.source), "kind": kind, "count": getattr(row, kind), "order": order}
        for row in charted
        for order, kind in enumerate(KINDS)
        if getattr(row, kind)
    ]
    palette = [colours.new, colours.changed, colours.back, colours.gone, colours.bad]
    return {
        **_frame(colours, width, 26 * len(charted) + AXIS_AND_LEGEND),
        "description": "New, changed, reappeared, gone and failed, by source",
        "data": {"values": values},
        "mark": {"type": "bar", "height": {"band": 0.7}, "cornerRadius": 1},
        "encoding": {
            "y": {"field": "source", "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": 200}},
            "x": {"field": "count", "type": "quantitative", "title": None, "axis": {"tickCount": 5, "format": ",d"}},
            "color": {
                "field": "kind",
                "type": "nominal",
                "scale": {"domain": list(KINDS), "range": palette},
                "legend": {"orient": "top", "title": None, "symbolType": "square"},
            },
            "order": {"field": "order", "type": "quantitative"},
            "tooltip": [
                {"field": "source", "type": "nominal", "title": "Source"},
                {"field": "kind", "type": "nominal", "title": "What"},
                {"field": "count", "type": "quantitative", "title": "How many", "format": ","},
            ],
        },
    }


def _alone(series: Series) -> bool:
    """Whether a value has none beside it, so that no line would show it."""
    known = [False, *(point.value is not None for point in series.points), False]
    return any(here and not (before or after) for before, here, after in zip(known, known[1:], known[2:], strict=False))


def _pointer(x: Mapping[str, Any], colours: Palette) -> Spec:
    """A rule at the day that is nearest to the pointer, with what is known of it."""
    shown = [
        {"field": name, "type": "nominal", "title": title}
        for name, title in (("on", "Day"), ("said", "Value"), ("expected", "Expected"))
    ]
    return {
        "params": [
            {
                "name": "pointed",
                "select": {
                    "type": "point",
                    "encodings": ["x"],
                    "nearest": True,
                    "on": "pointerover",
                    "clear": "pointerout",
                },
            }
        ],
        "mark": {"type": "rule", "color": colours.muted, "strokeWidth": 1},
        "encoding": {
            "x": x,
            "opacity": {"condition": {"param": "pointed", "empty": False, "value": 0.7}, "value": 0},
            "tooltip": shown,
        },
    }


def _frame(colours: Palette, width: int | str, height: int) -> Spec:
    text = {"labelColor": colours.muted, "labelFont": colours.font, "labelFontSize": 11}
    return {
        "$schema": SCHEMA,
        "width": width,
        "height": height,
        "background": None,
        "autosize": {"type": "fit", "contains": "padding"},
        "config": {
            "view": {"stroke": None},
            "font": colours.font,
            "axis": {
                **text,
                "domain": False,
                "ticks": False,
                "gridColor": colours.rule,
                "labelPadding": 6,
                "title": None,
            },
            "axisX": {"grid": False, "domain": True, "domainColor": colours.rule},
            "legend": {**text, "labelFontSize": 12},
        },
    }


def _axis(divisor: float, suffix: str) -> Spec:
    shape = {"tickCount": 4, "title": None, "format": ".1~%" if divisor == PERCENT else ",~r"}
    return {**shape, "labelExpr": f"datum.label + ' {suffix}'"} if suffix else shape


PERCENT = 0.0
"""No divisor: Vega writes fractions as percent itself."""
STEPS: Mapping[ValueType, Sequence[tuple[float, str]]] = {
    "duration": ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")),
    "bytes": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B")),
}


def _scale(series: Series) -> tuple[float, str]:
    """What values are divided by so that the axis has round figures, and the unit that stands there then."""
    if series.type == "percent":
        return PERCENT, ""
    most = max((abs(p.value) for p in series.points if p.value is not None), default=0.0)
    steps = STEPS.get(series.type, ((1, ""),))
    return next((step for step in steps if most >= 2 * step[0]), steps[-1])


def _days_axis(days: int) -> Spec:
    ticks = min(6, max(1, days))
    return {"format": "%-d %b", "tickCount": ticks, "labelOverlap": "greedy", "labelSeparation": 10, "title": None}


def _point(series: Series, point: Point, divisor: float) -> Spec:
    """Without the keys that have no value: Vega would take them for zero."""
    given = {"value": point.value, "low": point.low, "high": point.high}
    return {
        "day": point.day.isoformat(),
        "on": f"{WEEKDAYS[point.day.weekday()]}, {point.day.isoformat()}",
        "said": figure(point.value, series.type, series.unit),
        "expected": band(series, point.low, point.high),
        **{name: value / divisor for name, value in given.items() if value is not None},
        **({"anomalous": True} if point.anomalous else {}),
    }


def _short(text: str) -> str:
    return shortened(visible(text), 40)
