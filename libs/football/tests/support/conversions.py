"""Converts a document, and compares what was found with what was printed."""

import hashlib
import io
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tidemill.football.converter import SzerencsemixConverter
from tidemill.football.document import offer_document
from tidemill.plugin import Document, Item, Outcome, Refusal


@dataclass(frozen=True)
class Conversion:
    """What came of a document."""

    items: list[Item]
    outcome: Outcome
    reason: str
    document: dict[str, Any]

    @property
    def warnings(self) -> list[str]:
        return self.document["document"]["warnings"]


def convert(content: bytes, **options: Any) -> Conversion:
    digest = hashlib.sha256(content).hexdigest()
    document = Document(io.BytesIO(content), digest, len(content), "issue.pdf", datetime(2025, 7, 18, tzinfo=UTC))
    items: list[Item] = []
    outcome, reason = Outcome.CONVERTED, ""
    try:
        items.extend(SzerencsemixConverter().convert(document, options))
    except Refusal as refusal:
        outcome, reason = refusal.outcome, refusal.reason
        items = collected(content, options)
    shaped = offer_document(document, items, converter="szerencsemix", version="1", outcome=outcome, reason=reason)
    return Conversion(items, outcome, reason, shaped)


def collected(content: bytes, options: dict[str, Any]) -> list[Item]:
    """The items that came before a refusal."""
    document = Document(io.BytesIO(content), "", len(content), "issue.pdf", datetime(2025, 7, 18, tzinfo=UTC))
    items: list[Item] = []
    stream = SzerencsemixConverter().convert(document, options)
    while True:
        try:
            items.append(next(stream))
        except (StopIteration, Refusal):
            return items


def rows(document: dict[str, Any]) -> Counter[Any]:
    """Everything that a truth file says about a row, and how often it says so."""
    match_fields = ("date", "time", "league", "home", "away", "venue")
    market_fields = ("market_text", "serial", "kim", "cols", "key", "period", "side", "line", "param", "outcome")
    return Counter(
        (
            *(match[name] for name in match_fields),
            *(market[name] for name in market_fields),
            tuple(market["odds"]),
        )
        for match in document["matches"]
        for market in match["markets"]
    )
