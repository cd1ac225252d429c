"""Printed team names to teams: known ones, and unknown ones against 50,000 aliases."""

import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from rapidfuzz.process import extractOne

from tidemill.football.teams import TEAMS
from tidemill.football.teams.countries import countries
from tidemill.football.teams.register import registered
from tidemill.plugin import KnownName

ALIASES = 50_000
UNKNOWN = 3_000
PEER_SAMPLE = 150
"""The peer compares each name with every alias, so fewer names tell as much."""


def run() -> list[dict[str, Any]]:
    random.seed(20250718)
    aliases = _aliases()
    pairs = [(alias.raw, alias.scope) for alias in aliases]
    names = [raw for raw, _ in pairs]
    resolver = TEAMS.open(aliases)
    known = _rate(lambda pair: resolver.known(*pair), pairs)
    table = {pair: alias.entity for pair, alias in zip(pairs, aliases, strict=True)}
    limit = _rate(table.get, pairs)
    unknown = [(_misprinted(raw), scope) for raw, scope in random.sample(pairs, UNKNOWN)]
    abroad = [(raw, "BL-selejtező") for raw, _ in unknown]
    resolver.resolve("Warm Up", "Svéd 2.")  # The index is built when first needed.
    peer = _rate(lambda pair: extractOne(pair[0], names), unknown[:PEER_SAMPLE])
    return [
        _row("known names", known, None, limit, 300_000),
        _row("unknown names, country known", _rate(lambda pair: resolver.resolve(*pair), unknown), peer, limit, 3_000),
        _row("unknown names, any country", _rate(lambda pair: resolver.resolve(*pair), abroad), peer, limit, 3_000),
    ]


def _row(name: str, ours: float, peer: float | None, limit: float, goal: int) -> dict[str, Any]:
    rounded = None if peer is None else round(peer)
    measured = {"name": name, "ours": round(ours), "peer": rounded, "limit": round(limit), "unit": "names/CPU s"}
    measured["lower_is_better"] = False
    return {**measured, "goal": f">= {goal:,}", "ok": ours >= goal}


def _rate(answer: Callable[[tuple[str, str]], object], pairs: Sequence[tuple[str, str]]) -> float:
    started = time.process_time()
    for pair in pairs:
        answer(pair)
    return len(pairs) / (time.process_time() - started)


def _aliases() -> list[KnownName]:
    """Invented names of one to three words, half of them from real clubs, spread over the leagues of all countries."""
    words = sorted({word for spelling in registered() for word in spelling.name.words})
    syllables = (
        "ba",
        "ro",
        "vi",
        "ken",
        "dal",
        "stad",
        "mor",
        "li",
        "tran",
        "go",
        "ser",
        "pe",
        "lu",
        "nik",
        "zo",
        "var",
    )
    leagues = [f"{country.adjectives[0]} bajnokság" for country in countries()]

    def word() -> str:
        invented = "".join(random.choices(syllables, k=random.choice((2, 3, 3, 4))))
        return (random.choice(words) if random.random() < 0.5 else invented).title()

    def name() -> str:
        return " ".join(word() for _ in range(random.choice((1, 2, 2, 2, 3))))

    return [KnownName(raw := name(), random.choice(leagues), f"xx.{at}", raw, "senior") for at in range(ALIASES)]


def _misprinted(name: str) -> str:
    at = random.randrange(len(name))
    return name[:at] + random.choice("aeionrst") + name[at + 1 :]
