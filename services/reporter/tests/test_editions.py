"""What differs between two editions, figure by figure."""

from datetime import UTC, date, datetime
from typing import Any

import tidemill.scraper.policy as scraping
from tidemill.common.http import errors
from tidemill.plugin import Outcome
from tidemill.reporter.editions import MOST, next_edition
from tidemill.reporter.remedies import OTHERWISE, REMEDIES, remedy
from tidemill.reporter.report import Missing, Report, SourceChanges, Trust
from tidemill.reporter.table import ColumnOf, Table

COLUMNS = (
    ColumnOf(name="city", title="City"),
    ColumnOf(name="records", title="Records", type="integer"),
    ColumnOf(name="price", title="Price", type="decimal", unit="EUR/m²"),
)


def report(made_from: str, rows: tuple[tuple[Any, ...], ...] = (), **given: Any) -> Report:
    return Report(
        **{
            "kind": "day",
            "subject": "2026-03-02",
            "day": date(2026, 3, 2),
            "zone": "UTC",
            "made_from": made_from,
            "summary": "…",
            "complete": True,
            "breakdowns": (Table(title="Homes by city", columns=COLUMNS, rows=rows),) if rows else (),
            "trust": Trust(verdict="trusted"),
            **given,
        }
    )


def told(before: Report, now: Report) -> list[tuple[Any, ...]]:
    made = next_edition(before, now)
    assert made is not None and made.edition == before.edition + 1
    return [(one.where, one.name, one.before, one.after) for one in made.corrections]


def test_the_first_is_kept_and_the_same_again_is_not() -> None:
    first = report("a")
    assert next_edition(None, first) == first
    assert next_edition(first, report("a")) is None


def test_what_follows_a_report_on_a_day_that_was_not_over_corrects_nothing_and_what_follows_that_does() -> None:
    early = report("a", (("Espoo", 3, 1.5),), as_of=datetime(2026, 3, 2, 9, tzinfo=UTC))
    whole = next_edition(early, report("b", (("Espoo", 4, 1.5),)))
    assert whole is not None and (whole.edition, whole.corrected, whole.corrections) == (2, False, ())
    later = next_edition(whole, report("c", (("Espoo", 5, 1.5),)))
    assert later is not None and (later.edition, later.corrected) == (3, True)
    assert [(one.before, one.after) for one in later.corrections] == [(4, 5)]


def test_cells_that_differ_come_and_go_are_named_by_row_and_column() -> None:
    before = report("a", (("Espoo", 3, 1.5), ("Oulu", 1, None)))
    now = report("b", (("Espoo", 4, 1.5), ("Kemi", 2, 2.5)))
    assert told(before, now) == [
        ("Homes by city", "Espoo: Records", 3, 4),
        ("Homes by city", "Kemi: Price", None, 2.5),
        ("Homes by city", "Kemi: Records", None, 2),
        ("Homes by city", "Oulu: Records", 1, None),
    ]
    assert told(before, report("b"))[0] == ("Homes by city", "Espoo: Price", 1.5, None)


def test_sources_trust_and_what_is_missing_are_compared() -> None:
    before = report(
        "a",
        changes=(SourceChanges(source="s", runs=1, state="partial", new=1),),
        missing=(Missing(source="s", why="late"),),
        complete=False,
        trust=Trust(verdict="doubtful", rejected=3),
    )
    now = report(
        "b",
        changes=(SourceChanges(source="s", runs=1, state="complete", new=2),),
        missing=(Missing(source="t", why="paused"),),
    )
    assert told(before, now) == [
        ("Changes", "s: new", 1, 2),
        ("Changes", "s: state", "partial", "complete"),
        ("Missing", "s", "late", None),
        ("Missing", "t", None, "paused"),
        ("Trust", "rejected", 3, 0),
        ("Trust", "verdict", "doubtful", "trusted"),
    ]


def test_no_more_corrections_are_listed_than_anybody_reads() -> None:
    before = report("a", tuple((f"City {n}", n, None) for n in range(2 * MOST)))
    assert len(told(before, report("b", tuple((f"City {n}", n + 1, None) for n in range(2 * MOST))))) == MOST


def test_every_failure_that_is_known_has_a_remedy() -> None:
    slugs = {error.slug for error in vars(errors).values() if isinstance(error, type) and hasattr(error, "slug")}
    slugs |= {outcome.value for outcome in Outcome} - {"converted"}
    slugs |= set(scraping.OF_THE_HOST)
    assert slugs - set(REMEDIES) == set()
    assert remedy("something new") == OTHERWISE
