"""Printed names to entities of vocabularies: each name is resolved once, by whichever replica meets it first.

A name that the database knows is a look-up in a set. Else the cache may hold what another replica worked out; else the
plugin's resolver works it out, in a thread.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

import orjson
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from tidemill.common.bus.step import Tx
from tidemill.common.cache import Cache
from tidemill.converter.content import CheckedRecord
from tidemill.converter.tables import aliases, names, vocabularies
from tidemill.plugin import Candidate, KnownName, Resolution, Resolver, Vocabulary

CACHED_FOR = timedelta(days=7)

Pair = tuple[str, str]
"""(raw, scope)."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """An answer that the database does not have yet, and the vocabulary's state in which it was found."""

    vocabulary: str
    alias_version: int
    resolution: Resolution


@dataclass(slots=True)
class _Knowledge:
    """What this process knows of one vocabulary."""

    resolver: Resolver
    alias_version: int
    last_id: int
    stored: set[Pair]
    """In the database."""
    found: dict[Pair, Resolution] = field(default_factory=dict)
    """Worked out here, and perhaps not committed yet."""


class Names:
    """The names of all vocabularies. `resolve` before the transaction, `record` in it."""

    def __init__(self, engine: AsyncEngine, cache: Cache, found: Iterable[Vocabulary]) -> None:
        self.vocabularies = {vocabulary.name: vocabulary for vocabulary in found}
        self._engine = engine
        self._cache = cache
        self._knowledge: dict[str, _Knowledge] = {}
        self._locks = {name: asyncio.Lock() for name in self.vocabularies}

    async def register(self) -> None:
        """Give each vocabulary its row; needs the migrated tables."""
        if self.vocabularies:
            async with self._engine.begin() as tx:
                rows = [{"name": name} for name in sorted(self.vocabularies)]
                await tx.execute(insert(vocabularies).on_conflict_do_nothing(), rows)

    async def resolve(self, records: Iterable[CheckedRecord]) -> list[Resolved]:
        """Entities of the names in these records, as far as the database does not know them."""
        wanted: dict[str, set[Pair]] = {}
        for record in records:
            for name in record.names:
                wanted.setdefault(name.vocabulary, set()).add((name.raw, name.scope))
        resolved = []
        for vocabulary in sorted(wanted.keys() & self.vocabularies.keys()):
            async with self._locks[vocabulary]:
                async with self._engine.connect() as connection:
                    known = await self._refresh(connection, vocabulary)
                answers = await self._answers(vocabulary, known, wanted[vocabulary] - known.stored)
                resolved += [Resolved(vocabulary, known.alias_version, answer) for answer in answers]
        return resolved

    async def record(self, tx: Tx, resolved: Iterable[Resolved]) -> None:
        """Keep the answers. Those found before a user edited the aliases meanwhile are found again: an edit waits for
        transactions like this one, or they for it, so that it misses no name."""
        by_vocabulary: dict[str, list[Resolved]] = {}
        for one in resolved:
            by_vocabulary.setdefault(one.vocabulary, []).append(one)
        for vocabulary in sorted(by_vocabulary):
            await tx.execute(LOCK_SHARED, {"name": f"tidemill.vocabulary.{vocabulary}"})
            alias_version = await fetch_alias_version(tx, vocabulary)
            current = [one.resolution for one in by_vocabulary[vocabulary] if one.alias_version == alias_version]
            stale = {
                (one.resolution.raw, one.resolution.scope)
                for one in by_vocabulary[vocabulary]
                if one.alias_version != alias_version
            }
            if stale:
                async with self._locks[vocabulary]:
                    known = await self._refresh(tx, vocabulary)
                    current += await self._answers(vocabulary, known, stale - known.stored)
            await insert_names(tx, vocabulary, alias_version, current)

    async def _refresh(self, connection: Tx, vocabulary: str) -> _Knowledge:
        """Learn what others stored since; begin again where aliases were edited."""
        known = self._knowledge.get(vocabulary)
        alias_version = await fetch_alias_version(connection, vocabulary)
        if known is None or known.alias_version != alias_version:
            edited = await fetch_aliases(connection, vocabulary)
            rows = await fetch_names(connection, vocabulary)
            resolver = await asyncio.to_thread(
                self.vocabularies[vocabulary].open, [*edited, *(known_name(one) for _, one in rows)]
            )
            known = _Knowledge(resolver, alias_version, 0, set())
            self._knowledge[vocabulary] = known
        else:
            rows = await fetch_names(connection, vocabulary, after=known.last_id)
            news = [one for _, one in rows if (one.raw, one.scope) not in known.found]
            await asyncio.to_thread(_learn, known.resolver, news)
        for id, one in rows:
            known.last_id = max(known.last_id, id)
            known.stored.add((one.raw, one.scope))
            known.found.pop((one.raw, one.scope), None)
        return known

    async def _answers(self, vocabulary: str, known: _Knowledge, pairs: set[Pair]) -> list[Resolution]:
        answers = {pair: known.found[pair] for pair in pairs if pair in known.found}
        missing = sorted(pairs - answers.keys(), key=telling_first)
        if missing:
            # With the version of the aliases in its name, an answer from before an edit is never found.
            namespace = f"names.{vocabulary}@{known.alias_version}"
            keys = {orjson.dumps(pair).decode(): pair for pair in missing}
            cached = await self._cache.get_many(namespace, list(keys))
            there = [decode(value) for value in cached.values.values()]
            await asyncio.to_thread(_learn, known.resolver, there)
            answers |= {(one.raw, one.scope): one for one in there}
            missing = [pair for pair in missing if pair not in answers]
            fresh = await asyncio.to_thread(work_out, known.resolver, missing)
            answers |= fresh
            known.found |= answers
            values = {orjson.dumps(pair).decode(): encode(one) for pair, one in fresh.items()}
            await self._cache.set_many(namespace, values, ttl=CACHED_FOR, version=cached.version)
        return [answers[pair] for pair in sorted(answers)]


def work_out(resolver: Resolver, pairs: Iterable[Pair]) -> dict[Pair, Resolution]:
    """Resolve one after the other, each known to those after it."""
    answers = {}
    for raw, scope in pairs:
        answer = answers[raw, scope] = resolver.resolve(raw, scope)
        resolver.learn(answer)
    return answers


def _learn(resolver: Resolver, resolutions: Iterable[Resolution]) -> None:
    for one in resolutions:
        resolver.learn(one)


def telling_first(pair: Pair) -> tuple[int, int, Pair]:
    """Longer names tell more, so that shorter ones find them; and any order of arrival of one batch is the same."""
    return -len(pair[0].split()), -len(pair[0]), pair


def known_name(one: Resolution) -> KnownName:
    return KnownName(one.raw, one.scope, one.entity, one.name, one.kind)


def encode(one: Resolution) -> bytes:
    return orjson.dumps(one)


def decode(value: bytes) -> Resolution:
    return make_resolution(orjson.loads(value))


def make_resolution(row: Mapping[str, Any]) -> Resolution:
    """From a row of `names` or from JSON."""
    fields = {name: row[name] for name in Resolution.__slots__ if name != "candidates"}
    return Resolution(**fields, candidates=tuple(Candidate(**one) for one in row["candidates"]))


LOCK_SHARED = text("SELECT pg_advisory_xact_lock_shared(hashtextextended(:name, 0))")


async def fetch_alias_version(connection: Tx, vocabulary: str) -> int:
    query = select(vocabularies.c.alias_version).where(vocabularies.c.name == vocabulary)
    return int((await connection.execute(query)).scalar_one())


async def fetch_aliases(connection: Tx, vocabulary: str) -> list[KnownName]:
    query = select(aliases).where(aliases.c.vocabulary == vocabulary).order_by(aliases.c.raw, aliases.c.scope)
    return [
        KnownName(row.raw, row.scope, row.entity, row.name, row.kind, by_user=True)
        for row in await connection.execute(query)
    ]


async def fetch_names(connection: Tx, vocabulary: str, after: int = 0) -> list[tuple[int, Resolution]]:
    """Stored names with their ids, in the order in which they came."""
    query = select(names).where(names.c.vocabulary == vocabulary, names.c.id > after).order_by(names.c.id)
    return [(row.id, make_resolution(row._asdict())) for row in await connection.execute(query)]


async def insert_names(tx: Tx, vocabulary: str, alias_version: int, resolutions: Sequence[Resolution]) -> None:
    """Keep new names; of those that another replica was faster to keep, its answer stays."""
    rows = [
        {"vocabulary": vocabulary, "alias_version": alias_version, **asdict(one)}
        for one in sorted(resolutions, key=lambda one: (one.raw, one.scope))
    ]
    if rows:
        await tx.execute(insert(names).on_conflict_do_nothing(), rows)
