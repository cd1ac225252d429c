"""Whether what was found in a document may be taken for an issue of the offer."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import pairwise

from tidemill.football.container import Container
from tidemill.football.legibility import is_language
from tidemill.football.pages import Page, State
from tidemill.football.rows import Row
from tidemill.plugin import Outcome, Refusal

_LOST = {
    State.LOST: "missing or broken",
    State.PICTURE: "a picture, or without text that shows",
    State.UNREADABLE: "set in fonts that do not tell their letters",
    State.BLANK: "blank",
}


def check_rows(pages: Sequence[Page], container: Container) -> None:
    """Refuse a document in which no page holds rows, saying what it is instead, or most of which is not language."""
    offer = [page for page in pages if page.has_rows]
    if not offer:
        raise _without_rows({page.state for page in pages}, container)
    rows = (item for page in offer for item in page.items if isinstance(item, Row))
    texts = " ".join(dict.fromkeys(f"{row.event} {row.market}" for row in rows))
    unreadable = sum(page.state is State.UNREADABLE for page in pages)
    if unreadable >= len(offer) or not is_language(texts):
        raise Refusal(
            Outcome.UNREADABLE, "The text cannot be decoded: the fonts give letters no meaning, or a wrong one."
        )


def _without_rows(states: set[State], container: Container) -> Refusal:
    if container.cut_off:
        return Refusal(Outcome.TRUNCATED, "The file is cut off: the pages that are left hold no row of the offer.")
    if State.UNREADABLE in states:
        return Refusal(Outcome.UNREADABLE, "The text cannot be decoded: the fonts do not tell which letters they draw.")
    if State.PICTURE in states:
        return Refusal(Outcome.SCANNED, "No text layer: the pages are pictures (a scan) and would need recognition.")
    if State.LOST in states or not states:
        return Refusal(Outcome.UNREADABLE, "The file's page tree is broken: its pages cannot be read.")
    if State.READ not in states:
        return Refusal(Outcome.UNRECOGNISED, "Not a betting offer: its pages are blank.")
    return Refusal(Outcome.UNRECOGNISED, "Not a betting offer: no issue header, no day heading and no row was found.")


def find_issue(pages: Sequence[Page]) -> tuple[int | None, date | None]:
    """Number and date of the issue. Refuses a document with pages of two issues."""
    issues = Counter(page.imprint.issue for page in pages if page.imprint.issue is not None)
    dated = [page for page in pages if page.imprint.dates and (page.has_rows or page.imprint.issue is not None)]
    days = Counter(day for page in dated for day in page.imprint.dates)
    issue = min(issues, key=lambda number: (-issues[number], number), default=None)
    day = min(days, key=lambda day: (-days[day], day), default=None)
    others = [page for page in dated if day not in page.imprint.dates]
    if len(issues) > 1 or others:
        first = min(page.number for page in pages if page in others or page.imprint.issue not in (None, issue))
        named = sorted(days) if others else sorted(issues)
        raise Refusal(
            Outcome.AMBIGUOUS,
            f"Pages of more than one issue in one file ({', '.join(map(str, named))}; "
            f"page {first} belongs to another than most): split it first.",
        )
    return issue, day


def in_reading_order(pages: Sequence[Page]) -> list[Page]:
    """Pages of the offer by their own numbering (`Ajánlat: 3`), in the places that they take together in the file.

    What a heading says holds over page breaks: read in another order, rows would stand under a foreign one.
    """
    folios = {page.number: min(page.imprint.folios) for page in pages if page.has_rows and page.imprint.folios}
    if len(set(folios.values())) < len(folios):  # Printed twice: nothing tells which page follows which.
        return list(pages)
    numbered = [page for page in pages if page.number in folios]
    ordered = iter(sorted(numbered, key=lambda page: folios[page.number]))
    return [next(ordered) if page.number in folios else page for page in pages]


def find_suspects(pages: Sequence[Page], container: Container) -> list[Page]:
    """Pages that may have held rows and could not be read."""
    unread = {*_LOST} if container.objects_lost else {*_LOST} - {State.BLANK}
    return [page for page in pages if page.state in unread and not _is_beside_the_offer(page, pages)]


def find_losses(pages: Sequence[Page], container: Container) -> list[str]:
    """What is known to be missing, as sentences; empty for a whole issue."""
    losses = ["The file is cut off before the end of its last object."] if container.objects_lost else []
    suspects = find_suspects(pages, container)
    for state in dict.fromkeys(page.state for page in suspects):
        lost = numbers(page.number for page in suspects if page.state is state)
        losses.append(f"Page {lost} of {len(pages)}: {_LOST[state]}.")
    folios = sorted({folio for page in pages if page.has_rows for folio in page.imprint.folios})
    gaps = [folio for low, high in pairwise(folios) for folio in range(low + 1, high)]
    if gaps and not suspects:
        losses.append(f"Offer page {numbers(gaps)} is not in the file.")
    return losses


def _is_beside_the_offer(page: Page, pages: Sequence[Page]) -> bool:
    """Whether a page that cannot be read held no rows: by the numbering of those that do (`Ajánlat: 3`)."""
    offer = [other for other in pages if other.has_rows]
    folios = [folio for other in offer for folio in sorted(other.imprint.folios)]
    if folios != list(range(1, len(folios) + 1)) or not all(other.imprint.folios for other in offer):
        return False
    last = offer[-1].number
    followed = any(other.number == last + 1 and other.state is State.READ for other in pages)
    return page.number < last or followed


def numbers(pages: Iterable[int]) -> str:
    """`2, 5 to 7`"""
    runs: list[list[int]] = []
    for page in pages:
        if runs and page == runs[-1][-1] + 1:
            runs[-1].append(page)
        else:
            runs.append([page])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)
