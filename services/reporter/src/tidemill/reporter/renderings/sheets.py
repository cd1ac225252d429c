"""Names of sheets, by Excel's rules."""

import re
from collections.abc import Sequence

from tidemill.reporter.renderings.visible import visible

LONGEST = 31
FORBIDDEN = re.compile(r"[\[\]:*?/\\]")


def sheet_names(titles: Sequence[str]) -> list[str]:
    """One for each title, in order: at most 31 characters, none twice whatever the case, none of the forbidden ones."""
    names: list[str] = []
    taken = {"history"}  # Excel keeps it for itself.
    for title in titles:
        base = FORBIDDEN.sub(" ", visible(title)).strip("' ") or "Table"
        name, number = _cut(base, ""), 1
        while name.lower() in taken:
            number += 1
            name = _cut(base, f" {number}")
        taken.add(name.lower())
        names.append(name)
    return names


def _cut(base: str, end: str) -> str:
    """Excel counts UTF-16 units, so an emoji twice."""
    kept = base
    while len((kept + end).encode("utf-16-le")) > 2 * LONGEST:
        kept = kept[:-1]
    return kept.rstrip("' ") + end
