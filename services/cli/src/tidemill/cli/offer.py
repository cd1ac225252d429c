"""Matches of the store with their odds, as `tidemill convert` shows those of one issue; in one file, and one a day."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, aclosing
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from tidemill.cli.files import written_whole

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from tidemill.converter.datasets import Datasets
    from tidemill.converter.reading import Selection

MATCH, MARKET = "football.match", "football.market"
TEAM = ("id", "name", "kind", "confidence", "method")
PRINTED = ("key", "period", "side", "line", "param", "outcome", "serial", "mark", "kim", "cols")


class _Matches:
    """One JSON document, written match by match."""

    def __init__(self, file: BinaryIO, **head: Any) -> None:
        self._file = file
        self._between = b"\n"
        self._write(json.dumps(head, ensure_ascii=False)[:-1].encode() + (b", " if head else b"") + b'"matches": [')

    def add(self, match: Mapping[str, Any]) -> None:
        self._write(self._between + json.dumps(match, ensure_ascii=False).encode())
        self._between = b",\n"

    def close(self) -> None:
        self._write(b"\n]}\n")

    def _write(self, content: bytes) -> None:
        self._file.write(content)


async def export_offer(
    connection: AsyncConnection,
    known: Datasets,
    wanted: Selection,
    *,
    out: Path | None,
    days: Path | None,
    max_additional: int | None,
) -> tuple[int, int]:
    """Write all matches to one file and, where `days` is a folder, those of each day to `2025-06-20.json` in it, those
    without a day to `undated.json`. Returns how many matches and days there were."""
    from tidemill.football.split import cap_markets, day_of

    if days is not None:
        days.mkdir(parents=True, exist_ok=True)
    count, written = 0, set[str]()
    async with AsyncExitStack() as stack:
        matches = await stack.enter_async_context(aclosing(_matches(connection, known, wanted)))
        merged, of_day = _Matches(stack.enter_context(written_whole(out))), None
        today = stack.enter_context(ExitStack())
        async for match in matches:
            shown = match if max_additional is None else cap_markets(match, max_additional)
            merged.add(shown)
            count += 1
            if days is None:
                continue
            day = day_of(match)
            if of_day is None or day not in written:  # They come day by day.
                today.close()
                of_day = _Matches(today.enter_context(written_whole(days / f"{day}.json")), date=day)
                today.callback(of_day.close)
                written.add(day)
            of_day.add(shown)
        merged.close()
    return count, len(written)


async def _matches(
    connection: AsyncConnection, known: Datasets, wanted: Selection
) -> AsyncGenerator[dict[str, Any], None]:
    """By day, kick-off and key; those without a day at the end."""
    from tidemill.converter.reading import read_with_children

    parents, children = ((known[name], known.id(name)) for name in (MATCH, MARKET))
    order = ("date", "kickoff")
    async with aclosing(read_with_children(connection, parents, children, wanted, order)) as families:
        async for match, markets in families:
            fields = {name: _plain(match[name]) for name in ("key", *known[MATCH].model.model_fields)}
            for side in ("home", "away"):
                found = {name: match[f"{side}_team_{name}"] for name in TEAM}
                fields[f"{side}_team"] = found if found["id"] else None
            place = {"page": match["page"], "box": match["box"]}
            yield fields | place | {"markets": [_market(market) for market in markets]}


def _market(market: Mapping[str, Any]) -> dict[str, Any]:
    """Prices in the order of their columns, which the text tells: a stored object has none."""
    from tidemill.football.markets import classify

    asked, odds = classify(market["text"]), market["odds"]
    names = [asked.outcome_in(column, market["kim"] or "") for column in market["cols"]]
    outcomes: Sequence[str] = names if odds.keys() == set(names) else market["cols"]
    return {
        **{name: market[name] for name in PRINTED},
        "market_text": market["text"],
        "odds": [odds[name] for name in outcomes],
        "outcomes": list(outcomes),
        "page": market["page"],
        "box": market["box"],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value
