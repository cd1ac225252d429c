"""Names of sheets, by Excel's rules."""

import re
from collections.abc import Sequence

from tidemill.reporter.renderings.visible import visible

LONGEST = 31
END = 16
"""Of a title that is too long its last words are kept, too: they tell `… by city` from `… by source`."""
FORBIDDEN = re.compile(r"[\[\]:*?/\\]")


def sheet_names(titles: Sequence[str]) -> list[str]:
    """One for each title, in order: at most 31 characters, none twice whatever the case, none of the forbidden ones."""
    names: list[str] = []
    taken = {"history"}  # Excel keeps it for itself.
    for title in titles:
        base = " ".join(FORBIDDEN.sub(" ", visible(title)).split()).strip("' ") or "Table"
        name, number = _shortened(base, ""), 1
        while name.lower() in taken:
            number += 1
            name = _shortened(base, f" {number}")
        taken.add(name.lower())
        names.append(name)
    return names


def _shortened(title: str, number: str) -> str:
    if len(title + number) <= LONGEST:
        return _cut(title, number)
    end = ""
    for word in reversed(title.split()):
        if len(word) + len(end) >= END:
            break
        end = f" {word}{end}"
    return _cut(title, f"…{end}{number}")


def _cut(base: str, end: str) -> str:
    """Excel counts UTF-16 units, so an emoji twice."""
    kept = base
    while len((kept + end).encode("utf-16-le")) > 2 * LONGEST:
        kept = kept[:-1]
    return kept.rstrip("' ") + end
