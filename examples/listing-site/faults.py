"""When the site misbehaves, and how: the same for the same seed, day, address and attempt."""

from collections import Counter
from hashlib import sha256
from typing import Literal

Mode = Literal["none", "mild", "harsh"]
MODES: tuple[Mode, ...] = ("none", "mild", "harsh")

KINDS = {
    "too-many": "429, Retry-After in seconds",
    "too-many-date": "429, Retry-After as a date",
    "unavailable": "503",
    "error": "500",
    "truncated": "half of what Content-Length announces",
    "hang": "no answer for a while, then the connection is closed",
    "slow": "an answer in drops",
    "wall": "200, and a page that wants to know whether you are human",
    "empty": "200, and a search page without homes or count",
}
MILD = ("too-many", "unavailable", "error", "slow")
SHARE = {"none": 0.0, "mild": 0.08, "harsh": 0.35}
"""Of the addresses that misbehave on a day."""
MOST = {"none": 0, "mild": 1, "harsh": 2}
"""Attempts at one address and day that go wrong; the next one is answered."""
RETRY_SECONDS = 2


class Faults:
    def __init__(self, seed: int, mode: Mode = "none") -> None:
        self.seed = seed
        self.mode = mode
        self.always: frozenset[str] = frozenset()
        """Paths that answer nothing but 500."""
        self._attempts: Counter[tuple[int, str]] = Counter()

    def switch(self, mode: Mode) -> None:
        self.mode = mode
        self._attempts.clear()

    def next(self, day: int, address: str, *, search: bool) -> str:
        """The fault of this attempt; empty for none."""
        if address.partition("?")[0] in self.always:
            return "error"
        attempt = self._attempts[day, address]
        self._attempts[day, address] += 1
        return fault(self.mode, self.seed, day, address, attempt, search=search)


def fault(mode: Mode, seed: int, day: int, address: str, attempt: int, *, search: bool) -> str:
    chance = sha256(f"{seed}/{day}/{address}".encode()).digest()
    if chance[0] >= SHARE[mode] * 256 or attempt >= min(MOST[mode], 1 + chance[1] % 2):
        return ""
    kinds = MILD if mode == "mild" else tuple(kind for kind in KINDS if search or kind != "empty")
    return kinds[(chance[2] + attempt) % len(kinds)]
