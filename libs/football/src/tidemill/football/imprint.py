"""What a page says about the issue that it belongs to."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from tidemill.football.dates import find_date, parse_issue_number
from tidemill.football.spelling import clean
from tidemill.football.words import Word, phrases_of, text_of

_MASTHEAD = re.compile(r"20\d\d\b|ajánlat|évfolyam", re.IGNORECASE)
"""Words of the phrases that say which issue a page belongs to."""
_MASTHEAD_INITIALS = frozenset("2aéAÉ")
_FOLIO = re.compile(r"Ajánlat:? ?(\d{1,3})", re.IGNORECASE)
_ISSUE_DATE = re.compile(r"(?:\d{1,3} )?\d{4}\. ?\w+ \d{1,2}\.?")


@dataclass(slots=True)
class Imprint:
    """Issue dates, the number of the issue, and those of the page within the offer: two of a double page."""

    dates: set[date] = field(default_factory=set)
    issue: int | None = None
    """`XXIV. évfolyam 51. szám`"""
    folios: set[int] = field(default_factory=set)
    """`Ajánlat: 3`"""


def read_imprint(lines: Sequence[Sequence[Word]]) -> Imprint:
    """What stands by itself on the lines of a page, and not in a sentence."""
    imprint = Imprint()
    for line in lines:
        if not any(word.text[0] in _MASTHEAD_INITIALS and _MASTHEAD.match(word.text) for word in line):
            continue
        for phrase in phrases_of(line):
            text = clean(text_of(phrase))
            if _ISSUE_DATE.fullmatch(text) and (day := find_date(text)):
                imprint.dates.add(day)
            elif folio := _FOLIO.fullmatch(text):
                imprint.folios.add(int(folio[1]))
            elif number := parse_issue_number(text):
                imprint.issue = number
    return imprint
