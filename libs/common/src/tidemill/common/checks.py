"""Judges records and runs by the checks of a source file. Pure: what is not in its arguments it does not know.

A value that is missing passes every check but `required`; a check that cannot be worked out fails, and says why.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import Any

from tidemill.common.config.checks import DOCUMENT_TIME, NOW, RECEIVED, Check, Kind, Severity
from tidemill.extract.model import pattern_of

Value = str | bool | int | float | None | list[Any] | dict[str, Any]

PATIENCE_SECONDS = 0.2
"""For one regular expression on one text of a stranger."""
SHOWN = 60
USUAL_RUNS = 8
"""So many earlier runs say what is usual."""
DROP_AT_MOST = 0.3


@dataclass(frozen=True, slots=True)
class Failing:
    """A check that a record does not pass."""

    check: str
    severity: Severity
    message: str
    """Names field, value and bound."""

    @property
    def blocks(self) -> bool:
        return self.severity == "block"


@dataclass(frozen=True, slots=True)
class Times:
    """What the words of `to` stand for, each with time zone."""

    now: datetime
    received: datetime
    document_time: datetime
    """The document's own time; when it was received, where it says none."""

    def get(self, word: str) -> datetime | None:
        return {NOW: self.now, RECEIVED: self.received, DOCUMENT_TIME: self.document_time}.get(word)


def judge_record(
    checks: Sequence[Check], dataset: str, data: Mapping[str, Any], quality: float, times: Times
) -> list[Failing]:
    """The checks that this record does not pass, in their order; those of runs are left out."""
    found = []
    for check in checks:
        if not check.judges_records or check.dataset not in ("", dataset) or not applies(check, data):
            continue
        message = _wrong(check, data, quality, times)
        if message is not None:
            found.append(Failing(check.called, check.severity, message))
    return found


def applies(check: Check, data: Mapping[str, Any]) -> bool:
    """Whether the record says what `when` asks for."""
    return all(_same(value_at(data, name), wanted) for name, wanted in check.when.items())


def value_at(data: Mapping[str, Any], path: str) -> Value:
    """The value of a field, or of one within it (`odds.home`); None where there is none."""
    if path in data:
        found: Value = data[path]
        return found
    outer, dot, inner = path.partition(".")
    within = data.get(outer) if dot else None
    return value_at(within, inner) if isinstance(within, Mapping) else None


def _wrong(check: Check, data: Mapping[str, Any], quality: float, times: Times) -> str | None:
    if check.check == "quality":
        return _outside("quality", quality, check)
    if check.check == "ratio":
        return _wrong_ratio(check, data)
    value = value_at(data, check.field)
    if value in (None, "", [], {}):
        return f"{check.field} is missing" if check.check == "required" else None
    if judge := EACH.get(check.check):
        return next((said for name, each in _each(check.field, value) if (said := judge(name, each, check))), None)
    if check.check == "compare":
        return _wrong_order(check, value, data, times)
    return _wrong_sum(check, value) if check.check == "sum_of_inverse" else None


def _each(name: str, value: Value) -> Iterator[tuple[str, Value]]:
    """The values of a list or mapping, or the one there is, with their names."""
    if isinstance(value, list):
        for place, one in enumerate(value):
            yield from _each(f"{name}[{place}]", one)
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _each(f"{name}.{key}", one)
    elif value is not None:
        yield name, value


def _in_range(name: str, value: Value, check: Check) -> str | None:
    number = number_of(value)
    return f"{name} is {shown(value)}, which is no number" if number is None else _outside(name, number, check)


def _fits(name: str, value: Value, check: Check) -> str | None:
    try:
        fits = pattern_of(check.pattern).fullmatch(_text(value), timeout=PATIENCE_SECONDS)
    except TimeoutError:
        return f"{name} is {shown(value)}, for which {check.pattern} takes too long"
    return None if fits else f"{name} is {shown(value)}, which does not fit {check.pattern}"


def _known(name: str, value: Value, check: Check) -> str | None:
    if any(_same(value, allowed) for allowed in check.values):
        return None
    return f"{name} is {shown(value)}, and not one of {', '.join(map(shown, check.values))}"


EACH: Mapping[Kind, Callable[[str, Value, Check], str | None]] = {
    "range": _in_range,
    "pattern": _fits,
    "one_of": _known,
}
"""Kinds that judge every value of a list or mapping."""


def _wrong_ratio(check: Check, data: Mapping[str, Any]) -> str | None:
    names = check.fields
    upper, lower = (value_at(data, name) for name in names)
    if upper is None or lower is None:
        return None
    over, under = number_of(upper), number_of(lower)
    for name, value, number in ((names[0], upper, over), (names[1], lower, under)):
        if number is None:
            return f"{name} is {shown(value)}, which is no number"
    assert over is not None and under is not None
    if under == 0:
        return f"{names[0]} / {names[1]} cannot be worked out: {names[1]} is 0"
    return _outside(f"{names[0]} / {names[1]} ({figure(over)} / {figure(under)})", over / under, check)


def _wrong_sum(check: Check, value: Value) -> str | None:
    total = 0.0
    for name, one in _each(check.field, value):
        number = number_of(one)
        if number is None or number <= 0:
            return f"{name} is {shown(one)}; only of positive numbers there is a sum of inverses"
        total += 1 / number
    return _outside(f"the sum of 1 / {check.field}", total, check)


def _wrong_order(check: Check, value: Value, data: Mapping[str, Any], times: Times) -> str | None:
    assert check.op is not None and check.to is not None
    name = ""
    other: Value | datetime = check.to
    if isinstance(check.to, str):
        name = check.to
        other = times.get(name) or value_at(data, name)
        if other in (None, ""):
            return None
    pair = _comparable(value, other)
    if pair is None:
        return f"{check.field} is {shown(value)}, which cannot be compared with {_named(name, other)}"
    left, right = pair
    holds = {
        "<": left < right,
        "<=": left <= right,
        "==": left == right,
        "!=": left != right,
        ">=": left >= right,
        ">": left > right,
    }[check.op]
    return None if holds else f"{check.field} is {shown(value)}, and not {check.op} {_named(name, other)}"


def _comparable(value: Value, other: Value | datetime) -> tuple[Any, Any] | None:
    """Both as numbers, as moments, as days, or as texts; None where they have nothing in common."""
    numbers = number_of(value), number_of(other) if not isinstance(other, datetime) else None
    if None not in numbers:
        return numbers
    moments = moment_of(value), moment_of(other)
    if moments[0] is not None and moments[1] is not None:
        if _is_day(value) or _is_day(other):
            return moments[0].date(), moments[1].date()
        return moments
    if isinstance(value, str) and isinstance(other, str):
        return value, other
    return None


def number_of(value: Any) -> float | None:
    """Of a number, or of a text that is one, as decimals are kept."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def moment_of(value: Any) -> datetime | None:
    """Of a time, or of a text in ISO form; without a zone it is UTC."""
    if isinstance(value, str) and len(value) >= len("2025-01-01"):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _is_day(value: Any) -> bool:
    return isinstance(value, str) and len(value) == len("2025-01-01")


def _same(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return value is wanted
    return bool(value == wanted)


def _outside(name: str, number: float, check: Check) -> str | None:
    if check.least is not None and number < check.least:
        return f"{name} is {figure(number)}, less than {figure(check.least)}"
    if check.most is not None and number > check.most:
        return f"{name} is {figure(number)}, more than {figure(check.most)}"
    return None


def figure(number: float) -> str:
    """As people write it: with four decimals at most, and more only where it is tiny."""
    return f"{round(number, 4):.12g}" if abs(number) >= 0.001 or number == 0 else f"{number:.4g}"


def shown(value: Any) -> str:
    """As a sentence has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return figure(value)
    text = str(value)
    text = text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
    return f'"{text}"' if isinstance(value, str) else text


def _text(value: Value) -> str:
    return shown(value) if isinstance(value, bool | float) else str(value)


def _named(name: str, value: Any) -> str:
    said = f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else shown(value)
    return f"{name} ({said})" if name else said


@dataclass(frozen=True, slots=True)
class Past:
    """An earlier complete run."""

    at: datetime
    """On the clock by which weekdays count."""
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What is known of a run where it is judged; None is not known there, and checks of it are left out."""

    at: datetime
    """When it was due or asked for, on the clock by which weekdays count."""
    count: int | None = None
    """Targets that its searches listed; of a source without searches, records that it stated."""
    history: Sequence[Past] = ()
    """Earlier complete runs, in any order."""
    tried: int | None = None
    failed: int = 0
    """Of those tried."""
    coverage: Mapping[str, tuple[int, int]] | None = None
    """By field: pages or records that have it, of how many."""
    shared: Mapping[str, tuple[int, Sequence[str]]] = field(default_factory=dict)
    """By the name of a check `unique`: records that are not alone with what they say, and some of their keys."""
    points: int | None = None
    """Records with coordinates that were held against footprints."""
    placed: int = 0
    """Of those, inside a building or near one."""
    quality: float | None = None
    """Mean of its records."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a check says of a run."""

    check: str
    severity: Severity
    passed: bool
    message: str
    """Names value and bound, also where it passed."""
    value: float | None = None

    @property
    def blocks(self) -> bool:
        return not self.passed and self.severity == "block"


def judge_run(checks: Sequence[Check], facts: RunFacts) -> list[Result]:
    """One result for each check of runs about which something is known, in their order."""
    found = []
    for check in checks:
        judged = None if check.judges_records else _judged(check, facts)
        if judged is not None:
            passed, message, value = judged
            found.append(Result(check.called, check.severity, passed, message, value))
    return found


def blocking(results: Sequence[Result]) -> str | None:
    """Why nothing may be declared gone, as a sentence; None if it may."""
    return "; ".join(f"{one.check}: {one.message}" for one in results if one.blocks) or None


Judged = tuple[bool, str, float | None]
"""Passed, message, value."""


def _judged(check: Check, facts: RunFacts) -> Judged | None:
    judge = OF_RUNS.get(check.check)
    return judge(check, facts) if judge else None


def _judged_failures(check: Check, facts: RunFacts) -> Judged | None:
    if facts.tried is None:
        return None
    return _judged_share(check, facts.failed, facts.tried, "failed", "nothing was tried")


def _judged_coverage(check: Check, facts: RunFacts) -> Judged | None:
    if facts.coverage is None:
        return None
    have, of = facts.coverage.get(check.field, (0, 0))
    return _judged_share(check, have, of, f"have {check.field}", f"nothing came that could have {check.field}")


def _judged_footprint(check: Check, facts: RunFacts) -> Judged | None:
    if facts.points is None:
        return None
    what = "points stand inside a building or near one"
    return _judged_share(check, facts.placed, facts.points, what, "no point was held against footprints")


def _judged_quality(check: Check, facts: RunFacts) -> Judged | None:
    if facts.quality is None:
        return None
    wrong = _outside("the mean quality", facts.quality, check)
    return wrong is None, wrong or f"the mean quality is {figure(facts.quality)}", facts.quality


def _judged_share(check: Check, some: int, of: int, what: str, nothing: str) -> Judged:
    if of == 0:
        return True, nothing, None
    share = some / of
    said = f"{some} of {of} {what} ({_percent(share)})"
    if check.least is not None and share < check.least:
        return False, f"{said}, less than {_percent(check.least)}", share
    if check.most is not None and share > check.most:
        return False, f"{said}, more than {_percent(check.most)}", share
    return True, said, share


def _judged_unique(check: Check, facts: RunFacts) -> Judged | None:
    if check.called not in facts.shared:
        return None
    count, examples = facts.shared[check.called]
    said = f"{count} records are not alone with their {', '.join(check.fields)}"
    some = f": {', '.join(examples)}" if examples else ""
    return count <= (check.most or 0), said + some, float(count)


def _judged_count(check: Check, facts: RunFacts) -> Judged | None:
    count = facts.count
    if count is None:
        return None
    said = f"{count} found"
    if count == 0 and check.zero_allowed:
        return True, f"{said}, which happens here", 0.0
    if check.least is not None and count < check.least:
        return False, f"{said}, less than {figure(check.least)}", float(count)
    usual, of_what = usual_count(facts.history, facts.at)
    if usual is None:
        return count > 0 or check.least is not None, f"{said}; no earlier run says what is usual", float(count)
    drop_at_most = DROP_AT_MOST if check.drop_at_most is None else check.drop_at_most
    said = f"{said}, usual are {figure(usual)} ({of_what})"
    if count < usual * (1 - drop_at_most):
        drop = 1 - count / usual
        return False, f"{said}: {_percent(drop)} fewer, more than {_percent(drop_at_most)}", float(count)
    return True, said, float(count)


OF_RUNS: Mapping[Kind, Callable[[Check, RunFacts], Judged | None]] = {
    "count": _judged_count,
    "failures": _judged_failures,
    "coverage": _judged_coverage,
    "unique": _judged_unique,
    "footprint": _judged_footprint,
    "mean_quality": _judged_quality,
}


def usual_count(history: Sequence[Past], at: datetime) -> tuple[float | None, str]:
    """The median of the latest earlier runs of the same weekday, of any day while there are none; and of what it is."""
    earlier = sorted((past for past in history if past.at < at), key=lambda past: past.at, reverse=True)
    same = [past for past in earlier if past.at.weekday() == at.weekday()]
    chosen = (same or earlier)[:USUAL_RUNS]
    if not chosen:
        return None, ""
    of_what = f"{len(chosen)} earlier {f'{at:%A}s' if same else 'runs'}"
    return median(past.count for past in chosen), of_what


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
