"""`tidemill listings`: which advertisements mean one home, and how their prices moved."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tidemill.cli.asking import ask, said
from tidemill.cli.reading import database_url, find_dataset, open_store
from tidemill.cli.running import Assignments, Output, OutputOption, fail
from tidemill.cli.tables import Column, print_table

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from tidemill.listings.identity import PriceChange, Proposal, Sighting
    from tidemill.listings.listing import Listing

LISTING = "listings.listing"
CONVERTER = "converter"
SHOWN = 50

# Of what is gone the last that it said; `first` and `last` are when it was first and last there.
SIGHTED = """
    SELECT r.key, v.data, e.data AS place, first.valid_from AS first, r.hash <> v.hash AS gone, r.valid_from AS since
    FROM converter.records r
    CROSS JOIN LATERAL (
        SELECT * FROM converter.versions v WHERE v.dataset = r.dataset AND v.record = r.id AND v.recorded_to IS NULL
            AND v.data <> 'null' ORDER BY v.valid_from DESC LIMIT 1
    ) v
    CROSS JOIN LATERAL (
        SELECT min(f.valid_from) AS valid_from FROM converter.versions f
        WHERE f.dataset = r.dataset AND f.record = r.id AND f.recorded_to IS NULL AND f.data <> 'null'
    ) first
    LEFT JOIN converter.enriched e ON e.dataset = v.dataset AND e.content = v.content AND e.enricher = 'place'
    WHERE r.dataset = :dataset ORDER BY r.key
"""
DECIDED = "SELECT one, other, verdict, author FROM converter.pairs WHERE dataset = :dataset"
VERSIONS = """
    SELECT r.key, v.valid_from, v.data FROM converter.records r
    JOIN converter.versions v ON v.dataset = r.dataset AND v.record = r.id AND v.recorded_to IS NULL
    WHERE r.dataset = :dataset AND r.key = ANY(:keys) AND v.data <> 'null'
"""

Key = Annotated[str, typer.Argument(metavar="KEY", help="Of a listing: `portal/id`.")]
Other = Annotated[str, typer.Argument(metavar="OTHER", help="Of another one.")]
Least = Annotated[float, typer.Option(min=0, max=1, help="Proposals with at least this score.")]


def register(app: typer.Typer) -> None:
    listings = typer.Typer(help="Property listings: duplicates and prices.", no_args_is_help=True)
    listings.command()(duplicates)
    listings.command()(prices)
    listings.command()(accept)
    listings.command()(reject)
    app.add_typer(listings, name="listings")


def duplicates(
    least: Least = 0.7,
    decided: Annotated[bool, typer.Option("--decided", help="Also those that somebody decided about.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the best first.")] = SHOWN,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Propose pairs of listings that may be one home: twice on the market, or listed again. Nothing is merged: accept
    or reject says what a person thinks of a pair."""
    found = asyncio.run(_propose(database_url(assignments), least))
    shown = [pair for pair in found if decided or not pair["decision"]]
    if output is Output.JSON:
        typer.echo(json.dumps(shown[:limit], indent=2, ensure_ascii=False))
        return
    _print_pairs(shown[:limit])
    hidden = len(found) - len(shown)
    more = f"; {hidden} decided ones with --decided" if hidden else ""
    typer.echo(f"{len(shown)} pair{'' if len(shown) == 1 else 's'} with a score of {least:g} or more{more}")


def prices(
    keys: Annotated[list[str], typer.Argument(metavar="KEY...", help="Of one home: `portal/id`, several as one line.")],
    least: Least = 0.7,
    output: OutputOption = Output.TABLE,
    assignments: Assignments = None,
) -> None:
    """Show how the price of a home moved. Listings that may be the same home are named; give their keys too to have
    their prices in one line. What was accepted is taken along."""
    told = asyncio.run(_fetch_prices(database_url(assignments), keys, least))
    if output is Output.JSON:
        typer.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        _print_prices(told)


def accept(key: Key, other: Other, output: OutputOption = Output.TABLE, assignments: Assignments = None) -> None:
    """Say that two listings are one home."""
    _decide(key, other, "same", output, assignments)


def reject(key: Key, other: Other, output: OutputOption = Output.TABLE, assignments: Assignments = None) -> None:
    """Say that two listings are two homes."""
    _decide(key, other, "different", output, assignments)


def _decide(key: str, other: str, verdict: str, output: Output, assignments: list[str] | None) -> None:
    parameters = said(dataset=LISTING, one=key, other=other, verdict=verdict)
    answer = ask("pair_decide", parameters, assignments, service=CONVERTER)
    if output is Output.JSON:
        typer.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        typer.echo(f"{answer['one']} and {answer['other']} are {'one home' if verdict == 'same' else 'two homes'}")


@dataclass(frozen=True, slots=True)
class _Known:
    """All listings, and what people decided about pairs of them."""

    sightings: Sequence[Sighting]
    decisions: Mapping[frozenset[str], tuple[str, str]]
    """Verdict and author by keys."""


async def _propose(url: str, least: float) -> list[dict[str, Any]]:
    from tidemill.listings.identity import propose

    async with open_store(url) as connection:
        known = await _read(connection)
    return [_pair(one, known.decisions) for one in propose(known.sightings, least)]


async def _fetch_prices(url: str, keys: Sequence[str], least: float) -> dict[str, Any]:
    from sqlalchemy import text

    from tidemill.listings.identity import price_changes, propose
    from tidemill.listings.listing import Listing

    async with open_store(url) as connection:
        known = await _read(connection)
        there = {one.listing.key for one in known.sightings}
        for key in keys:
            if key not in there:
                near = ", ".join(sorted(one for one in there if key.lower() in one.lower())[:5])
                fail(f"there is no listing {key!r}{'; there are: ' + near if near else ''}")
        home = _together(keys, known.decisions)
        wanted = {"dataset": (await find_dataset(connection, LISTING)).id(LISTING), "keys": sorted(home)}
        rows = (await connection.execute(text(VERSIONS), wanted)).all()
    versions = [(row.valid_from, Listing.model_validate(row.data)) for row in rows]
    first = min(versions, key=lambda version: version[0])
    others = [one for one in propose(known.sightings, least) if home & set(one.keys) and not home >= set(one.keys)]
    pairs = [_pair(one, known.decisions) for one in others]
    return {
        "keys": sorted(home),
        "first": _asked(*first),
        "changes": [_change(change) for change in price_changes(versions)],
        "perhaps_the_same": [pair for pair in pairs if not pair["decision"]],
    }


async def _read(connection: AsyncConnection) -> _Known:
    from sqlalchemy import text

    dataset = {"dataset": (await find_dataset(connection, LISTING)).id(LISTING)}
    now = datetime.now(UTC)
    buildings: dict[str, int] = {}
    sightings = [one async for one in _sightings(connection, dataset, now, buildings)]
    decided = await connection.execute(text(DECIDED), dataset)
    return _Known(sightings, {frozenset((row.one, row.other)): (row.verdict, row.author) for row in decided})


async def _sightings(
    connection: AsyncConnection, dataset: Mapping[str, Any], now: datetime, buildings: dict[str, int]
) -> AsyncIterator[Sighting]:
    from pydantic import ValidationError
    from sqlalchemy import text

    from tidemill.listings.identity import Sighting
    from tidemill.listings.listing import Listing

    async with connection.stream(text(SIGHTED), dataset) as rows:
        async for row in rows:
            place = row.place or {}
            try:
                listing = _placed(Listing.model_validate(row.data), place)
            except ValidationError:  # Stored under a model that was another.
                continue
            building = place.get("building") if place.get("footprint") == "inside" else None
            number = None if building is None else buildings.setdefault(building, len(buildings))
            yield Sighting(listing, row.first, row.since if row.gone else now, number, row.gone)


def _placed(listing: Listing, place: Mapping[str, Any]) -> Listing:
    """With the point and the address that enrichment found, where there are some."""
    found = {
        "latitude": place.get("point_latitude"),
        "longitude": place.get("point_longitude"),
        "precision": place.get("point_precision"),
        "street": listing.street or place.get("place_street"),
        "number": listing.number or place.get("place_number"),
        "city": listing.city or place.get("place_city"),
    }
    return listing.model_copy(update={name: value for name, value in found.items() if value is not None})


def _together(keys: Sequence[str], decisions: Mapping[frozenset[str], tuple[str, str]]) -> frozenset[str]:
    """These and all that somebody said is the same home."""
    home = set(keys)
    while (
        more := {key for pair, (verdict, _) in decisions.items() if verdict == "same" and pair & home for key in pair}
        - home
    ):
        home |= more
    return frozenset(home)


def _pair(one: Proposal, decisions: Mapping[frozenset[str], tuple[str, str]]) -> dict[str, Any]:
    verdict, author = decisions.get(frozenset(one.keys), ("", ""))
    return {
        "keys": list(one.keys),
        "kinship": str(one.kinship),
        "score": one.score,
        "price_change": one.price_change,
        "evidence": [{"kind": each.kind, "agreement": each.agreement, "detail": each.detail} for each in one.evidence],
        "decision": verdict,
        "decided_by": author,
    }


def _asked(at: datetime, listing: Listing) -> dict[str, Any]:
    return {
        "at": at.astimezone(UTC).isoformat(),
        "key": listing.key,
        "price": listing.whole_price,
        "currency": listing.currency,
    }


def _change(change: PriceChange) -> dict[str, Any]:
    return {
        "at": change.at.astimezone(UTC).isoformat(),
        "key": change.key,
        "before": change.before,
        "after": change.after,
        "currency": change.currency,
        "share": round(change.share, 6),
    }


def _print_pairs(pairs: Sequence[Mapping[str, Any]]) -> None:
    if not pairs:
        return
    columns = [Column("score", right=True), Column("kinship"), Column("one", whole=True), Column("other", whole=True)]
    columns += [Column("price", right=True), Column("decision")]
    rows = [
        [
            f"{pair['score']:.2f}",
            pair["kinship"],
            *pair["keys"],
            "" if pair["price_change"] is None else f"{pair['price_change']:+.1%}",
            " by ".join(filter(None, (pair["decision"], pair["decided_by"]))),
        ]
        for pair in pairs
    ]
    notes = ["; ".join(f"{each['kind']}: {each['detail']}" for each in pair["evidence"]) for pair in pairs]
    print_table(columns, rows, ("score", "one", "other", "kinship"), notes=notes)
    typer.echo()


def _print_prices(told: Mapping[str, Any]) -> None:
    first = told["first"]
    price = "no price" if first["price"] is None else f"{first['price']:,.0f} {first['currency']}"
    typer.echo(f"{', '.join(told['keys'])}\n\n{first['at'][:10]}  {price}  {first['key']}")
    for change in told["changes"]:
        typer.echo(
            f"{change['at'][:10]}  {change['after']:,.0f} {change['currency']}  {change['key']}  {change['share']:+.1%}"
        )
    if not told["changes"]:
        typer.echo("no change since")
    for pair in told["perhaps_the_same"]:
        evidence = "; ".join(each["detail"] for each in pair["evidence"])
        typer.echo(f"\nperhaps the same home ({pair['kinship']}, {pair['score']:.2f}): {' and '.join(pair['keys'])}")
        typer.echo(f"  {evidence}")
