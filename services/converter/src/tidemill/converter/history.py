"""From what documents stated about one record to its versions. Pure; knows no order of arrival."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

NOTHING = sha256(b"null").digest()
"""Hash of the content of a record that is gone."""

Page = tuple[str, str]
"""Source and path of the document that speaks."""

Rank = tuple[datetime, str, int, int, bool, int]
"""Who is believed when two speak of the same valid time, the greatest: received at, SHA-256, document, part, said just
now, place. So a document received later corrects an earlier one, whichever is converted first."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One document's statement: at `valid_at` the record's content was this."""

    valid_at: datetime
    rank: Rank
    content: bytes
    page: Page = ("", "")


@dataclass(frozen=True, slots=True)
class Span:
    """A content, from when on; until the next span of the same record."""

    valid_from: datetime
    content: bytes


@dataclass(frozen=True, slots=True)
class Revision:
    """What must happen to versions that are known, for them to say what the sightings say."""

    superseded: tuple[Span, ...]
    opened: tuple[Span, ...]
    current: Span

    def __bool__(self) -> bool:
        return bool(self.superseded or self.opened)


def heeded(sightings: Iterable[Sighting]) -> list[Sighting]:
    """Without those that say of a record that it is gone, and do not know it: of its pages the one that stated it last
    decides. A listing that moved to another address is not gone with the old one."""
    found = list(sightings)
    if not any(one.content == NOTHING for one in found):
        return found
    kept: list[Sighting] = []
    stated_by: Page | None = None
    for one in sorted(found, key=lambda one: (one.valid_at, one.rank)):
        if one.content != NOTHING:
            stated_by = one.page
        elif stated_by not in (None, one.page):
            continue
        kept.append(one)
    return kept


def spans(sightings: Iterable[Sighting]) -> list[Span]:
    """The history of contents: at each valid time the best-ranked sighting, equal neighbours in one."""
    believed: dict[datetime, Sighting] = {}
    for sighting in heeded(sightings):
        other = believed.get(sighting.valid_at)
        if other is None or sighting.rank >= other.rank:
            believed[sighting.valid_at] = sighting
    history: list[Span] = []
    for valid_at in sorted(believed):
        content = believed[valid_at].content
        if not history or history[-1].content != content:
            history.append(Span(valid_at, content))
    return history


def revise(known: Sequence[Span], sightings: Iterable[Sighting]) -> Revision:
    """Compare the versions that hold with all sightings of the record, of which there is at least one."""
    wanted = spans(sightings)
    have, want = set(known), set(wanted)
    return Revision(
        superseded=tuple(span for span in known if span not in want),
        opened=tuple(span for span in wanted if span not in have),
        current=wanted[-1],
    )
