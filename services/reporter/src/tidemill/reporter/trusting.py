"""Pure: how far the figures of a report can be trusted, and why."""

from collections.abc import Iterator, Sequence

from tidemill.reporter.facts import Facts
from tidemill.reporter.inputs import EVERY
from tidemill.reporter.report import AnomalyShown, Freshness, Verdict

WORST = ("failed", "timed_out", "blocked", "cancelled", "partial", "complete")
"""The worst first."""
FAILED = frozenset(WORST[:4])
SHOWN = 5
REJECTED_SHARE = 0.1
"""So many of all rows rejected, and the rest is doubtful."""


def worst(states: Sequence[str]) -> str:
    return next((state for state in WORST if state in states), states[0] if states else "")


def judge_trust(
    facts: Facts, freshness: Sequence[Freshness], anomalies: Sequence[AnomalyShown]
) -> tuple[Verdict, list[str]]:
    """`untrusted` where something that counts is not there at all, or a blocking check says no; `doubtful` where a part
    is missing or unusual. The reasons, the gravest first."""
    grave = list(_grave(facts))
    doubts = list(_doubts(facts, freshness, anomalies))
    verdict: Verdict = "untrusted" if grave else "doubtful" if doubts else "trusted"
    return verdict, [*grave, *doubts]


def _grave(facts: Facts) -> Iterator[str]:
    for row in facts.sources:
        if set(row["states"]) <= FAILED:
            yield f"Of {row['source']} no run came to its end: {worst(row['states'])}."
    ran = {row["source"] for row in facts.sources}
    for source, slots in facts.inputs.expected.items():
        if slots and source not in ran and source not in facts.inputs.open:
            yield f"{source} was expected and did not run."
    for row in facts.checks:
        if row["severity"] == "block":
            yield f"{row['source']} did not pass {row['name']}: {row['message']}."


def _doubts(facts: Facts, freshness: Sequence[Freshness], anomalies: Sequence[AnomalyShown]) -> Iterator[str]:
    for lack in facts.inputs.lacks:
        yield f"{lack.why}." if lack.source == EVERY else f"{lack.source}: {lack.why}."
    for one in freshness:
        if one.stale:
            yield f"{one.name} brought nothing for long."
    critical = [one for one in anomalies if one.severity == "critical"]
    yield from (f"{one.sentence}." for one in critical[:SHOWN])
    if len(critical) > SHOWN:
        yield f"{len(critical) - SHOWN} more measures are far from what is usual."
    rejected = sum(row["count"] for row in facts.rejected)
    rows = rejected + sum(facts.stored.values())
    if rejected > REJECTED_SHARE * rows:
        yield f"{rejected:,} of {rows:,} rows could not become records."
