"""Which alerts are meant: `source=oikotie`, `severity!=info`, `rule=~run_.*`, `host!~.*\\.test`."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

FORM = "write source=oikotie, severity!=info, rule=~run_.* or host!~.*\\.test"
_WRITTEN = re.compile(r"\s*([a-z][a-z0-9_]*)\s*(=~|!~|!=|=)\s*(.*?)\s*")


class InvalidMatcher(ValueError):
    """The sentence says what would be right."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """About one label; a label that an alert has not is empty. `rule` and `severity` are labels of every alert."""

    label: str
    operator: str
    value: str

    @classmethod
    def parse(cls, written: str) -> "Matcher":
        """Raises InvalidMatcher."""
        found = _WRITTEN.fullmatch(written)
        if found is None:
            raise InvalidMatcher(f"{written!r} says of no label what it must be; {FORM}")
        matcher = cls(*found.groups())
        if matcher.operator.endswith("~"):
            try:
                re.compile(matcher.value)
            except re.error as error:
                raise InvalidMatcher(f"{written!r} is no regular expression: {error}") from error
        return matcher

    def holds(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.label, "")
        match self.operator:
            case "=":
                return value == self.value
            case "!=":
                return value != self.value
            case "=~":
                return bool(_pattern(self.value).fullmatch(value))
        return not _pattern(self.value).fullmatch(value)

    def __str__(self) -> str:
        return f"{self.label}{self.operator}{self.value}"


def all_hold(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    return all(matcher.holds(labels) for matcher in matchers)


@lru_cache(maxsize=1000)
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)
