"""The betting offer of the Szerencsemix paper, from its PDF."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, time
from typing import ClassVar

from tidemill.football.container import examine
from tidemill.football.datasets import MARKET_NAME, MATCH_NAME, OUTRIGHT_NAME
from tidemill.football.dates import BUDAPEST
from tidemill.football.offer import Offer
from tidemill.football.pages import Page, PageReader
from tidemill.football.pdf import open_pdf
from tidemill.football.verdict import check_rows, find_issue, find_losses, find_suspects, in_reading_order
from tidemill.plugin import (
    API_VERSION,
    Described,
    Document,
    Item,
    Options,
    Outcome,
    Progress,
    Record,
    Refusal,
    Rejected,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a document may be at most; checked before any page is read."""

    max_pages: int = 200
    max_megabytes: int = 64
    max_inflated_megabytes: int = 32
    """Of one stream of the file (pictures excepted, which are not unpacked)."""


class SzerencsemixConverter:
    """Reads an issue into matches, their odds, and long-term bets."""

    name: ClassVar[str] = "szerencsemix"
    version: ClassVar[str] = "1"
    api_version: ClassVar[int] = API_VERSION
    datasets: ClassVar[tuple[str, ...]] = (MATCH_NAME, MARKET_NAME, OUTRIGHT_NAME)

    def options_error(self, options: Options) -> str | None:
        known = [limit.name for limit in fields(Limits)]
        for key, value in options.items():
            if key not in known:
                return f"{key!r} is not an option of this converter; it knows {', '.join(known)}."
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                return f"{key} is {value!r}; a whole number of 1 or more is needed."
        return None

    def convert(self, document: Document, options: Options) -> Iterator[Item]:
        limits = Limits(**options)
        container = examine(_content(document, limits), limits.max_inflated_megabytes << 20)
        pages: list[Page] = []
        with open_pdf(container, limits.max_pages) as pdf:
            for warning in (*container.warnings, *pdf.warnings):
                yield Progress(0, pdf.pages, warning)
            reader = PageReader(pdf.handle)
            for number in range(1, pdf.pages + 1):
                pages.append(reader.read(number))
                yield Progress(number, pdf.pages)
        check_rows(pages, container)
        issue, day = find_issue(pages)
        yield _described(issue, day, len(pages))
        ordered = in_reading_order(pages)
        if ordered != pages:
            yield Progress(len(pages), len(pages), "The pages of the offer are out of order: read by their numbers.")
        yield from _records(ordered, find_suspects(pages, container))
        losses = find_losses(pages, container)
        if losses:
            raise Refusal(Outcome.INCOMPLETE, " ".join(losses))


def _content(document: Document, limits: Limits) -> bytes:
    if document.size_bytes > limits.max_megabytes << 20:
        raise Refusal(
            Outcome.TOO_LARGE, f"The file has {document.size_bytes >> 20} MiB; the limit is {limits.max_megabytes}."
        )
    return document.content.read()


def _described(issue: int | None, day: date | None, pages: int) -> Described:
    return Described(
        valid_from=datetime.combine(day, time.min, BUDAPEST) if day else None,
        pages=pages,
        title=" ".join(["Szerencsemix", *(str(part) for part in (issue, day) if part)]),
        attributes={"issue": issue, "issue_date": day.isoformat() if day else None},
    )


def _records(pages: Sequence[Page], suspects: Sequence[Page]) -> Iterator[Item]:
    """The items of all pages, and what a person should know. Refuses an offer of which no match could be read."""
    offer = Offer()
    items: list[Item] = []
    for page in pages:
        if page in suspects:
            offer.forget_heading()
        items.extend(offer.read_page(page))
    matches = sum(isinstance(item, Record) and item.dataset == MATCH_NAME for item in items)
    rejected = sum(isinstance(item, Rejected) for item in items)
    if not matches or rejected > sum(isinstance(item, Record) for item in items):
        raise Refusal(
            Outcome.UNRECOGNISED,
            f"Rows of an offer, in a layout that is not understood: {matches} matches, {rejected} rows rejected.",
        )
    yield from items
    yield from (Progress(len(pages), len(pages), warning) for warning in offer.warnings())
