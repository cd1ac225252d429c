"""Many names at once, resolved so that the order of lines does not matter."""

from collections.abc import Iterable, Iterator

from tidemill.football.teams.question import ask
from tidemill.football.teams.resolver import TeamResolver
from tidemill.plugin import KnownName, Resolution


def resolve_all(pairs: Iterable[tuple[str, str]], known: Iterable[KnownName] = ()) -> Iterator[Resolution]:
    """Answers for names and their leagues, in the order given.

    Names are first resolved in an order of their own, those that tell most before those that tell less: what is known
    by spelling or register, then names with a country, then longer ones. So `Torque Montevideo` meets `Montevideo City
    Torque` whichever comes first. Memory grows with the number of different names.
    """
    asked = list(pairs)
    resolver = TeamResolver(known)
    answers: dict[tuple[str, str], Resolution] = {}
    for raw, league in sorted(set(asked), key=lambda pair: _telling_first(resolver, *pair)):
        answer = resolver.resolve(raw, league)
        resolver.learn(answer)
        answers[raw, league] = answer
    return (answers[pair] for pair in asked)


def _telling_first(resolver: TeamResolver, raw: str, league: str) -> tuple[object, ...]:
    question = ask(raw, league)
    name = question.name
    shortened = sum(word.endswith(".") for word in name.words)
    return (
        resolver.known(raw, league) is None,
        not question.side.countries,
        -len(name.words) + shortened,
        -len(name.spelling),
        name.spelling,
        raw,
        league,
    )
