"""What a PromQL query names: metrics with the labels it matches, and labels it groups by. No parser of PromQL: what is
wrong otherwise, promtool and Prometheus say."""

import re
from dataclasses import dataclass

GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
SELECTOR = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)\s*(?P<matchers>\{[^}]*\})?(?P<call>\s*\()?")
SPAN = re.compile(r"\[(?:\d+[smhdwy]|\$)[^\]]*\]")
NUMBER = re.compile(r"(?<![\w:\"\[.])\d[\d.]*(?:e\d+)?[smhdwy]?\b")
MATCHER = re.compile(r"([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)")
WORDS = {"or", "and", "unless", "bool", "offset", "inf", "nan"}


@dataclass(frozen=True)
class Named:
    """A metric in a query."""

    metric: str
    labels: frozenset[str]
    """That it is matched by."""
    text: str


def metrics_in(query: str) -> list[Named]:
    bare = NUMBER.sub(" ", SPAN.sub("", GROUPING.sub(" ", query)))
    return [
        Named(found["name"], frozenset(MATCHER.findall(found["matchers"] or "")), found[0].strip())
        for found in SELECTOR.finditer(bare)
        if not found["call"] and found["name"].lower() not in WORDS
    ]


def grouped_by(query: str) -> set[str]:
    return {label.strip() for labels in GROUPING.findall(query) for label in labels.split(",") if label.strip()}
