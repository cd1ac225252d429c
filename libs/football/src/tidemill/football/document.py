"""The JSON document that shows what a conversion found."""

from collections.abc import Iterable
from typing import Any

from tidemill.football.datasets import MARKET_NAME, MATCH_NAME, OUTRIGHT_NAME
from tidemill.plugin import Accounting, Described, Document, Item, Outcome, Position, Progress, Record, Rejected


def offer_document(
    document: Document,
    items: Iterable[Item],
    *,
    converter: str,
    version: str,
    outcome: Outcome = Outcome.CONVERTED,
    reason: str = "",
) -> dict[str, Any]:
    """What was found in a document, by match; `home_team` and `away_team` are left for a resolver of names to fill."""
    warnings: list[str] = []
    described = Described()
    matches: dict[str, dict[str, Any]] = {}
    outrights: list[dict[str, Any]] = []
    rejected: list[dict[str, Any]] = []
    accounting: list[dict[str, Any]] = []
    for item in items:
        match item:
            case Described():
                described = item
            case Progress(warning=warning):
                warnings += [warning] if warning else []
            case Accounting():
                accounting.append(_accounting(item))
            case Rejected():
                rejected.append(
                    {"reason": item.reason, "detail": item.detail, "raw": item.raw, **_place(item.position)}
                )
            case Record(dataset=dataset) if dataset == MATCH_NAME:
                matches[item.key] = _match(item)
            case Record(dataset=dataset, parent=(_, key)) if dataset == MARKET_NAME:
                matches[key]["markets"].append(_market(item))
            case Record(dataset=dataset) if dataset == OUTRIGHT_NAME:
                outrights.append({**item.data, **_place(item.position)})
    return {
        "document": {
            "sha256": document.sha256,
            "name": document.name,
            "pages": described.pages,
            "title": described.title,
            **described.attributes,
            "converter": converter,
            "version": version,
            "outcome": outcome.value,
            "reason": reason,
            "warnings": warnings,
        },
        "accounting": accounting,
        "matches": list(matches.values()),
        "outrights": outrights,
        "rejected": rejected,
    }


def _place(position: Position) -> dict[str, Any]:
    return {"page": position.page, "box": list(position.box) if position.box else None}


def _accounting(item: Accounting) -> dict[str, Any]:
    return {
        "page": item.page,
        "seen": item.seen,
        "accepted": item.accepted,
        "rejected": item.rejected,
        "ignored": dict(item.ignored),
    }


def _match(record: Record) -> dict[str, Any]:
    return {"key": record.key, **record.data, "home_team": None, "away_team": None, "markets": []}


def _market(record: Record) -> dict[str, Any]:
    data = dict(record.data)
    text, odds = data.pop("text"), data.pop("odds")
    return {**data, "market_text": text, "odds": list(odds.values()), "outcomes": list(odds), **_place(record.position)}
