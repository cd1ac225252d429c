"""A third domain, as somebody else would write it: datasets and a vocabulary; its converters are `misbehaving`."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from tidemill.plugin import Dataset, KnownName, NameField, Resolution


class Price(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    product: str
    amount: float
    currency: str = "EUR"
    in_stock: bool | None = None


class Line(BaseModel):
    model_config = ConfigDict(frozen=True)

    value: int | str
    text: str = ""


class Team(BaseModel):
    model_config = ConfigDict(frozen=True)

    team: str
    league: str


class Resolver:
    """`Team 7` is team-7, unless somebody says otherwise."""

    def __init__(self, known: Iterable[KnownName]) -> None:
        self._known = {
            (name.raw, name.scope): Resolution(name.raw, name.scope, name.entity, name.name, name.kind, 1.0, "alias")
            for name in known
        }

    def resolve(self, raw: str, scope: str) -> Resolution:
        fresh = Resolution(raw, scope, raw.lower().replace(" ", "-"), raw, "first", 1.0, "new")
        return self._known.get((raw, scope), fresh)

    def known(self, raw: str, scope: str) -> Resolution | None:
        return self._known.get((raw, scope))

    def learn(self, resolution: Resolution) -> None:
        self._known.setdefault((resolution.raw, resolution.scope), resolution)


class Teams:
    name = "test.team"

    def open(self, known: Iterable[KnownName]) -> Resolver:
        return Resolver(known)


PRICE = Dataset("shop.price", Price, title="Prices")
LINE = Dataset("test.line", Line)
TEAM = Dataset("test.side", Team, names={"side": NameField("test.team", "team", "league")})
TEAMS = Teams()
