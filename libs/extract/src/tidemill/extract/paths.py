"""JSONPath: names, places, slices, wildcards, descent, one comparison; what of RFC 9535 is used on pages."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from tidemill.extract.errors import InvalidRule
from tidemill.extract.model import Json

Step = Callable[[Json], Iterable[Json]]
MOST = 10_000
"""Values that one step may find; the rest is left."""

_TOKEN = re.compile(
    r"""
    (?P<deep>\.\.)? \.? (?:
        (?P<name>[^\W\d][\w-]*|@[\w-]+|\#[\w-]+)
      | (?P<any>\*)
      | \[ \s* (?:
            (?P<all>\*)
          | (?P<slice>-?\d*\s*:\s*-?\d*)
          | (?P<index>-?\d+)
          | '(?P<single>(?:[^'\\]|\\.)*)'
          | "(?P<double>(?:[^"\\]|\\.)*)"
          | \? \s* \(? \s* @\.(?P<key>[\w.-]+) \s*
              (?: (?P<compare>==|!=|<=|>=|<|>) \s*
                  (?: '(?P<text>[^']*)' | "(?P<quoted>[^"]*)"
                    | (?P<number>-?\d+(?:\.\d+)?) | (?P<word>true|false|null) )
              )? \s* \)?
        ) \s* \]
    )
    """,
    re.VERBOSE,
)
_WORDS = {"true": True, "false": False, "null": None}


@dataclass(frozen=True, slots=True)
class Path:
    """A compiled path. Steps that do not fit the value find nothing."""

    text: str
    steps: tuple[Step, ...]

    def find(self, value: Json) -> list[Json]:
        """All values at this path, in the order of the document."""
        found = [value]
        for step in self.steps:
            found = _some(inner for outer in found for inner in step(outer))
            if not found:
                break
        return found


@lru_cache(maxsize=4096)
def path_of(text: str, *, through_lists: bool = False) -> Path:
    """Compile `$.cards[*].data.price`; the `$.` may be left out. Raises InvalidRule.

    `through_lists`: a name is looked up in each element where it meets a list, as JSON-LD wants it.
    """
    position = 1 if text.startswith("$") else 0
    steps: list[Step] = []
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None or token.end() == position:
            raise InvalidRule(f"{text} is no path: `{text[position:]}` is not understood; write such as $.cards[*].url")
        if token["deep"]:
            steps.append(_descend)
        steps.append(_step(token, through_lists))
        position = token.end()
    return Path(text, tuple(steps))


def _step(token: "re.Match[str]", through_lists: bool) -> Step:
    if token["any"] or token["all"]:
        return _children
    if token["slice"] is not None:
        first, last = (int(bound) if bound.strip() else None for bound in token["slice"].split(":"))
        return lambda value: value[first:last] if isinstance(value, list) else ()
    if token["index"] is not None:
        place = int(token["index"])
        return lambda value: value[place:][:1] if isinstance(value, list) else ()
    if token["key"] is not None:
        return _filter(token)
    name = next(text for text in (token["name"], token["single"], token["double"]) if text is not None)
    if token["name"] is None:
        name = re.sub(r"\\(.)", r"\1", name)
    if through_lists:
        return lambda value: _named_anywhere(value, name)
    return lambda value: (value[name],) if isinstance(value, dict) and name in value else ()


def _named_anywhere(value: Json, name: str) -> Iterator[Json]:
    for inner in value if isinstance(value, list) else (value,):
        if isinstance(inner, dict) and name in inner:
            yield from inner[name] if isinstance(inner[name], list) else (inner[name],)


def _children(value: Json) -> Iterable[Json]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _descend(value: Json) -> Iterator[Json]:
    """The value and everything below it, from the top."""
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        yield inner
        waiting.extend(reversed([child for child in _children(inner) if isinstance(child, (dict, list))]))


def _filter(token: "re.Match[str]") -> Step:
    key = path_of(token["key"])
    sign = token["compare"]
    wanted = _constant(token)

    def holds(value: Json) -> bool:
        found = key.find(value)
        if sign is None:
            return bool(found)
        return any(_compare(sign, inner, wanted) for inner in found)

    return lambda value: [inner for inner in _children(value) if holds(inner)]


def _constant(token: "re.Match[str]") -> Json:
    if token["number"] is not None:
        return float(token["number"])
    if token["word"] is not None:
        return _WORDS[token["word"]]
    return token["text"] if token["text"] is not None else token["quoted"]


def _compare(sign: str, found: Json, wanted: Json) -> bool:
    if sign in ("==", "!="):
        # True is 1 in Python, not in JSON.
        same = found == wanted and isinstance(found, bool) == isinstance(wanted, bool)
        return same == (sign == "==")
    numbers = [value for value in (found, wanted) if isinstance(value, (int, float)) and not isinstance(value, bool)]
    if len(numbers) != 2:
        return False
    one, other = numbers
    return {"<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other}[sign]


def _some(values: Iterable[Json]) -> list[Json]:
    found: list[Json] = []
    for value in values:
        found.append(value)
        if len(found) == MOST:
            break
    return found
