"""Addresses and buildings that enrichers read: rows that say what there is, bytes in the archive.

Whoever imports writes the file to the archive and tells us by command, so that every replica finds both.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from tidemill.common.archive import Archive, NotArchived
from tidemill.common.bus.step import Answer, Command, CommandRefused, Tx
from tidemill.converter.tables import documents, doomed, reference_data
from tidemill.plugin.reference import COLUMNS

SHA256 = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[\w.-]{1,80}")
TEXT_LETTERS = 300


@dataclass(frozen=True, slots=True)
class Imported:
    """One import."""

    kind: str
    name: str
    sha256: str
    rows: int
    counts: Mapping[str, Any]
    box: Sequence[float]
    """South, west, north, east, in degrees."""
    file: str
    attribution: str
    licence: str


@dataclass(frozen=True, slots=True)
class Reference:
    """One import, as it is kept."""

    imported: Imported
    author: str
    imported_at: datetime


def stamp(references: Sequence[Reference], asks: str = "") -> str:
    """The version of all of them together, and of the geocoder that is asked beside them."""
    lines = sorted(f"{one.imported.kind} {one.imported.name} {one.imported.sha256}" for one in references)
    return hashlib.sha256("\n".join([*lines, asks]).encode()).hexdigest()[:16]


async def fetch_references(connection: Tx, kinds: Sequence[str] = ()) -> list[Reference]:
    """Of these kinds, or all; in order."""
    query = select(reference_data).order_by(reference_data.c.kind, reference_data.c.name)
    if kinds:
        query = query.where(reference_data.c.kind.in_(kinds))
    return [
        Reference(Imported(**{name: row[name] for name in Imported.__slots__}), row["author"], row["imported_at"])
        for row in (await connection.execute(query)).mappings()
    ]


@dataclass(frozen=True, slots=True)
class ReferenceData:
    """The commands. Each is its own repeat: said twice, it has been done once."""

    archive: Archive

    def commands(self) -> list[Command]:
        place = {"kind": f"One of: {', '.join(COLUMNS)}", "name": "Another import of this name is replaced"}
        return [
            Command(
                verb="geo_import",
                handle=self.add,
                description="Use addresses or buildings whose file is in the archive",
                parameters={
                    **place,
                    "sha256": "Of the file, in the form that enrichers read",
                    "rows": "How many it has",
                    "counts": "Rows by region and city, rows left out by reason",
                    "box": "South, west, north, east, in degrees",
                    "file": "Name of the file it was made from",
                    "attribution": "Whose data they are, as their licence wants it said",
                    "licence": "Under which they may be used",
                    "author": "Who imports them",
                },
            ),
            Command(
                verb="geo_remove",
                handle=self.remove,
                description="Use addresses or buildings no longer",
                parameters={**place, "author": "Who says so"},
            ),
        ]

    async def add(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        wanted = _imported(parameters)
        await tx.execute(delete(doomed).where(doomed.c.sha256 == wanted.sha256))
        try:
            await self.archive.stat(wanted.sha256)
        except NotArchived as error:
            raise CommandRefused(f"{error}; import it again", "409") from error
        known = (await tx.execute(select(reference_data).where(_is(wanted.kind, wanted.name)))).mappings().one_or_none()
        if known and all(_plain(known[name]) == _plain(value) for name, value in asdict(wanted).items()):
            return Answer({**asdict(wanted), "changed": False})
        values = {**asdict(wanted), "author": _text(parameters, "author"), "imported_at": func.now()}
        statement = insert(reference_data).values(values)
        await tx.execute(statement.on_conflict_do_update(index_elements=["kind", "name"], set_=values))
        if known:
            await _forget(tx, known["sha256"])
        return Answer({**asdict(wanted), "changed": True})

    async def remove(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        kind, name = _place(parameters)
        gone = delete(reference_data).where(_is(kind, name)).returning(reference_data.c.sha256)
        sha256 = await tx.scalar(gone)
        if sha256:
            await _forget(tx, sha256)
        return Answer({"kind": kind, "name": name, "removed": bool(sha256)})


async def _forget(tx: Tx, sha256: str) -> None:
    """Have the archive forget bytes that nobody needs any more."""
    for column in (reference_data.c.sha256, documents.c.sha256):
        if await tx.scalar(select(column).where(column == sha256).limit(1)):
            return
    await tx.execute(insert(doomed).values(sha256=sha256).on_conflict_do_nothing())


def _imported(parameters: Mapping[str, Any]) -> Imported:
    kind, name = _place(parameters)
    sha256, rows = parameters.get("sha256"), parameters.get("rows")
    counts, box = parameters.get("counts"), parameters.get("box")
    if not isinstance(sha256, str) or not SHA256.fullmatch(sha256):
        raise CommandRefused("sha256 has to be 64 hexadecimal digits")
    if not isinstance(rows, int) or not isinstance(counts, dict):
        raise CommandRefused("rows has to be a number, counts an object")
    if not isinstance(box, list) or len(box) != 4 or not all(isinstance(edge, int | float) for edge in box):
        raise CommandRefused("box has to be four numbers: south, west, north, east")
    texts = (_text(parameters, name) for name in ("file", "attribution", "licence"))
    return Imported(kind, name, sha256, rows, counts, [float(edge) for edge in box], *texts)


def _place(parameters: Mapping[str, Any]) -> tuple[str, str]:
    kind, name = _text(parameters, "kind"), _text(parameters, "name")
    if kind not in COLUMNS:
        raise CommandRefused(f"no kind {kind!r}; there are: {', '.join(COLUMNS)}")
    if not NAME.fullmatch(name):
        raise CommandRefused(f"a name has letters, digits, dots and dashes, up to 80, unlike {name!r}")
    return kind, name


def _text(parameters: Mapping[str, Any], name: str) -> str:
    value = parameters.get(name) or ""
    if not isinstance(value, str) or len(value) > TEXT_LETTERS or "\x00" in value:
        raise CommandRefused(f"{name} has to be a text of up to {TEXT_LETTERS} letters")
    return value


def _is(kind: str, name: str) -> ColumnElement[bool]:
    return (reference_data.c.kind == kind) & (reference_data.c.name == name)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else value
