"""`tidemill targets` and `runs show --decisions`: what is followed, and what was decided about it."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from sqlalchemy import text
from typer.testing import CliRunner, Result

from tidemill.cli import runs, targets
from tidemill.cli.decisions import summed
from tidemill.cli.named import read_named
from tidemill.common.database import open_engine
from tidemill.common.testing.fixtures import NewDatabase
from tidemill.scheduler.main import SPEC as SCHEDULER
from tidemill.scraper.main import SPEC as SCRAPER

FILLED = (
    """
    INSERT INTO scheduler.runs (run, source, requested_at, state, trigger)
    VALUES ('run-1', 'homes', '2026-07-21', 'partial', 'manual'), ('run-2', 'paper', now(), 'complete', 'manual')
    """,
    """
    INSERT INTO scraper.runs (run, source, trigger, phase, outcome, partial, priority, requested_at, known, seen)
    VALUES ('run-1', 'homes', 'manual', 'closed', 'incomplete', false, 0, '2026-07-21', 4, 3)
    """,
    """
    INSERT INTO scraper.searches (run, search, item, labels, position, pages, seen, found, stop, complete, failure)
    VALUES ('run-1', 0, 'search Espoo~1', '{"city": "Espoo"}', '{}', 1, 1, 9, 'result_cap', false, 'result_cap'),
        ('run-1', 1, 'search Helsinki~2', '{"city": "Helsinki"}', '{}', 1, 2, NULL, 'last_page', true, NULL)
    """,
    """
    INSERT INTO scraper.targets (source, item, identity, url, host, path, name, labels, first_seen_at, seen_at,
        seen_run, seen_search, content_hash, checked_at, failures, failure, gone_at, gone_reason, misses)
    VALUES
        ('homes', 'a', 'a', 'https://x/a', 'x', 'a', 'a', '{"city": "Helsinki"}', now(), now(), '', 0, 'h',
            '2026-07-20 04:05', 0, NULL, NULL, NULL, 0),
        ('homes', 'b', 'b', 'https://x/b', 'x', 'b', 'b', '{"city": "Helsinki"}', now(), now(), '', 0, 'h', now(),
            2, 'blocked', NULL, NULL, 0),
        ('homes', 'c', 'c', 'https://x/c', 'x', 'c', 'c', '{"city": "Espoo"}', now(), now(), '', 0, 'h', now(), 0, NULL,
            now(), 'unlisted', 0),
        ('homes', 'd', 'd', 'https://x/d', 'x', 'd', 'd', '{"city": "Espoo"}', now(), now(), '', 0, 'h', now(), 0, NULL,
            NULL, NULL, 1)
    """,
    """
    INSERT INTO scraper.decisions SELECT 'run-1', id, source, CASE item WHEN 'a' THEN 'stale' WHEN 'b' THEN 'backoff'
        WHEN 'c' THEN 'gone' ELSE 'unseen' END, now() FROM scraper.targets
    """,
    """
    INSERT INTO scraper.jobs (run, item, source, kind, target, decision, url, host, state, priority, place, due_at,
        outcome, failure)
    SELECT 'run-1', item, source, 'target', id, '', url, host, 'done', 0, 0, now(),
        CASE item WHEN 'a' THEN 'unchanged' ELSE 'failed' END, CASE item WHEN 'b' THEN 'blocked' END
    FROM scraper.targets WHERE item IN ('a', 'b')
    """,
)


def run(*arguments: str) -> Result:
    app = typer.Typer()
    for module in (runs, targets):
        module.register(app)
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "300"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def said(*arguments: str) -> Any:
    result = run(*arguments, "-o", "json")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


@pytest.fixture
def filled(new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Iterator[None]:
    url = new_database(SCHEDULER, SCRAPER)

    async def fill() -> None:
        engine = open_engine(url)
        async with engine.begin() as tx:
            for statement in FILLED:
                await tx.execute(text(statement))
        await engine.dispose()

    asyncio.run(fill())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", url)
    yield


def test_decisions_add_up_to_what_is_known_by_label_too(filled: None) -> None:
    scraped = said("runs", "show", "run-1", "--decisions")["scraped"]
    assert scraped["decisions"] == {"backoff": 1, "stale": 1, "gone": 1, "unseen": 1}
    assert sum(scraped["decisions"].values()) == scraped["known"] == 4
    assert scraped["outcomes"] == {"failed: blocked": 1, "unchanged": 1}
    assert scraped["by_label"]["city"]["Espoo"] == {"decisions": {"gone": 1, "unseen": 1}, "outcomes": {}}
    assert [each["item"] for each in scraped["decision_list"]] == ["b", "a", "c", "d"]
    assert [search["failure"] for search in scraped["searches"]] == ["result_cap", ""]


def test_decisions_for_people(filled: None) -> None:
    result = run("runs", "show", "run-1", "--decisions", "--items", "2")
    assert "4 pages known, 3 listed; phase closed" in result.output
    assert "search Espoo~1" in result.output
    assert "failed: blocked" in result.output
    assert "… of 4 pages" in result.output


def test_a_run_that_scrapes_nothing_says_so(filled: None) -> None:
    result = run("runs", "show", "run-2", "--decisions")
    assert result.exit_code == 1
    assert "paper does not scrape" in result.output
    assert "scraped" not in said("runs", "show", "run-2")


def test_targets_are_listed_by_state_and_label(filled: None) -> None:
    found = said("targets", "homes")
    assert found["states"] == {"present": 1, "missing": 1, "failing": 1, "gone": 1}
    assert {target["item"] for target in said("targets", "homes", "--city", "Espoo")["targets"]} == {"c", "d"}
    assert [target["item"] for target in said("targets", "homes", "--state", "gone")["targets"]] == ["c"]
    shown = run("targets", "homes").output
    assert "1 present, 1 missing, 1 failing, 1 gone" in shown
    assert "blocked, 2 runs in a row" in shown
    assert "2026-07-20 04:05" in shown
    assert "… of 4" in run("targets", "homes", "--limit", "1").output
    assert "follows no pages yet" in run("targets", "paper").output


def test_what_is_not_understood_is_named_with_what_would_be(filled: None) -> None:
    assert "searches have --city" in run("targets", "homes", "--country", "FI").output
    assert "states are new, present" in run("targets", "homes", "--state", "away").output
    assert "--city has no value" in run("targets", "homes", "--city").output
    assert "Espoo is not understood" in run("targets", "homes", "Espoo").output


def test_options_that_the_data_names() -> None:
    assert read_named(["--city", "Espoo", "--price-kind=sale"]) == {"city": "Espoo", "price_kind": "sale"}


def test_nothing_decided_sums_to_nothing() -> None:
    assert summed([], ["new"]) == {"decisions": {}, "outcomes": {}, "by_label": {}}
