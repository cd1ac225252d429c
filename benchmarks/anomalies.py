"""Anomalies of known days in series as sources have them: how many are found, how many quiet days are called one."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from tidemill.reporter.anomalies import Kind, Past, judge

FIRST = date(2025, 1, 6)
DAYS = 200
JUDGED_FROM = 14
"""Two weeks are history alone; for two more, weekdays have too little of their own."""
ANOMALOUS = 0.03
SEEDS = 30
RECALL_GOAL, FALSE_ALARMS_GOAL = 0.9, 2.0
SEEN_FROM = 30
"""A count is made anomalous where so many were expected: what is wrong with fewer, nobody can tell from noise."""

Series = Callable[[random.Random], list[float]]


@dataclass(frozen=True)
class Sort:
    """Series of one sort: what is quiet about them, and what an anomaly is."""

    kind: Kind
    quiet: Series
    wrong: Callable[[random.Random, float], float]


def run() -> list[dict[str, Any]]:
    rows = []
    total = Score()
    for name, sort in SORTS.items():
        score = measure(sort, range(SEEDS))
        total = total.plus(score)
        rows.append(row(f"false alarms, {name}", score.false_alarms, "of 100 quiet days", None, lower=True))
        if score.found + score.missed:
            rows.append(row(f"recall, {name}", score.recall, "", None, lower=False))
    third = measure(Sort("count", listings, a_third_fewer), range(SEEDS))
    rows.append(row("recall, listings a third fewer", third.recall, "", None, lower=False))
    rows.append(row("false alarms, all", total.false_alarms, "of 100 quiet days", FALSE_ALARMS_GOAL, lower=True))
    rows.append(row("recall, all", total.recall, "", RECALL_GOAL, lower=False))
    rows.append(row("precision, all", total.precision, "", None, lower=False))
    return rows


@dataclass(frozen=True)
class Score:
    found: int = 0
    missed: int = 0
    alarms: int = 0
    quiet: int = 0

    def plus(self, more: "Score") -> "Score":
        return Score(
            self.found + more.found, self.missed + more.missed, self.alarms + more.alarms, self.quiet + more.quiet
        )

    @property
    def recall(self) -> float:
        return self.found / max(1, self.found + self.missed)

    @property
    def precision(self) -> float:
        return self.found / max(1, self.found + self.alarms)

    @property
    def false_alarms(self) -> float:
        return 100 * self.alarms / max(1, self.quiet)


def measure(sort: Sort, seeds: range) -> Score:
    """Each day is judged by the days before it as they were measured, anomalies among them."""
    score = Score()
    for seed in seeds:
        measured: list[Past] = []
        for day, value, anomalous in with_anomalies(sort, random.Random(seed)):
            if (day - FIRST).days >= JUDGED_FROM:
                verdict = judge(sort.kind, measured, day, value)
                raised = verdict is not None and verdict.severity is not None
                score = score.plus(
                    Score(
                        found=anomalous and raised,
                        missed=anomalous and not raised,
                        alarms=raised and not anomalous,
                        quiet=not anomalous,
                    )
                )
            measured.append(Past(day, value))
    return score


def with_anomalies(sort: Sort, chance: random.Random) -> Iterator[tuple[date, float, bool]]:
    for number, value in enumerate(sort.quiet(chance)):
        seen = sort.kind != "count" or value >= SEEN_FROM
        anomalous = number >= JUDGED_FROM and seen and chance.random() < ANOMALOUS
        yield FIRST + timedelta(days=number), sort.wrong(chance, value) if anomalous else value, anomalous


def listings(chance: random.Random) -> list[float]:
    """New listings a day: few at weekends, slowly more of them, noise beyond that of Poisson."""
    mean = chance.uniform(60, 900)
    growth = chance.uniform(-0.0015, 0.003)
    week = [1.0, 1.1, 1.05, 1.0, 0.9, 0.35, 0.25]
    noise = chance.uniform(0.04, 0.12)
    return [
        float(poisson(chance, mean * math.exp(growth * day) * week[day % 7] * math.exp(chance.gauss(0, noise))))
        for day in range(DAYS)
    ]


def offers(chance: random.Random) -> list[float]:
    """Matches of a paper that comes on two days of the week; none on the others, and none on a holiday."""
    mean = chance.uniform(150, 500)
    return [
        float(poisson(chance, mean * math.exp(chance.gauss(0, 0.1))))
        if day % 7 in (1, 4) and chance.random() > 0.01
        else 0.0
        for day in range(DAYS)
    ]


def sometimes_none(chance: random.Random) -> list[float]:
    """Files of a partner who sends none on one day of eight, whatever the weekday."""
    mean = chance.uniform(40, 300)
    return [
        0.0 if chance.random() < 0.125 else float(poisson(chance, mean * math.exp(chance.gauss(0, 0.08))))
        for _ in range(DAYS)
    ]


def small(chance: random.Random) -> list[float]:
    """Failures a day: a few, now and then none."""
    mean = chance.uniform(0.3, 12)
    return [float(poisson(chance, mean)) for _ in range(DAYS)]


def steady(chance: random.Random) -> list[float]:
    """Pages of a search that hardly ever change their number."""
    pages = chance.randint(35, 120)
    return [float(pages + (chance.random() < 0.1)) for _ in range(DAYS)]


def coverage(chance: random.Random) -> list[float]:
    """The share of records with a field."""
    mean = chance.uniform(0.8, 0.99)
    noise = chance.uniform(0.003, 0.02)
    return [min(1.0, max(0.0, chance.gauss(mean, noise))) for _ in range(DAYS)]


def price_level(chance: random.Random) -> list[float]:
    """The median price per m² of a city: it wanders, by little."""
    level = chance.uniform(2000, 9000)
    values = []
    for _ in range(DAYS):
        level *= math.exp(chance.gauss(0.0002, 0.004))
        values.append(level * math.exp(chance.gauss(0, 0.008)))
    return values


def margin(chance: random.Random) -> list[float]:
    """The mean overround of an offer: small numbers, which hardly differ."""
    return [chance.gauss(0.085, 0.003) for _ in range(DAYS)]


def duration(chance: random.Random) -> list[float]:
    """Seconds that a run takes: longer on busy days, now and then half as long again."""
    base = chance.uniform(30, 2000)
    week = [1.2, 1.2, 1.1, 1.0, 1.0, 0.7, 0.7]
    return [
        base * week[day % 7] * math.exp(chance.gauss(0, 0.12)) * (1.5 if chance.random() < 0.02 else 1.0)
        for day in range(DAYS)
    ]


def poisson(chance: random.Random, mean: float) -> int:
    if mean > 200:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    limit, product, count = math.exp(-mean), chance.random(), 0
    while product > limit:
        product *= chance.random()
        count += 1
    return count


def fewer_or_many(chance: random.Random, value: float) -> float:
    """Nothing at all, less than half, or more than twice as many."""
    return float(round(value * chance.choice([0.0, chance.uniform(0.05, 0.45), chance.uniform(2.2, 5.0)])))


def some_left(chance: random.Random, value: float) -> float:
    return float(round(value * chance.choice([chance.uniform(0.05, 0.45), chance.uniform(2.2, 5.0)])))


def a_third_fewer(chance: random.Random, value: float) -> float:
    """Nothing that a person would see at once; it does not count for the goal."""
    return float(round(value * chance.uniform(0.6, 0.7)))


def a_fifth_gone(chance: random.Random, value: float) -> float:
    return max(0.0, value - chance.uniform(0.15, 0.6))


def off_by_a_quarter(chance: random.Random, value: float) -> float:
    return value * chance.choice([chance.uniform(0.5, 0.8), chance.uniform(1.25, 2.0)])


def off_by_cents(chance: random.Random, value: float) -> float:
    return max(0.0, value + chance.choice([-1, 1]) * chance.uniform(0.04, 0.1))


def much_longer(chance: random.Random, value: float) -> float:
    return value * chance.uniform(3, 12)


SORTS = {
    "listings": Sort("count", listings, fewer_or_many),
    "offers on two days": Sort("count", offers, fewer_or_many),
    "none now and then": Sort("count", sometimes_none, some_left),
    "small counts": Sort("count", small, fewer_or_many),
    "steady counts": Sort("count", steady, fewer_or_many),
    "coverage": Sort("share", coverage, a_fifth_gone),
    "price level": Sort("level", price_level, off_by_a_quarter),
    "overround": Sort("level", margin, off_by_cents),
    "duration": Sort("level", duration, much_longer),
}


def row(name: str, value: float, unit: str, goal: float | None, *, lower: bool) -> dict[str, Any]:
    return {
        "name": name,
        "ours": round(value, 4),
        "peer": None,
        "limit": None,
        "unit": unit,
        "goal": None if goal is None else f"{'≤' if lower else '≥'} {goal:g}",
        "ok": None if goal is None else (value <= goal if lower else value >= goal),
        "lower_is_better": lower,
    }
