"""A day as our two domains give it, with something of everything. Run as a script, it renews what is saved of it."""

import math
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import orjson

from tidemill.reporter.envelope import Envelope
from tidemill.reporter.report import (
    AnomalyShown,
    ColumnOf,
    ConverterVersion,
    Correction,
    Coverage,
    ErrorClass,
    Freshness,
    Missing,
    Point,
    Report,
    Series,
    SourceChanges,
    Table,
    Trust,
    ValueType,
)

SAVED = Path(__file__).parent / "reports" / "day"
DAY = date(2026, 11, 28)
BARE = Envelope(
    recipients=("Őri Ágnes <agnes@example.org>",), link="https://tidemill.example/reports/day-2026-11-28", charts=False
)
"""A mail without what takes time to make."""
CITIES = ("Helsinki", "Espoo", "Vantaa", "Tampere", "Turku", "Oulu")
LEAGUES = ("Premier League", "La Liga", "Bundesliga", "NB I", "Serie A", "Ligue 1", "Eredivisie")


def sample() -> Report:
    return Report(
        kind="day",
        subject=DAY.isoformat(),
        day=DAY,
        zone="Europe/Budapest",
        edition=2,
        made_from="3f1c9a6b2e7d4c58a0b1",
        summary="Do not trust the listings of Tampere: half of them are missing since the layout of detail pages"
        " changed; all else is complete and as expected.",
        complete=False,
        missing=(
            Missing(source="oikotie-oulu", why="its run of 06:00 was blocked (HTTP 403) and has not been repeated"),
        ),
        changes=_changes(),
        breakdowns=(_cities(), _leagues(), _issues()),
        errors=_errors(),
        quality=(_quality(), _footprints()),
        performance=(_performance(),),
        politeness=(_politeness(),),
        names=(_names(),),
        trust=_trust(),
        anomalies=_anomalies(),
        series=_series(),
        corrections=_corrections(),
    )


def _changes() -> tuple[SourceChanges, ...]:
    rows = [
        ("oikotie-helsinki", 4, "complete", 214, 96, 8_410, 122, 7, 7_930, 3, 1_140, 61_400_000, 118_200_000, 2_210.4),
        ("oikotie-espoo", 4, "complete", 88, 31, 3_120, 47, 2, 2_940, 0, 420, 22_800_000, 47_100_000, 812.0),
        ("oikotie-tampere", 4, "partial", 12, 4, 1_480, 0, 0, 1_410, 702, 880, 51_000_000, 9_900_000, 1_790.2),
        ("oikotie-oulu", 1, "blocked", 0, 0, 0, 0, 0, 0, 3, 3, 4_100, 0, 4.1),
        ("szerencsemix", 2, "complete", 1_312, 408, 11_020, 0, 0, 0, 0, 6, 4_310_000, 4_290_000, 38.6),
        ("tide-gauge", 24, "complete", 288, 0, 0, 0, 0, 0, 0, 24, 190_000, 0, 9.9),
    ]
    return tuple(
        SourceChanges(
            source=row[0],
            runs=row[1],
            state=row[2],
            new=row[3],
            changed=row[4],
            unchanged=row[5],
            gone=row[6],
            reappeared=row[7],
            skipped=row[8],
            failed=row[9],
            requests=row[10],
            bytes=row[11],
            bytes_saved=row[12],
            duration_seconds=row[13],
            cpu_seconds=round(row[13] / 9, 1),
            peak_memory_bytes=90_000_000 + 1_000_000 * row[1],
        )
        for row in rows
    )


def _table(title: str, columns: str, rows: list[tuple[object, ...]], note: str = "") -> Table:
    """Columns as `name:Title:type:unit`, separated by `;`."""
    parts = [(*column.strip().split(":"), "", "", "")[:4] for column in columns.split(";")]
    made = [ColumnOf.model_validate({"name": n, "title": t, "type": k or "text", "unit": u}) for n, t, k, u in parts]
    return Table.model_validate({"title": title, "note": note, "columns": made, "rows": rows})


def _cities() -> Table:
    rows: list[tuple[object, ...]] = [
        (city, 3_400 - 480 * n, 214 - 33 * n, 122 - 19 * n, 6_420.5 - 610 * n, 0.004 - 0.003 * n, 0.968 - 0.011 * n)
        for n, city in enumerate(CITIES)
    ]
    columns = (
        "city:City;listings:Listings:integer;new:New:integer;gone:Gone:integer;price:Median price:money:EUR/m²;"
        "change:Against last week:percent;inside:Inside a footprint:percent"
    )
    return _table("Listings by city", columns, rows, "Of listings that were there at the end of the day.")


def _leagues() -> Table:
    rows: list[tuple[object, ...]] = [
        (league, 20 - 2 * n, 196 - 21 * n, 0.98 - 0.02 * n, 1.052 + 0.006 * n, 0.996 - 0.009 * n, 14 + n, 5 + n)
        for n, league in enumerate(LEAGUES)
    ]
    columns = (
        "league:League;matches:Matches:integer;markets:Markets:integer;coverage:Market coverage:percent;"
        "overround:Overround:decimal;confidence:Team names:percent;duplicates:Duplicates:integer;"
        "capped:Above the cap:integer"
    )
    return _table("Offers by league", columns, rows, "Market coverage: matches that have 1X2, double chance and goals.")


def _issues() -> Table:
    rows: list[tuple[object, ...]] = [
        ("2026/94", date(2026, 11, 27), datetime(2026, 11, 27, 13, 5, tzinfo=UTC), 29, 1_312, 3),
        ("2026/95", date(2026, 12, 1), None, None, 0, 0),
    ]
    columns = (
        "issue:Issue;day:Day:date;received:Received:time;pages:Pages:integer;markets:Markets:integer;"
        "rejected:Rejected:integer"
    )
    return _table("Issues of the paper", columns, rows)


def _errors() -> tuple[ErrorClass, ...]:
    return (
        ErrorClass(
            source="oikotie-tampere",
            failure="layout_changed",
            count=702,
            remedy="The price is no longer where the source file says. Look with"
            " `tidemill source test oikotie-tampere`, mend the rule, then"
            " `tidemill reconvert oikotie-tampere`: no page is fetched again.",
            example="https://example.org/kohde/7312041: required field `price` not found",
        ),
        ErrorClass(
            source="oikotie-oulu",
            failure="blocked",
            count=3,
            remedy="The host refuses us. Lower `politeness.rate` and wait; the circuit opens again by itself at 18:00.",
            example="https://example.org/oulu?page=1: HTTP 403",
        ),
        ErrorClass(
            source="oikotie-helsinki",
            failure="timeout",
            count=3,
            remedy="Nothing: they are tried again with the next run.",
        ),
    )


def _quality() -> Table:
    rows: list[tuple[object, ...]] = [
        ("listings.listing", 12_403, 0.941, 0.984, 0.997, 0.911, 0.958),
        ("football.match", 1_020, 0.999, 1.0, 0.992, 1.0, 0.998),
        ("football.market", 11_720, 1.0, 0.999, 0.981, 1.0, 0.995),
    ]
    columns = (
        "dataset:Dataset;records:Records:integer;completeness:Completeness:percent;validity:Validity:percent;"
        "plausibility:Plausibility:percent;freshness:Freshness:percent;score:Score:percent"
    )
    return _table("Quality by dataset", columns, rows)


def _footprints() -> Table:
    rows: list[tuple[object, ...]] = [
        (city, 0.931 - 0.01 * n, 0.052, 0.017 + 0.01 * n) for n, city in enumerate(CITIES)
    ]
    columns = "city:City;inside:Inside:percent;near:Near:percent;none:None:percent"
    return _table("Footprints found", columns, rows, "Near: at most 25 m from a building.")


def _performance() -> Table:
    rows: list[tuple[object, ...]] = [
        (row.source, row.duration_seconds, row.cpu_seconds, row.peak_memory_bytes, row.bytes, row.bytes_saved)
        for row in _changes()
    ]
    columns = (
        "source:Source;duration:Duration:duration;cpu:CPU:duration;memory:Peak memory:bytes;bytes:Received:bytes;"
        "saved:Saved:bytes"
    )
    return _table("Cost by source", columns, rows)


def _politeness() -> Table:
    rows: list[tuple[object, ...]] = [
        ("example.org", 2_443, 10_000, 0.2443, 1_660, 0, 2, "CC BY 4.0"),
        ("szerencsejatek.example", 6, None, None, 4, 0, 0, ""),
    ]
    columns = (
        "host:Host;requests:Requests:integer;budget:Budget:integer;used:Used:percent;not_modified:304:integer;"
        "robots:Denied by robots.txt:integer;retry:Retry-After obeyed:integer;licence:Licence"
    )
    return _table("Requests by host", columns, rows)


def _names() -> Table:
    rows: list[tuple[object, ...]] = [
        ("FTC", "Ferencvárosi TC", "alias", 1.0, 14),
        ("Manchester U.", "Manchester United", "fuzzy", 0.932, 4),
        ("Zalaegerszegi", "Zalaegerszegi TE", "fuzzy", 0.918, 2),
        ("B. Mönchengl.", "Borussia Mönchengladbach", "fuzzy", 0.903, 1),
        ("Atl. Madrid nők", "", "review", 0.641, 1),
    ]
    columns = "printed:Printed;name:Taken for;method:How;confidence:Confidence:percent;times:Times:integer"
    return _table("Team names, the least certain last", columns, rows)


def _trust() -> Trust:
    end = datetime(2026, 11, 28, 23, tzinfo=UTC)
    ages = {
        "oikotie-helsinki": 4.2,
        "oikotie-espoo": 4.4,
        "oikotie-tampere": 5.0,
        "szerencsemix": 33.9,
        "tide-gauge": 0.9,
    }
    freshness = [
        Freshness(name=name, newest=end - timedelta(hours=age), age_seconds=age * 3600, limit_seconds=36 * 3600)
        for name, age in ages.items()
    ]
    return Trust(
        verdict="untrusted",
        reasons=(
            "702 of 1,418 pages of oikotie-tampere could not be read: their layout changed.",
            "oikotie-oulu is missing: blocked since 06:00.",
        ),
        freshness=(*freshness, Freshness(name="oikotie-oulu", newest=None, limit_seconds=36 * 3600)),
        coverage=(
            Coverage(name="oikotie-helsinki", found=8_720, expected=8_730, fraction=0.9989),
            Coverage(name="oikotie-espoo", found=3_239, expected=3_239, fraction=1.0),
            Coverage(name="oikotie-tampere", found=716, expected=1_418, fraction=0.5049),
            Coverage(name="oikotie-oulu", found=0, expected=880, fraction=0.0),
            Coverage(name="szerencsemix", found=1_312, expected=None, fraction=None),
        ),
        missing_sources=("oikotie-oulu",),
        quarantined=41,
        rejected=705,
        converter_versions=(
            ConverterVersion(converter="pages", version="7", records=11_959),
            ConverterVersion(converter="szerencsemix", version="12", records=12_740),
            ConverterVersion(converter="json", version="3", records=288),
        ),
    )


def _anomalies() -> tuple[AnomalyShown, ...]:
    return (
        AnomalyShown(
            measure="coverage",
            title="Coverage",
            labels={"source": "oikotie-tampere"},
            severity="critical",
            type="percent",
            value=0.505,
            expected=0.985,
            low=0.967,
            high=1.0,
            score=-31.4,
            sentence="Half of what was seen could be read; on Saturdays 99 % are.",
        ),
        AnomalyShown(
            measure="price_level",
            title="Median price",
            labels={"city": "Vantaa"},
            severity="warning",
            type="money",
            unit="EUR/m²",
            value=5_200.5,
            expected=4_655.0,
            low=4_480.0,
            high=4_830.0,
            score=4.7,
        ),
        AnomalyShown(
            measure="duration",
            title="Duration",
            labels={"source": "oikotie-helsinki"},
            severity="info",
            type="duration",
            value=2_210.4,
            expected=1_663.2,
            low=1_273.2,
            high=2_053.2,
            score=3.6,
        ),
    )


def _line(
    name: str, title: str, labels: dict[str, str], type: ValueType, unit: str, level: float, spread: float, last: float
) -> Series:
    """Five weeks with the rhythm of a week, a day without a value, and the last one as given."""
    points = []
    for back in range(34, -1, -1):
        day = DAY - timedelta(days=back)
        middle = level * (1 - 0.12 * (day.weekday() >= 5) * (type in ("integer", "duration")))
        noise = spread * 0.45 * math.sin(back * 2.399 + len(title) + 3 * sum(map(len, labels.values())))
        value = round(middle + noise, 4) if back else last
        low, high = middle - spread, min(middle + spread, 1.0) if type == "percent" else middle + spread
        points.append(
            Point(
                day=day,
                value=None if back == 16 else value,
                low=round(low, 4) if back < 28 else None,
                high=round(high, 4) if back < 28 else None,
                anomalous=back < 28 and back != 16 and not low <= value <= high,
            )
        )
    return Series(name=name, title=title, labels=labels, type=type, unit=unit, points=tuple(points))


def _series() -> tuple[Series, ...]:
    tampere, helsinki = {"source": "oikotie-tampere"}, {"source": "oikotie-helsinki"}
    return (
        _line("coverage", "Coverage", tampere, "percent", "", 0.985, 0.018, 0.505),
        _line("coverage", "Coverage", helsinki, "percent", "", 0.99, 0.012, 0.9989),
        _line("price_level", "Median price", {"city": "Helsinki"}, "money", "EUR/m²", 6_410, 160, 6_420.5),
        _line("price_level", "Median price", {"city": "Vantaa"}, "money", "EUR/m²", 4_655, 175, 5_200.5),
        _line("duration", "Duration", helsinki, "duration", "", 1_890, 390, 2_210.4),
        _line("new", "New records", helsinki, "integer", "", 230, 60, 214),
        _line("new", "New records", {"source": "szerencsemix"}, "integer", "", 1_400, 260, 1_312),
        _line("overround", "Overround", {"league": "NB I"}, "decimal", "", 1.071, 0.008, 1.07),
        _line("quality", "Quality", {"dataset": "listings.listing"}, "percent", "", 0.957, 0.01, 0.958),
    )


def _corrections() -> tuple[Correction, ...]:
    why = "szerencsemix was converted again with version 12"
    return (
        Correction(where="What changed", name="szerencsemix: new", type="integer", before=1_290, after=1_312, why=why),
        Correction(
            where="Offers by league", name="NB I: market coverage", type="percent", before=0.9, after=0.92, why=why
        ),
    )


def renew() -> None:
    """Write the input, and each text form beside it."""
    from tidemill.reporter.renderings.csvs import csv_of, named_tables
    from tidemill.reporter.renderings.html import render_html
    from tidemill.reporter.renderings.mail import render_mail
    from tidemill.reporter.renderings.plain_text import plain_text

    report = sample()
    readable = orjson.dumps(orjson.loads(report.canonical_json()), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)
    (SAVED / "csv").mkdir(parents=True, exist_ok=True)
    (SAVED / "report.json").write_bytes(readable + b"\n")
    (SAVED / "report.html").write_bytes(render_html(report, "/* vega */"))
    (SAVED / "report.txt").write_text(plain_text(report, BARE.link), encoding="utf-8")
    (SAVED / "report.eml").write_bytes(render_mail(report, BARE, {}))
    for old in (SAVED / "csv").iterdir():
        old.unlink()
    for name, table in named_tables(report):
        (SAVED / "csv" / f"{name}.csv").write_bytes(csv_of(table))


if __name__ == "__main__":
    renew()
