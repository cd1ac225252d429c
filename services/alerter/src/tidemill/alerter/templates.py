"""Sentences with `{names}` in them, filled from what is known of an alert."""

import re
from collections.abc import Collection, Mapping

_NAME = re.compile(r"\{([a-z][a-z0-9_]*)\}")
_BRACE = re.compile(r"[{}]")

OF_ALERT = ("rule", "severity", "value", "count", "says", "run")
"""Names that every alert has, beside its labels."""


def filled(template: str, known: Mapping[str, str]) -> str:
    """A name that is not known becomes nothing: a message with a gap is better than none."""
    return " ".join(_NAME.sub(lambda found: known.get(found[1], ""), template).split())


def mistake(template: str, names: Collection[str]) -> str:
    """What is wrong with the template, as a sentence; empty where nothing is."""
    if left := _BRACE.search(_NAME.sub("", template)):
        return f"has a {left[0]} that belongs to no name; names are written {{source}}"
    unknown = [name for name in _NAME.findall(template) if name not in names]
    if unknown:
        return f"there is no {{{unknown[0]}}} here; there are {', '.join(sorted(names))}"
    return ""


def number(value: float | None) -> str:
    """As people read it: 5, 0.25, 12,000."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
