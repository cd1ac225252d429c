"""From printed rows to matches and markets: the offer's grammar."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple

from tidemill.football.dates import match_day
from tidemill.football.fixtures import Appointment, Event, Fixture, parse_event
from tidemill.football.headings import DayHeading, LeagueHeading, names_a_sport, parse_heading
from tidemill.football.markets import OTHER, classify
from tidemill.football.outrights import Outright
from tidemill.football.pages import Page
from tidemill.football.records import market_record, match_record
from tidemill.football.rows import Line, Row
from tidemill.football.spelling import clean, fold
from tidemill.plugin import Accounting, Item, Position, Record, Rejected

_ROUND = re.compile(r"\d\s?\.\s?fordulo|\d+\s?merkozes")
_SPECIAL = "specialis"


class _Unfit(NamedTuple):
    """Why a row cannot become a record."""

    reason: str
    detail: str


class _Ignored(NamedTuple):
    """A row that is rightly no record."""

    kind: str


@dataclass(slots=True)
class _Count:
    seen: int = 0
    accepted: int = 0
    rejected: int = 0
    ignored: Counter[str] = field(default_factory=Counter)


class Offer:
    """Reads rows and headings in reading order; what a heading says holds over page and column breaks."""

    def __init__(self) -> None:
        self._folio: int | None = None
        self._day: date | None = None
        self._heading: LeagueHeading | None = None
        self._current: Fixture | None = None
        self._fixtures: dict[Appointment, Fixture] = {}
        self._outrights: set[str] = set()
        self._unknown_markets: Counter[str] = Counter()
        self._unknown_sports: Counter[str] = Counter()
        self._undated = 0
        self._invisible = 0

    def forget_heading(self) -> None:
        """A page is missing: whatever heading stood on it, the one before no longer holds."""
        self._heading = None
        self._current = None

    def read_page(self, page: Page) -> Iterator[Item]:
        """The records of one page, then its accounting."""
        count = _Count(seen=sum(page.outside.values()), ignored=Counter(page.outside))
        self._invisible += page.outside.get("invisible", 0)
        if self._follows_a_gap(page):
            self.forget_heading()
        for item in page.items:
            if isinstance(item, Line):
                self._read_heading(item)
                continue
            count.seen += 1
            read = self._read_row(page.number, item)
            if isinstance(read, _Ignored):
                count.ignored[read.kind] += 1
            elif isinstance(read, _Unfit):
                count.rejected += 1
                yield Rejected(read.reason, read.detail, item.raw, Position(page.number, item.box))
            else:
                count.accepted += 1
                yield from read
        for outright in page.outrights:
            yield from self._read_outright(page.number, outright, count)
        yield Accounting(page.number, count.seen, count.accepted, count.rejected, dict(sorted(count.ignored.items())))

    def warnings(self) -> Iterator[str]:
        """What a person should know about the rows so far."""
        if self._undated:
            yield f"{self._undated} matches stand under no day heading: they have no date."
        if self._unknown_markets:
            texts = ", ".join(repr(text) for text, _ in self._unknown_markets.most_common(5))
            yield f"{self._unknown_markets.total()} rows ask something that is not in the taxonomy: {texts}."
        if self._unknown_sports:
            sports = ", ".join(repr(sport) for sport, _ in self._unknown_sports.most_common(5))
            yield f"{self._unknown_sports.total()} rows stand under sports that nobody has seen so far: {sports}."
        if self._invisible:
            yield f"{self._invisible} rows are drawn so that nobody sees them: left out."

    def _follows_a_gap(self, page: Page) -> bool:
        """Whether the page before, by the numbering of the offer's pages, is not in the file."""
        last, folios = self._folio, page.imprint.folios
        self._folio = max(folios, default=last)
        return last is not None and bool(folios) and not folios & {last, last + 1}

    def _read_outright(self, page: int, outright: Outright, count: _Count) -> Iterator[Record]:
        count.seen += len(outright.outcomes)
        if not outright.is_football:
            count.ignored["other_sport"] += len(outright.outcomes)
            return
        for record in outright.records(page):
            if record.key in self._outrights:
                count.ignored["duplicate"] += 1
            else:
                count.accepted += 1
                self._outrights.add(record.key)
                yield record

    def _read_heading(self, line: Line) -> None:
        heading = parse_heading(line.text)
        if heading:
            self._current = None
        if isinstance(heading, DayHeading):
            self._day = heading.day
        elif heading:
            self._heading = heading

    def _read_row(self, page: int, row: Row) -> list[Record] | _Unfit | _Ignored:
        if ignored := self._ignored(row):
            return ignored
        if unfit := _unfit(row):
            return unfit
        if self._heading is None:
            return _Unfit("no_league", "no heading names the sport and league of this row")
        event, market_text = self._resolve(row)
        if event is None:
            return _Unfit("no_teams", f"{row.event!r} does not name two teams")
        return self._read_market(page, row, event, market_text, self._heading.league)

    def _ignored(self, row: Row) -> _Ignored | None:
        if row.boxed:
            return _Ignored("szuper_odds")
        if self._heading and not self._heading.is_football:
            if not names_a_sport(self._heading.sport):
                self._unknown_sports[self._heading.sport] += 1
            return _Ignored("other_sport")
        if parse_event(row.event) is None and self._is_special(row):
            return _Ignored("special")
        return None

    def _is_special(self, row: Row) -> bool:
        """A bet on a whole round names no pair of teams."""
        league = fold(self._heading.league) if self._heading else ""
        return _SPECIAL in league or bool(_ROUND.search(fold(row.event)))

    def _resolve(self, row: Row) -> tuple[Event | None, str]:
        """Event and market of a row; where no gap tells them apart, the event of the row before does."""
        event, market = clean(row.event), clean(row.market)
        if self._current and bool(event) != bool(market):
            known = "-".join(self._current.event.identity).replace(" ", "")
            rest = _without(event or market, known)
            if rest and (rest == clean(row.overrun) or classify(rest).key != OTHER):
                return self._current.event, rest
            # Where an event is printed in its main row alone, nothing shows which cell the text of the next one is in.
            if classify(event or market).key != OTHER or (market and parse_event(market) is None):
                return self._current.event, event or market
        return parse_event(event), market

    def _read_market(
        self, page: int, row: Row, event: Event, text: str, league: str
    ) -> list[Record] | _Unfit | _Ignored:
        day = match_day(self._day, row.day) if self._day else None
        appointment = Appointment(event.identity, day, row.time)
        fixture, records = self._fixtures.get(appointment), []
        if fixture and not text and fixture.league != league and not fixture.has_serial(row.serial):
            fixture = None  # The women of two clubs may play while the men do: the league alone tells.
        position = Position(page, row.box)
        if fixture is None:
            if text:
                return _Unfit("no_main_row", f"no row before this one opens {event.home} - {event.away}")
            fixture = Fixture(":".join((row.serial, *event.identity)), event, league)
            self._fixtures[appointment] = fixture
            records.append(match_record(fixture, row, day, league, position))
            self._undated += day is None
        self._current = fixture
        market = classify(text)
        key = fixture.add_row(market, text, row.serial, row.kim, row.prices)
        if not isinstance(key, str):
            same = key == row.prices
            return _Ignored("duplicate") if same else _Unfit("contradiction", "printed before with other prices")
        if market.key == OTHER:
            self._unknown_markets[text] += 1
        records.append(market_record(fixture, key, market, text, row, position))
        return records


def _without(text: str, event: str) -> str:
    """What is left of a text that begins or ends with an event (folded, without blanks)."""
    folded = fold(text).replace(" ", "")
    if len(folded) <= len(event) or not (folded.startswith(event) or folded.endswith(event)):
        return ""
    places = [place for place, character in enumerate(text) for _ in fold(character)]
    return text[places[len(event)] :] if folded.startswith(event) else text[: places[-len(event)]].strip()


def _unfit(row: Row) -> _Unfit | None:
    if not row.serial:
        return _Unfit("no_serial", "a row of the offer without its serial")
    if not row.time:
        return _Unfit("no_time", "a row of the offer without its time")
    hour, minute = map(int, row.time.split(":"))
    if hour > 23 or minute > 59:
        return _Unfit("bad_time", f"{row.time} is no time of day")
    if not row.prices:
        return _Unfit("no_price", "a row of the offer without a price")
    low = [price.value for price in row.prices if price.value < 1]
    if low:
        return _Unfit("bad_price", f"{low[0]} is no price: it is below 1")
    return None
