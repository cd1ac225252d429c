"""First team, women, youth, reserves: the teams of one club that are never the same team."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

AGE_UNKNOWN = 1
"""A youth side whose competition names no age (`Touloni Ifjúsági Torna`)."""
_TAG = re.compile(r"u(\d+)|reserve(\d*)")


@dataclass(frozen=True, slots=True)
class Kind:
    women: bool = False
    age: int = 0
    """19 for U19; 0 for adults."""
    reserve: int = 0
    """2 for the second team, 3 for the third; 0 for the first."""

    @property
    def label(self) -> str:
        """One of senior, women, youth, reserve. A women's U19 is `women`, and still no other women's team."""
        if self.women:
            return "women"
        if self.age:
            return "youth"
        return "reserve" if self.reserve else "senior"

    @property
    def tags(self) -> tuple[str, ...]:
        """For ids: empty for a first team, else such as `u19`, `reserve`, `women`."""
        tags = []
        if self.age:
            tags.append("youth" if self.age == AGE_UNKNOWN else f"u{self.age}")
        if self.reserve:
            tags.append("reserve" if self.reserve == 2 else f"reserve{self.reserve}")
        if self.women:
            tags.append("women")
        return tuple(tags)

    @classmethod
    def from_tags(cls, tags: Sequence[str]) -> "Kind | None":
        """The reverse of `tags`; None for tags that are not ours."""
        kind = SENIOR
        for tag in tags:
            if tag == "women":
                kind = replace(kind, women=True)
            elif tag == "youth":
                kind = replace(kind, age=AGE_UNKNOWN)
            elif found := _TAG.fullmatch(tag):
                age, team = found.groups()
                kind = replace(kind, age=int(age)) if age else replace(kind, reserve=int(team or 2))
            else:
                return None
        return kind

    @classmethod
    def of_label(cls, label: str) -> "Kind":
        return cls(label == "women", AGE_UNKNOWN if label == "youth" else 0, 2 if label == "reserve" else 0)

    def of(self, club: str) -> str:
        """How such a team of a club is called where no name of its own is known."""
        parts = [club]
        if self.age:
            parts.append("youth" if self.age == AGE_UNKNOWN else f"U{self.age}")
        if self.reserve:
            parts.append(str(self.reserve))
        if self.women:
            parts.append("(W)")
        return " ".join(parts)


SENIOR = Kind()


def difference(one: Kind, other: Kind) -> str:
    """What forbids that two names mean one team: `women`, `age`, `reserve`, or nothing."""
    if one.women != other.women:
        return "women"
    if one.age != other.age:
        return "age"
    return "reserve" if one.reserve != other.reserve else ""
