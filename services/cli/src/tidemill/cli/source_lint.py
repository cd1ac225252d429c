"""What could be better in a source file that is right: pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from tidemill.common.config.units import duration_text

if TYPE_CHECKING:
    from tidemill.common.config.scraping import Scrape
    from tidemill.common.config.sources import SourceFile
    from tidemill.extract import FieldRules, PageRules

FAST = timedelta(milliseconds=500)
"""Requests closer together than this need the leave of the site's owner."""
LOCAL = ("127.", "localhost", "[::1]")
NEED_A_LOCALE = ("money", "area", "decimal", "integer", "date")
FROM_PROGRAMS = ("jsonld", "microdata", "jsonpath", "const", "carried")
"""Kinds of rules whose values are written as programs do."""


@dataclass(frozen=True, slots=True)
class Remark:
    key: str
    text: str


def remarks(source: SourceFile) -> Iterator[Remark]:
    """In the order of the file."""
    if source.scrape is not None:
        yield from _scrape(source.scrape)
    if source.extract is not None:
        yield from _extract(source.extract)
    if source.scrape is not None or source.download is not None:
        yield from _politeness(source)
        if not source.schedules and not source.run.after:
            yield Remark("schedule", "there is none, so runs begin by hand alone")
    if source.convert is None:
        yield Remark("convert", "documents are kept and not converted")


def _scrape(scrape: Scrape) -> Iterator[Remark]:
    search = scrape.search
    if search.found is None and search.paging is not None:
        yield Remark(
            "scrape.search.found",
            "nobody counts the results, so a portal that shows only its first thousand is not noticed",
        )
    if not search.nothing and search.found is None:
        yield Remark("scrape.search.nothing", "a search without results is taken for a failure")
    if search.hint is None:
        yield Remark(
            "scrape.search.hint",
            f"changes are noticed only when a page is stale: after {duration_text(scrape.stale_after)}",
        )
    if scrape.gone.after == 1 and not scrape.gone.probe:
        yield Remark(
            "scrape.gone", "one page that a search leaves out is enough to call a listing gone: probe, or wait"
        )
    if scrape.proxy is not None:
        yield Remark("scrape.proxy", "a proxy hides who asks; see that the site's owner agrees")


def _extract(rules: PageRules) -> Iterator[Remark]:
    if not rules.required:
        yield Remark("extract.fields", "no field is required, so a wall or an empty page counts as a success")
    for name, field in rules.fields.items():
        yield from _field(f"extract.fields.{name}", name, field, rules)


def _field(key: str, name: str, field: FieldRules, rules: PageRules) -> Iterator[Remark]:
    kinds = [rule.kind for rule in field.from_]
    if "xpath" in kinds:
        yield Remark(key, "xpath parses the page a second time; css or label would do it in a tenth of the time")
    printed = [rule for rule in field.from_ if rule.kind not in FROM_PROGRAMS and rule.locale is None]
    if field.type in NEED_A_LOCALE and printed and rules.locale == "auto" and field.locale is None:
        yield Remark(key, f"a {field.type} as people write it needs a locale: without one 1.234 is refused")
    if field.required and kinds == ["css"]:
        yield Remark(
            key, "one selector decides whether the page is a success; add an alternative for the next redesign"
        )
    if any(word in name for word in ("view", "visit", "counter")) and not field.volatile:
        yield Remark(key, "sounds like a counter: with `volatile: true` it makes no new version each day")


def _politeness(source: SourceFile) -> Iterator[Remark]:
    polite = source.politeness
    ours = bool(polite.allow_private)
    if not polite.contact and not ours:
        yield Remark("politeness.contact", "the site's owner cannot reach you")
    if polite.interval < FAST and not ours:
        yield Remark("politeness.rate", f"{polite.rate} is fast for somebody else's server; ask its owner")
    if not polite.obey_robots:
        yield Remark("politeness.obey_robots", "robots.txt is ignored; that needs the owner's leave")
    if not source.licence.name:
        yield Remark("licence", "nobody says under which terms the data is had")
