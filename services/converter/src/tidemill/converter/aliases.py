"""What users say about names: commands that edit aliases and settle reviews, applied to everything stored at once.

Records keep the print and views join the answer, so history changes without a record being rewritten.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Table, and_, bindparam, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from tidemill.common.bus.step import WHO, Answer, Change, Command, CommandRefused, Tx
from tidemill.converter.content import NAME_LETTERS
from tidemill.converter.names import (
    Pair,
    fetch_aliases,
    fetch_names,
    known_name,
    make_resolution,
    telling_first,
    work_out,
)
from tidemill.converter.tables import aliases, names, vocabularies
from tidemill.plugin import KnownName, Resolution, Vocabulary

PARAMETERS = {
    "vocabulary": "Name of the vocabulary, for instance football.team; may be left out where there is one",
    "raw": "The name as printed",
    "scope": "What tells namesakes apart, for instance the league as printed; empty for everywhere",
    "author": "Who says so",
    "via": WHO["via"],
}
ENTITY = {"entity": "Id of what it stands for, or a name that is known to stand for it"}


@dataclass(frozen=True, slots=True)
class Alias:
    """A user's word that a printed name stands for an entity."""

    vocabulary: str
    raw: str
    scope: str
    entity: str
    name: str
    kind: str


class Aliases:
    """The commands. Each is its own repeat: said twice, it has been done once."""

    def __init__(self, found: Mapping[str, Vocabulary]) -> None:
        self._vocabularies = found

    def commands(self) -> list[Command]:
        return [
            Command(
                verb="alias_add",
                handle=self.add,
                description="Say what a printed name stands for, from now on and in all that is stored",
                parameters=PARAMETERS | ENTITY,
            ),
            Command(
                verb="alias_remove",
                handle=self.remove,
                description="Take back what a user said about a printed name",
                parameters=PARAMETERS,
            ),
            Command(
                verb="review_accept",
                handle=self.accept,
                description="Settle a name in review: it stands for this candidate",
                parameters=PARAMETERS | ENTITY,
            ),
            Command(
                verb="review_reject",
                handle=self.reject,
                description="Settle a name in review: it stands for none of the candidates",
                parameters=PARAMETERS,
            ),
        ]

    async def add(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        place = await self._lock(tx, parameters)
        wanted = _word(parameters, "entity")
        target = await self._find_entity(tx, place, wanted)
        if target is None:
            raise CommandRefused(await self._nobody(tx, place, wanted), "404")
        return await self._edit(tx, Alias(*place, target.entity, target.name, target.kind), parameters)

    async def remove(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        vocabulary, raw, scope = await self._lock(tx, parameters)
        gone = await tx.execute(delete(aliases).where(_is(aliases, vocabulary, raw, scope)))
        changed = await self._apply(tx, vocabulary) if gone.rowcount else []
        place = {"raw": raw, "scope": scope}
        change = Change("alias.remove", vocabulary, before=place) if gone.rowcount else None
        return Answer(
            {"vocabulary": vocabulary, **place, "removed": bool(gone.rowcount), "changed": changed}, change=change
        )

    async def accept(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        place = await self._lock(tx, parameters)
        wanted = _word(parameters, "entity")
        if (alias := await _find_alias(tx, *place)) and wanted in (alias.entity, alias.name):
            return await self._edit(tx, alias, parameters)
        reviewed = await self._in_review(tx, *place)
        chosen = next((one for one in reviewed.candidates if wanted in (one.entity, one.name)), None)
        if chosen is None:
            known = ", ".join(f"{one.entity} ({one.name})" for one in reviewed.candidates)
            raise CommandRefused(f"{wanted!r} is no candidate for {reviewed.raw!r}; there are: {known}")
        target = await self._find_entity(tx, place, chosen.entity)
        kind = target.kind if target else reviewed.kind
        return await self._edit(tx, Alias(*place, chosen.entity, chosen.name, kind), parameters)

    async def reject(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        place = await self._lock(tx, parameters)
        if alias := await _find_alias(tx, *place):
            return await self._edit(tx, alias, parameters)
        reviewed = await self._in_review(tx, *place)
        return await self._edit(tx, Alias(*place, reviewed.entity, reviewed.name, reviewed.kind), parameters)

    async def _lock(self, tx: Tx, parameters: Mapping[str, Any]) -> tuple[str, str, str]:
        """Whose name it is about; from here on nobody else edits the vocabulary or adds names to it."""
        there_are = sorted(self._vocabularies)
        vocabulary = _word(parameters, "vocabulary", optional=True) or (there_are[0] if len(there_are) == 1 else "")
        if vocabulary not in there_are:
            raise CommandRefused(f"no vocabulary {vocabulary!r}; there are: {', '.join(there_are) or 'none'}", "404")
        raw, scope = _word(parameters, "raw"), _word(parameters, "scope", optional=True)
        await tx.execute(LOCK, {"name": f"tidemill.vocabulary.{vocabulary}"})
        return vocabulary, raw, scope

    async def _edit(self, tx: Tx, alias: Alias, parameters: Mapping[str, Any]) -> Answer:
        changed: list[dict[str, Any]] = []
        change = None
        known = await _find_alias(tx, alias.vocabulary, alias.raw, alias.scope)
        if known != alias:
            values = {**asdict(alias), "author": _word(parameters, "author", optional=True)}
            statement = insert(aliases).values(values)
            statement = statement.on_conflict_do_update(
                index_elements=["vocabulary", "raw", "scope"], set_={**values, "added_at": func.now()}
            )
            await tx.execute(statement)
            changed = await self._apply(tx, alias.vocabulary)
            change = Change("alias.set", alias.vocabulary, before=known and asdict(known), after=asdict(alias))
        return Answer({**asdict(alias), "changed": changed}, change=change)

    async def _apply(self, tx: Tx, vocabulary: str) -> list[dict[str, Any]]:
        """Resolve every stored name again, as if the aliases had always been so; return those that changed."""
        statement = update(vocabularies).where(vocabularies.c.name == vocabulary)
        statement = statement.values(alias_version=vocabularies.c.alias_version + 1, edited_at=func.now())
        version = (await tx.execute(statement.returning(vocabularies.c.alias_version))).scalar_one()
        stored = {(one.raw, one.scope): one for _, one in await fetch_names(tx, vocabulary)}
        edited = await fetch_aliases(tx, vocabulary)
        afresh = await asyncio.to_thread(_resolve_afresh, self._vocabularies[vocabulary], edited, list(stored))
        changed = [one for pair, one in afresh.items() if one != stored[pair]]
        if changed:
            rows = [{f"new_{name}": value for name, value in asdict(one).items()} for one in changed]
            await tx.execute(_renewal(vocabulary, version), rows)
        return [
            {"raw": one.raw, "scope": one.scope, "entity": one.entity, "was": stored[one.raw, one.scope].entity}
            for one in changed
            if one.entity != stored[one.raw, one.scope].entity
        ]

    async def _in_review(self, tx: Tx, vocabulary: str, raw: str, scope: str) -> Resolution:
        row = (await tx.execute(select(names).where(_is(names, vocabulary, raw, scope)))).first()
        if row is None or row.method != "review":
            state = f"is settled as {row.entity} ({row.method})" if row else "has not been met"
            raise CommandRefused(f"{raw!r} in {scope!r} is not in review: it {state}", "404")
        return make_resolution(row._asdict())

    async def _find_entity(self, tx: Tx, place: tuple[str, str, str], wanted: str) -> Resolution | KnownName | None:
        """By id, by its own name, or by a name that stands for it; the same spelling in the same scope first."""
        vocabulary, _, scope = place
        known = [one for _, one in await fetch_names(tx, vocabulary)]
        said = await fetch_aliases(tx, vocabulary)
        known_or_said: list[Resolution | KnownName] = [*said, *known]
        for one in known_or_said:
            if one.entity == wanted:
                return one
        opened = await asyncio.to_thread(
            self._vocabularies[vocabulary].open, [*said, *(known_name(one) for one in known)]
        )
        found = opened.known(wanted, scope)
        return found if found and found.method != "review" else None

    async def _nobody(self, tx: Tx, place: tuple[str, str, str], wanted: str) -> str:
        vocabulary, _, scope = place
        known = [known_name(one) for _, one in await fetch_names(tx, vocabulary)]
        resolver = await asyncio.to_thread(self._vocabularies[vocabulary].open, known)
        near = (await asyncio.to_thread(resolver.resolve, wanted, scope)).candidates
        like = f"; like it are: {', '.join(f'{one.entity} ({one.name})' for one in near)}" if near else ""
        return f"nobody is known as {wanted!r}{like}"


def _resolve_afresh(vocabulary: Vocabulary, edited: list[KnownName], pairs: list[Pair]) -> dict[Pair, Resolution]:
    return work_out(vocabulary.open(edited), sorted(pairs, key=telling_first))


def _renewal(vocabulary: str, version: int) -> Any:
    """For many rows: each answer's fields as `new_…`."""
    answer: dict[str, Any] = {
        name: bindparam(f"new_{name}") for name in Resolution.__slots__ if name not in {"raw", "scope"}
    }
    place = _is(names, vocabulary, bindparam("new_raw"), bindparam("new_scope"))
    return update(names).where(place).values(answer | {"alias_version": version})


async def _find_alias(tx: Tx, vocabulary: str, raw: str, scope: str) -> Alias | None:
    columns = [aliases.c[name] for name in Alias.__slots__]
    row = (await tx.execute(select(*columns).where(_is(aliases, vocabulary, raw, scope)))).first()
    return Alias(*row) if row else None


def _is(table: Table, vocabulary: str, raw: Any, scope: Any) -> Any:
    return and_(table.c.vocabulary == vocabulary, table.c.raw == raw, table.c.scope == scope)


def _word(parameters: Mapping[str, Any], name: str, *, optional: bool = False) -> str:
    value = parameters.get(name) or ""
    if not isinstance(value, str) or len(value) > NAME_LETTERS or "\x00" in value or not (value or optional):
        raise CommandRefused(f"{name} has to be a text of {0 if optional else 1} to {NAME_LETTERS} letters")
    return value


LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")
