"""The report as one HTML file that needs no network: charts, styles and scripts are in it."""

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import orjson
from jinja2 import Environment
from markupsafe import Markup

from tidemill.reporter.renderings.charts import Spec, changes_chart, line_chart
from tidemill.reporter.renderings.figures import NUMERIC, UNKNOWN, figure
from tidemill.reporter.renderings.palette import PAGE
from tidemill.reporter.renderings.sparkline import sparkline
from tidemill.reporter.renderings.telling import (
    VERDICTS,
    anomalies,
    drawable,
    edition,
    find_series,
    head,
    name_of,
    notes_on_trust,
    sections,
    sums,
    title,
    trend_row,
)
from tidemill.reporter.renderings.templating import make_templates
from tidemill.reporter.report import Report

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src {scripts}; base-uri 'none'; form-action 'none'"
"""Nothing is loaded from anywhere, and of scripts only ours run: not what a stranger's text might smuggle in."""
CHARTS = 60
LONG_WORD = 28
"""Only words that are longer are broken within a cell."""


def render_html(report: Report, vega: str | None = None) -> bytes:
    """`vega` is the script that draws charts; without it, the one of `vega_bundle`."""
    specs = _specs(report)
    vega, script = vega_bundle() if vega is None else vega, _packaged("report.js")
    page = _environment().get_template("report.html.j2")
    return page.render(
        **_told(report, specs),
        css=Markup(_packaged("report.css")),
        vega=Markup(vega),
        script=Markup(script),
        specs=Markup(_in_script(specs)),
        policy=POLICY.format(scripts=" ".join(_digest(text) for text in (vega, script))),
    ).encode()


def _told(report: Report, specs: Mapping[str, Spec]) -> dict[str, Any]:
    keys = {id(series): f"series-{number}" for number, series in enumerate(report.series)}
    shown = [(anomaly, find_series(report, anomaly)) for anomaly in anomalies(report)]
    in_anomalies = {id(series) for _, series in shown}
    return {
        "report": report,
        "title": title(report),
        "edition": edition(report),
        "verdict": VERDICTS[report.trust.verdict],
        "sums": sums(report),
        "notes": notes_on_trust(report),
        "sections": [one for one in sections(report) if one.anchor != "missing"],  # It stands in the trust box.
        "anomalies": [(anomaly, keys[id(series)] if drawable(series) else "") for anomaly, series in shown],
        "trends": [(row, series) for series in report.series if (row := trend_row(series)) is not None],
        "charted": [(s, keys[id(s)]) for s in report.series if keys[id(s)] in specs and id(s) not in in_anomalies],
        "changes_key": "changes" if "changes" in specs else "",
        "changes_height": specs["changes"]["height"] if "changes" in specs else 0,
        "shown": lambda value, column: figure(value, column.type, "", report.zone),
    }


def _specs(report: Report) -> dict[str, Spec]:
    """Of all that stands out, and of as many other series as a browser draws within seconds."""
    keys = {id(series): f"series-{number}" for number, series in enumerate(report.series) if drawable(series)}
    standing_out = [series for one in report.anomalies if (series := find_series(report, one))]
    rest = [series for series in report.series if drawable(series) and series not in standing_out]
    chosen = [series for series in (*standing_out, *rest[:CHARTS]) if id(series) in keys]
    specs = {keys[id(series)]: line_chart(series, PAGE) for series in chosen}
    changes = changes_chart(report.changes, PAGE)
    return {**specs, "changes": changes} if changes else specs


def _environment() -> Environment:
    environment = make_templates()
    environment.globals.update(
        figure=figure,
        first_word=first_word,
        name_of=name_of,
        sparkline=sparkline,
        zip=zip,
        head=head,
        numeric=lambda column: column.type in NUMERIC,
        long=lambda value: isinstance(value, str) and max(map(len, value.split()), default=0) > LONG_WORD,
        signed=lambda value: UNKNOWN if value is None else ("+" if value > 0 else "") + figure(value, "percent"),
    )
    return environment


def first_word(text: str) -> str:
    """For a class of CSS, which holds no text of a stranger: `timed` of `timed out`."""
    return text.split(" ", maxsplit=1)[0] if re.fullmatch("[a-z ]+", text) else ""


@cache
def vega_bundle() -> str:
    """Vega, Vega-Lite and what embeds them, to be inlined. It takes V8 a second or two to put together."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def _packaged(name: str) -> str:
    return (resources.files("tidemill.reporter.renderings") / "templates" / name).read_text(encoding="utf-8")


def _in_script(specs: Mapping[str, Spec]) -> str:
    """JSON that ends no script element and begins no comment in one; what charts have in common stands there once."""
    config: Spec = next((spec["config"] for spec in specs.values()), {})
    own = {key: {name: part for name, part in spec.items() if name != "config"} for key, spec in specs.items()}
    text = orjson.dumps({"config": config, "charts": own}, option=orjson.OPT_SORT_KEYS).decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
