"""Patterns of file names: which files one takes, and whether two sets of them ever take the same file.

`*` is any run of characters, `?` any one, everything else itself, in either case. A pattern without `/` is about the
name of a file alone; one with `/` about the end of its path, where `*` spans folders.
"""

import functools
import re
from collections import deque
from collections.abc import Iterable, Sequence

_STATES = 3_000
_BEFORE = -1
"""Still in the folders before the pattern."""

Positions = frozenset[int]


@functools.lru_cache(maxsize=1024)
def _expression(pattern: str) -> re.Pattern[str]:
    spans = "." if "/" in pattern else "[^/]"
    wildcards = {"*": f"{spans}*", "?": spans}
    body = "".join(wildcards.get(char) or re.escape(char) for char in pattern.lstrip("/"))
    return re.compile(f"(?:.*/)?{body}", re.IGNORECASE | re.DOTALL)


def matching(patterns: Iterable[str], path: str) -> str | None:
    """The first pattern that takes this path (relative, with `/`), or None."""
    return next((pattern for pattern in patterns if _expression(pattern).fullmatch(path)), None)


class Selection:
    """The files below a folder that some patterns include and none excludes."""

    def __init__(self, include: Sequence[str], exclude: Sequence[str], recursive: bool) -> None:
        self.include = tuple(_Automaton(pattern) for pattern in include)
        self.exclude = tuple(_Automaton(pattern) for pattern in exclude)
        self.recursive = recursive

    def automata(self) -> tuple["_Automaton", ...]:
        return (*self.include, *self.exclude)

    def takes(self, states: Sequence[Positions]) -> bool:
        """Whether a file is taken whose path led the automata (in their order) to these positions."""
        ended = [automaton.ended(at) for automaton, at in zip(self.automata(), states, strict=True)]
        return any(ended[: len(self.include)]) and not any(ended[len(self.include) :])


def common_file(outer: Selection, inner: Selection, between: str = "") -> str | None:
    """The shortest path below the outer folder that both take; None if there is none, or none is found in some 100 ms.

    `between` is the inner folder's path below the outer one; empty when they are the same folder.
    """
    if between and not outer.recursive:
        return None
    automata = (*outer.automata(), *inner.automata())
    middle = len(outer.automata())
    before = [automaton.run(f"{between}/" if between else "") for automaton in outer.automata()]
    start = (*before, *(automaton.run("") for automaton in inner.automata()))
    alphabet = _alphabet(automata, deep=outer.recursive and inner.recursive)
    seen = {(start, True)}
    waiting = deque([(start, "")])
    while waiting and len(seen) < _STATES:
        states, path = waiting.popleft()
        name_begins = path == "" or path.endswith("/")
        if not name_begins and outer.takes(states[:middle]) and inner.takes(states[middle:]):
            return f"{between}/{path}" if between else path
        for char in alphabet:
            if char == "/" and name_begins:
                continue
            following = tuple(automaton.step(at, char) for automaton, at in zip(automata, states, strict=True))
            if (following, char == "/") not in seen:
                seen.add((following, char == "/"))
                waiting.append((following, path + char))
    return None


def _alphabet(automata: Iterable["_Automaton"], *, deep: bool) -> list[str]:
    """The characters that tell patterns apart, and one that no pattern names, for all others."""
    named = {char for automaton in automata for char in automaton.text} - {"*", "?", "/"}
    other = next(char for char in map(chr, range(ord("a"), 0x10000)) if char.isalpha() and char not in named)
    return [other, *sorted(named), *(["/"] if deep else [])]


class _Automaton:
    """One pattern as positions in it, stepped by one character at a time."""

    def __init__(self, pattern: str) -> None:
        self.spans = "/" in pattern
        self.text = pattern.lstrip("/").casefold()

    def run(self, path: str) -> Positions:
        at = self._opened({_BEFORE, 0})
        for char in path.casefold():
            at = self.step(at, char)
        return at

    def step(self, at: Positions, char: str) -> Positions:
        following = set()
        for position in at:
            if position == _BEFORE:
                following |= {_BEFORE, 0} if char == "/" else {_BEFORE}
            elif position < len(self.text):
                expected = self.text[position]
                wild = expected in "*?" and (self.spans or char != "/")
                if wild or (expected == char and expected not in "*?"):
                    following.add(position if expected == "*" else position + 1)
        return self._opened(following)

    def _opened(self, at: set[int]) -> Positions:
        """With the positions behind each `*`, which may stand for nothing."""
        for position in range(len(self.text)):
            if position in at and self.text[position] == "*":
                at.add(position + 1)
        return frozenset(at)

    def ended(self, at: Positions) -> bool:
        return len(self.text) in at
