"""The report on a day: each of its figures is counted again, by other ways, from what went in and from the tables."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from statistics import median
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from tidemill.common.testing.fixtures import Databases, run
from tidemill.football.split import cap_markets
from tidemill.plugin import Position, Rejected
from tidemill.reporter.editions import next_edition
from tidemill.reporter.gathering import Gathering, NothingToReport, open_snapshot
from tidemill.reporter.report import Report
from tidemill.reporter.table import Table
from tidemill.reporter.telling import tell

from .kit import MONDAY, SPECS, UTC_ZONE, World, homes, issue, issue_rows, listing, open_world

pytestmark = pytest.mark.servers

TUESDAY = MONDAY + timedelta(days=1)
CITIES = {"helsinki": "Helsinki", "vaduz": "Vaduz"}


def gathering(world: World) -> Gathering:
    return Gathering(UTC_ZONE, world.reporting.datasets, world.reporting.known)


async def report(world: World, subject: str = "2026-03-03", kind: str = "day") -> Report:
    facts = await gathering(world).facts(world.engine, kind, subject)
    return tell(facts, world.reporting.known)


def rows_of(table: Table) -> dict[Any, dict[str, Any]]:
    """By the first column."""
    names = [column.name for column in table.columns]
    return {row[0]: dict(zip(names, row, strict=True)) for row in table.rows}


def titled(report: Report, title: str) -> dict[Any, dict[str, Any]]:
    parts = (*report.breakdowns, *report.quality, *report.performance, *report.politeness, *report.names)
    return rows_of(next(table for table in parts if table.title == title))


async def fill(world: World) -> dict[str, Any]:
    """The demo portal on its first two days, and a paper on the second. What a count by hand expects of the second."""
    expected: dict[str, Any] = {}
    await world.sql("DELETE FROM reporter.due")
    for city, title in CITIES.items():
        first, second = homes(city, 1), homes(city, 2)
        same = {path for path in first if path in second and first[path].data == second[path].data}
        gone = sorted(set(first) - set(second))
        await world.run(f"demo-{city}", MONDAY, pages=first, new=len(first))
        new = {path: record for path, record in second.items() if path not in first}
        changed = {path: record for path, record in second.items() if path in first and path not in same}
        await world.run(
            f"demo-{city}", TUESDAY, pages=second, gone=gone, new=len(new), changed=len(changed), gone_items=len(gone)
        )
        expected[title] = {
            "records": len(second),
            "new": len(new),
            "changed": len(changed),
            "gone": len(gone),
            "moves": [
                (
                    first[path].data["debt_free_price"] or first[path].data["price"],
                    second[path].data["debt_free_price"] or second[path].data["price"],
                )
                for path in changed
            ],
            "second": [record.data for record in second.values()],
        }
    await world.run("paper", TUESDAY, issue(), accounting=issue_rows(), new=1)
    return expected


@dataclass(frozen=True)
class Days:
    """Two days, of which every test has a copy."""

    world: World
    expected: dict[str, Any]


@pytest.fixture(scope="module")
def filled(migrated_databases: Databases) -> Iterator[tuple[str, dict[str, Any]]]:
    name = migrated_databases.create(*SPECS)
    expected: dict[str, Any] = {}

    async def fill_it() -> None:
        world = await open_world(migrated_databases.url_of(name))
        expected.update(await fill(world))
        await world.engine.dispose()

    run(fill_it())
    yield name, expected
    migrated_databases.drop(name)


@pytest.fixture
async def days(filled: tuple[str, dict[str, Any]], migrated_databases: Databases) -> AsyncIterator[Days]:
    copied = migrated_databases.copy_of(filled[0])
    world = await open_world(migrated_databases.url_of(copied))
    yield Days(world, filled[1])
    await world.engine.dispose()
    migrated_databases.drop(copied)


def per_m2(several: list[Mapping[str, Any]], kind: str) -> float:
    return median(
        (one["debt_free_price"] or one["price"]) / one["size_m2"]
        for one in several
        if one["price_kind"] == kind and one["price"] and one["size_m2"]
    )


async def test_figures_of_listings_are_those_of_what_the_portal_says(days: Days) -> None:
    world, expected = days.world, days.expected
    made = await report(world)
    by_city = titled(made, "Property listings by city")
    for title, said in expected.items():
        row = by_city[title]
        assert {name: row[name] for name in ("records", "new", "changed", "gone")} == {
            name: said[name] for name in ("records", "new", "changed", "gone")
        }
        currency = "eur" if title == "Helsinki" else "chf"
        assert row[f"price_per_m2_{currency}"] == pytest.approx(per_m2(said["second"], "sale"), abs=1e-5)
        assert row[f"rent_per_m2_{currency}"] == pytest.approx(per_m2(said["second"], "rent"), abs=1e-5)
        assert row["size_m2"] == pytest.approx(median(one["size_m2"] for one in said["second"] if one["size_m2"]))
        priced = [one["price"] is not None for one in said["second"]]
        assert row["priced"] == pytest.approx(sum(priced) / len(priced), abs=1e-6)
    moved = titled(made, "Property listings: price moved")
    for title, said in expected.items():
        ups = [(was, now) for was, now in said["moves"] if now > was]
        downs = [(was, now) for was, now in said["moves"] if now < was]
        row = moved.get(title, {"rose": 0, "fell": 0})
        assert (row["rose"], row["fell"]) == (len(ups), len(downs))
        if ups or downs:
            change = median(now / was - 1 for was, now in said["moves"] if now != was)
            assert row["median_change"] == pytest.approx(change, abs=1e-6)


async def test_figures_of_the_paper_are_those_of_its_records(days: Days) -> None:
    world = days.world
    made = await report(world)
    matches = [one for one in issue() if one.dataset == "football.match"]
    markets = [one for one in issue() if one.dataset == "football.market"]
    leagues = {one.key: one.data["league"] for one in matches}
    by_league = titled(made, "Football matches of the betting offer by league")
    coverage = titled(made, "Odds of football matches, one record per printed row by league")
    for league in set(leagues.values()):
        here = [one for one in matches if one.data["league"] == league]
        assert by_league[league]["records"] == by_league[league]["new"] == len(here)
        rows = [one for one in markets if one.parent and leagues[one.parent[1]] == league]
        told = coverage[league]
        assert told["records"] == len(rows)
        assert told["matches"] == len({one.parent for one in rows})
        assert told["markets_per_match"] == pytest.approx(len(rows) / len({one.parent for one in rows}), abs=1e-6)
        assert told["kinds"] == len({one.data["key"] for one in rows})
        margins = [
            sum(1 / price for price in one.data["odds"].values()) - 1
            for one in rows
            if one.data["key"] == "match_result" and one.data["period"] == "FT" and len(one.data["cols"]) == 3
        ]
        assert told["overround"] == (pytest.approx(sum(margins) / len(margins), abs=2e-6) if margins else None)
    sure = await world.sql("SELECT raw, scope, name, confidence FROM converter.names")
    names = {(row.scope, row.raw): row for row in sure}
    table = next(one for one in made.names if one.title.endswith("home team"))
    assert {(row[0], row[1]) for row in table.rows} == {(one.data["league"], one.data["home"]) for one in matches}
    for scope, printed, name, _, confidence, _ in table.rows:
        known = names[scope, printed]
        assert (name, confidence) == (known.name, pytest.approx(known.confidence, abs=1e-6))


async def test_what_an_export_would_leave_out_is_counted_by_its_own_function(days: Days) -> None:
    made = await report(days.world)
    expected: dict[str, Counter[str]] = {}
    for match in (one for one in issue() if one.dataset == "football.match"):
        rows = [one.data for one in issue() if one.parent == ("football.match", match.key)]
        capped = cap_markets({"markets": [{**row, "market_text": row["text"]} for row in rows]}, 10)
        found = expected.setdefault(match.data["league"], Counter())
        found += Counter(matches=1, rows=len(rows), kept=len(capped["markets"]))
        found["left_out"] += len(capped["excluded_markets"])
    told = titled(made, "Capped at 10 additional markets, by league")
    assert {
        league: {name: row[name] for name in ("matches", "rows", "kept", "left_out")} for league, row in told.items()
    } == {
        league: {name: counts[name] for name in ("matches", "rows", "kept", "left_out")}
        for league, counts in expected.items()
    }
    assert sum(row["left_out"] for row in told.values()) > 0
    by_market = titled(made, "Capped at 10 additional markets, by market")
    assert sum(row["left_out"] for row in by_market.values()) == sum(row["left_out"] for row in told.values())


async def test_rows_of_documents_add_up_duplicates_among_them(days: Days) -> None:
    made = await report(days.world)
    table = next(one for one in made.quality if one.title == "Rows of documents")
    told = {kind: rows for source, kind, rows in table.rows if source == "paper"}
    rows = issue_rows()
    ignored: Counter[str] = sum((Counter(page.ignored) for page in rows), Counter())
    assert told["seen"] == sum(page.seen for page in rows)
    assert told["accepted"] == sum(page.accepted for page in rows)
    assert {kind[9:].replace(" ", "_"): n for kind, n in told.items() if kind.startswith("ignored: ")} == dict(ignored)
    assert told["seen"] == told["accepted"] + told.get("rejected", 0) + sum(ignored.values())


async def test_sums_of_runs_are_those_of_the_ledger(days: Days) -> None:
    world = days.world
    bad = [Rejected("no_price", "there is none", "x", Position(item=n)) for n in range(3)]
    await world.run(
        "demo-helsinki", TUESDAY + timedelta(hours=6), [listing(1)], rejected=bad, failed=2, state="partial"
    )
    await world.sql(
        "INSERT INTO scheduler.run_items (run, item, rank, at, outcome, reason, detail, name, sha256, planned,"
        " corrected, requests, bytes, cpu_seconds, peak_memory_bytes) SELECT 'demo-helsinki-20260303T120000', 'i' || n,"
        " 3, now(), 'failed', 'timeout', 'too slow', 'page ' || n, '', true, false, 1, 0, 0, 0"
        " FROM generate_series(1, 2) n"
    )
    made = await report(world)
    ledger = await world.sql(
        "SELECT source, count(*), sum(new), sum(changed), sum(failed), sum(requests), sum(bytes), sum(cpu_seconds),"
        " max(peak_memory_bytes), sum(extract(epoch FROM finished_at - requested_at))"
        " FROM scheduler.runs WHERE slot::date = '2026-03-03' GROUP BY source ORDER BY source"
    )
    told = [
        (
            one.source,
            one.runs,
            one.new,
            one.changed,
            one.failed,
            one.requests,
            one.bytes,
            one.cpu_seconds,
            one.peak_memory_bytes,
            one.duration_seconds,
        )
        for one in made.changes
    ]
    assert told == [tuple(float(v) if not isinstance(v, (str, int)) else v for v in row) for row in ledger]
    assert [one.state for one in made.changes] == ["partial", "complete", "complete"]
    (error,) = made.errors
    assert (error.source, error.failure, error.count) == ("demo-helsinki", "timeout", 2)
    assert error.example == "page 1: too slow" and "politeness.rate" in error.remedy
    assert made.trust.rejected == await world.scalar("SELECT count(*) FROM converter.rejected") == 3
    rejected = next(table for table in made.quality if table.title == "Rows that could not become records")
    assert rejected.rows == (("demo-helsinki", "no_price", 3, "x"),)
    stored = await world.sql(
        "SELECT d.converter, d.converter_version, sum(b.new + b.changed + b.unchanged + b.history)"
        " FROM converter.batches b JOIN converter.documents d ON d.id = b.document"
        " WHERE d.run LIKE '%-20260303%' AND d.converter <> 'gone'"
        " GROUP BY 1, 2"
    )
    assert [(one.converter, one.version, one.records) for one in made.trust.converter_versions] == [
        tuple(row) for row in stored
    ]
    assert not made.complete and made.missing[0].source == "demo-helsinki"
    assert made.trust.verdict == "doubtful"
    assert made.summary.startswith("3 sources in 4 runs: ")


async def test_what_was_asked_of_hosts_and_what_checks_said_is_that_of_every_service(world: World) -> None:
    event = await world.run("demo", TUESDAY, [listing(1)], new=1)
    hosts = (("scraper", "a.example", 7), ("downloader", "b.example", 5), ("scraper", "c.example", 1))
    for schema, host, requests in hosts:
        await world.sql(
            f"INSERT INTO {schema}.requests (source, host, day, requests, bytes, not_modified, bytes_saved)"
            " VALUES ('demo', :host, '2026-03-03', :n, 100, 2, 1000), ('demo', :host, '2026-03-02', 99, 0, 0, 0)",
            host=host,
            n=requests,
        )
    for schema, severity in (("scraper", "block"), ("converter", "warn")):
        await world.sql(
            f"INSERT INTO {schema}.check_results (run, name, source, severity, passed, message)"
            " VALUES (:run, :name, 'demo', :severity, false, 'too few'), (:run, 'fine', 'demo', 'block', true, '')",
            run=event.run,
            name=f"count_{schema}",
            severity=severity,
        )
    made = await report(world)
    (asked,) = made.politeness
    assert [row[:4] for row in asked.rows] == [
        ("demo", "a.example", 7, 100),
        ("demo", "b.example", 5, 100),
        ("demo", "c.example", 1, 100),
    ]
    assert made.changes[0].bytes_saved == 3000
    checks = next(table for table in made.quality if table.title == "Checks that did not pass")
    assert [row[:4] for row in checks.rows] == [
        ("demo", "count_converter", "warn", 1),
        ("demo", "count_scraper", "block", 1),
    ]
    assert made.trust.verdict == "untrusted"
    assert "demo did not pass count_scraper: too few." in made.trust.reasons


async def test_a_run_tells_what_it_asked_of_hosts_itself(world: World) -> None:
    event = await world.run("demo", TUESDAY, [listing(1)], new=1, requests=9)
    job = (
        "INSERT INTO scraper.jobs (run, item, source, kind, decision, url, host, state, priority, place, due_at,"
        " requests, bytes_received) VALUES (:run, :item, 'demo', 'target', '', '', :host, 'done', 1, 1, now(), :n, 50)"
    )
    for of, item, host, n in (
        (event.run, "a1", "a.example", 3),
        (event.run, "a2", "a.example", 1),
        (event.run, "b1", "b.example", 2),
        ("another", "a1", "a.example", 99),
    ):
        await world.sql(job, run=of, item=item, host=host, n=n)
    await world.sql(
        "INSERT INTO scraper.pages (source, run, item, kind, url, status, state, fetched_at)"
        " SELECT 'demo', :run, item, 'target', '', status, 'ok', now()"
        " FROM (VALUES ('a1', 304), ('a2', 200), ('b1', 304)) AS came (item, status)",
        run=event.run,
    )
    await world.sql(
        "INSERT INTO scraper.targets (source, item, identity, url, host, path, name, first_seen_at, seen_at, seen_run,"
        " seen_search) VALUES ('demo', 't', 't', '', 'b.example', '', '', now(), now(), '', 1)"
    )
    await world.sql(
        "INSERT INTO scraper.decisions (run, target, source, decision, decided_at)"
        " SELECT :run, id, 'demo', 'robots', now() FROM scraper.targets",
        run=event.run,
    )
    await world.sql("INSERT INTO downloader.resources (source, item, url, name) VALUES ('demo', 'f', '', '')")
    await world.sql(
        "INSERT INTO downloader.jobs (run, item, source, url, name, host, state, priority, due_at, requests,"
        " bytes_received) VALUES (:run, 'f', 'demo', '', '', 'c.example', 'done', 1, now(), 3, 7)",
        run=event.run,
    )
    await world.sql(
        "INSERT INTO scheduler.run_items (run, item, rank, at, outcome, reason, detail, name, sha256, planned,"
        " corrected, requests, bytes, cpu_seconds, peak_memory_bytes)"
        " VALUES (:run, 'f', 3, now(), 'failed', 'robots', '', '', '', true, false, 0, 0, 0, 0)",
        run=event.run,
    )
    (asked,) = (await report(world, event.run, "run")).politeness
    assert [column.name for column in asked.columns][2:] == ["requests", "bytes", "not_modified", "robots_denials"]
    assert asked.rows == (
        ("demo", "a.example", 4, 100, 1, 0),
        ("demo", "b.example", 2, 50, 1, 1),
        ("demo", "c.example", 3, 7, None, 1),
    )
    assert not (await report(world)).politeness  # The day is told by the ledgers, which are empty here.


async def test_the_same_inputs_are_the_same_bytes_and_past_days_stay_as_they_were(days: Days) -> None:
    world = days.world
    monday, tuesday = await report(world, "2026-03-02"), await report(world)
    assert (await report(world)).canonical_json() == tuesday.canonical_json()
    await world.run("demo-helsinki", TUESDAY + timedelta(days=1), pages=homes("helsinki", 3), changed=5)
    assert (await report(world)).canonical_json() == tuesday.canonical_json()
    assert (await report(world, "2026-03-02")).canonical_json() == monday.canonical_json()
    assert Report.from_json(tuesday.canonical_json()) == tuesday


async def test_a_late_run_makes_a_further_edition_that_names_what_differs(days: Days) -> None:
    world = days.world
    before = await report(world)
    assert next_edition(before, await report(world)) is None
    late = TUESDAY + timedelta(hours=10)
    await world.run("demo-helsinki", late, [listing(900_001), listing(900_002)], new=2)
    now = next_edition(before, await report(world))
    assert now is not None and now.edition == 2
    found = {(one.where, one.name): (one.before, one.after) for one in now.corrections}
    was = next(one.new for one in before.changes if one.source == "demo-helsinki")
    assert found["Changes", "demo-helsinki: new"] == (was, was + 2)
    assert found["Changes", "demo-helsinki: runs"] == (1, 2)
    cities = [titled(one, "Property listings by city")["Helsinki"]["records"] for one in (before, now)]
    assert found["Property listings by city", "Helsinki: Records"] == tuple(cities)


async def test_what_was_converted_again_counts_as_it_counts_now(world: World) -> None:
    event = await world.run("demo", TUESDAY, [listing(1, price=1000), listing(2, price=3000)], new=2)
    before = await report(world)
    await world.reconvert(event.run, [listing(1, price=2000), listing(2, price=3000)], TUESDAY)
    made = next_edition(before, await report(world))
    assert made is not None
    told = titled(made, "Property listings by source")["demo"]
    assert (told["records"], told["new"], told["changed"]) == (2, 2, 0)
    assert (told["price_per_m2_eur"], made.trust.rejected) == (50.0, 0)
    assert [(one.version, one.records) for one in made.trust.converter_versions] == [("2", 2)]


async def test_a_report_on_a_run_tells_of_this_run_alone(days: Days) -> None:
    world, expected = days.world, days.expected
    made = await report(world, "demo-vaduz-20260303T060000", "run")
    assert [one.source for one in made.changes] == ["demo-vaduz"]
    by_city = titled(made, "Property listings by city")
    assert list(by_city) == ["Vaduz"]
    assert by_city["Vaduz"]["new"] == expected["Vaduz"]["new"]
    assert made.summary.startswith("demo-vaduz: ") and made.complete


async def test_what_nobody_knows_is_said(world: World) -> None:
    with pytest.raises(NothingToReport, match="no run 'x'"):
        await report(world, "x", "run")
    made = await report(world, "2026-03-01")
    assert made.summary == "Nothing ran." and made.changes == () and made.breakdowns == ()


async def test_facts_are_gathered_where_nothing_can_be_written(world: World) -> None:
    async with open_snapshot(world.engine) as connection:
        with pytest.raises(DBAPIError, match="read-only transaction"):
            await connection.execute(text("DELETE FROM reporter.measures"))


async def test_a_hint_that_postgres_refuses_costs_its_own_dataset_alone(days: Days) -> None:
    world = days.world
    good = gathering(world)
    broken = [
        replace(
            one,
            dataset=replace(
                one.dataset,
                report=replace(
                    one.dataset.report, figures=(replace(one.dataset.report.figures[0], sql="1 / 'x'::integer"),)
                ),
            ),
        )
        if one.name == "listings.listing"
        else one
        for one in good.datasets
    ]
    facts = await replace(good, datasets=broken).facts(world.engine, "day", "2026-03-03")
    made = tell(facts, world.reporting.known)
    assert not any("Property" in table.title for table in made.breakdowns)
    assert any("Football" in table.title for table in made.breakdowns)
