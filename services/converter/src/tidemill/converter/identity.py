"""Which record a statement is about: base keys, facts that move, parents. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from pydantic import BaseModel, ValidationError

from tidemill.converter.content import CheckedRecord, load
from tidemill.plugin import Dataset

Ref = tuple[str, str]
"""(dataset, base key) of a record, as its document names it."""

Waiting = tuple[int, CheckedRecord]
"""A record and its place in the batch."""


@dataclass
class Candidate:
    """A record under a base key, and what it says or said."""

    key: str
    stated: dict[bytes, str] = field(default_factory=dict)
    """Data by hash, the newest first."""
    model: type[BaseModel] = BaseModel

    @cached_property
    def known(self) -> list[BaseModel]:
        found = []
        for data in self.stated.values():
            try:
                found.append(load(self.model, data))
            except ValidationError:  # Stored under a model that was another: it cannot be compared.
                continue
        return found


class Candidates:
    """The records under one base key of a dataset with `same_fact`, those of this batch included."""

    def __init__(self, base: str, dataset: Dataset, found: Sequence[Candidate]) -> None:
        self.base = base
        self._dataset = dataset
        self._found = list(found)

    def key_for(self, record: CheckedRecord) -> str:
        """The key of the record that states the same fact, the newest of several; else a new one."""
        match = self._stating(record) or self._same_fact(record)
        if match is None:
            ordinal = len(self._found) + 1
            match = Candidate(self.base if ordinal == 1 else f"{self.base}~{ordinal}", model=self._dataset.model)
            self._found.append(match)
        if record.hash not in match.stated:
            match.stated[record.hash] = record.data
            match.__dict__.pop("known", None)
        return match.key

    def _stating(self, record: CheckedRecord) -> Candidate | None:
        return next((one for one in reversed(self._found) if record.hash in one.stated), None)

    def _same_fact(self, record: CheckedRecord) -> Candidate | None:
        same = self._dataset.same_fact
        if same is None or not self._found:
            return None
        new: Any = load(self._dataset.model, record.data)
        return next((one for one in reversed(self._found) if any(same(known, new) for known in one.known)), None)


@dataclass(slots=True)
class Family:
    """Finds out, generation by generation, under which keys the records of a batch stand."""

    waiting: list[Waiting]
    _keys: dict[Ref, list[tuple[int, str]]] = field(default_factory=dict)
    _parents: set[Ref] = field(init=False)

    def __post_init__(self) -> None:
        self._parents = {record.parent for _, record in self.waiting if record.parent}

    def next_generation(self) -> list[Waiting]:
        """Take out the records whose parents are known, or not of this batch. Those left when nothing comes any
        more are one another's parents."""
        if not self._parents:
            ready, self.waiting = self.waiting, []
            return ready
        to_come = {(record.dataset, record.key) for _, record in self.waiting}
        ready, waiting = list[Waiting](), list[Waiting]()
        for placed in self.waiting:
            parent = placed[1].parent
            free = parent is None or parent in self._keys or parent not in to_come
            (ready if free else waiting).append(placed)
        self.waiting = waiting
        return ready

    def learn(self, place: int, ref: Ref, key: str) -> None:
        if ref in self._parents:
            self._keys.setdefault(ref, []).append((place, key))

    def parent_key(self, place: int, parent: Ref, earlier: Mapping[Ref, str]) -> str | None:
        """Of the last record with this base key before this place, in this batch or an earlier one."""
        before = [found for found in self._keys.get(parent, ()) if found[0] < place]
        return max(before)[1] if before else earlier.get(parent)

    def unknown_parents(self, generation: Sequence[Waiting]) -> dict[str, set[str]]:
        """Base keys by dataset that earlier parts of the document may have stated."""
        wanted: dict[str, set[str]] = {}
        for place, record in generation:
            if record.parent and not any(at < place for at, _ in self._keys.get(record.parent, ())):
                wanted.setdefault(record.parent[0], set()).add(record.parent[1])
        return wanted
