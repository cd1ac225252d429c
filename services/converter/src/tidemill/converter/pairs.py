"""What people say of two records: that they mean one thing, or two. Nothing is merged by it; who reads may heed it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from tidemill.common.bus.step import WHO, Answer, Change, Command, CommandRefused, Tx
from tidemill.converter.content import KEY_BYTES
from tidemill.converter.datasets import Datasets
from tidemill.converter.tables import pairs
from tidemill.converter.versions import find_by_key

VERDICTS = ("same", "different")


@dataclass(frozen=True, slots=True)
class Pairs:
    """The command. It is its own repeat: said twice, it has been done once."""

    datasets: Datasets

    def commands(self) -> list[Command]:
        return [
            Command(
                verb="pair_decide",
                handle=self.decide,
                description="Say whether two records of a dataset mean the same thing",
                parameters={
                    "dataset": "Name of the dataset",
                    "one": "Key of one record",
                    "other": "Key of the other",
                    "verdict": "same or different",
                    **WHO,
                },
            )
        ]

    async def decide(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        name, verdict = _word(parameters, "dataset"), _word(parameters, "verdict")
        one, other = sorted((_word(parameters, "one"), _word(parameters, "other")))
        if name not in self.datasets:
            raise CommandRefused(f"no dataset {name!r}; there are: {', '.join(sorted(self.datasets)) or 'none'}", "404")
        if verdict not in VERDICTS:
            raise CommandRefused(f"verdict is {' or '.join(VERDICTS)}, not {verdict!r}")
        if one == other:
            raise CommandRefused(f"{one} is the same as itself")
        dataset = self.datasets.id(name)
        known = await find_by_key(tx, dataset, [one, other])
        for key in (one, other):
            if key not in known:
                raise CommandRefused(f"{name} has no record {key!r}", "404")
        named = {"dataset": dataset, "one": one, "other": other}
        before = await tx.scalar(select(pairs.c.verdict).filter_by(**named).with_for_update())
        values = {"verdict": verdict, "author": parameters.get("actor") or ""}
        statement = insert(pairs).values(**named, **values)
        await tx.execute(statement.on_conflict_do_update(index_elements=list(named), set_=values))
        answer = {"dataset": name, "one": one, "other": other, "verdict": verdict}
        target = f"{name} {one} {other}"
        change = Change("pair.decide", target, before=before, after=verdict) if before != verdict else None
        return Answer(answer, change=change)


def _word(parameters: Mapping[str, Any], name: str) -> str:
    value = parameters.get(name)
    if not isinstance(value, str) or not value or len(value.encode()) > KEY_BYTES or "\x00" in value:
        raise CommandRefused(f"{name} has to be a text of 1 to {KEY_BYTES} bytes")
    return value
