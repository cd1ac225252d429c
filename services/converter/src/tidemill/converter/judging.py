"""Which records of a document pass the checks of its source file, and which are held. Pure."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

import orjson

from tidemill.common.checks import Failing, Times, judge_record
from tidemill.common.config.checks import Check, Severity
from tidemill.converter.content import CheckedRecord
from tidemill.converter.identity import Ref
from tidemill.plugin import Dataset

PARENT = "parent"
"""Name of the check that a record fails whose parent is held."""
CHILDREN_FROM = 1_000_000
"""Places of records that are held with their parents: behind all others of the part."""
EXAMPLES = 3
"""Of each check and part, kept with their keys."""


@dataclass(frozen=True, slots=True)
class Held:
    """A record that must not be stated."""

    place: int
    """In the part: parents before what stands under them."""
    record: CheckedRecord
    failing: Sequence[Failing]
    """Those of severity block."""

    @property
    def checks(self) -> list[str]:
        return [one.check for one in self.failing]

    @property
    def reason(self) -> str:
        return "; ".join(one.message for one in self.failing)


@dataclass(slots=True)
class Finding:
    """A check that records of a part do not pass."""

    severity: Severity
    failed: int = 0
    examples: list[dict[str, str]] = field(default_factory=list)

    def add(self, key: str, message: str) -> None:
        self.failed += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append({"key": key, "message": message})


@dataclass(slots=True)
class Judged:
    """The records of a part, told apart."""

    passed: list[CheckedRecord] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    findings: dict[str, Finding] = field(default_factory=dict)
    """By the name of the check; also of those that only warn."""


def judge(records: Sequence[CheckedRecord], checks: Sequence[Check], times: Times) -> Judged:
    """Tell the records that pass from those to hold."""
    judged = Judged()
    for place, record in enumerate(records):
        failing = failing_of(record, checks, times)
        for one in failing:
            judged.findings.setdefault(one.check, Finding(one.severity)).add(record.key, one.message)
        blocking = tuple(one for one in failing if one.blocks)
        if blocking:
            judged.held.append(Held(place, record, blocking))
        else:
            judged.passed.append(record)
    return judged


def pointless(checks: Sequence[Check], stated: Sequence[str], datasets: Mapping[str, Dataset]) -> str | None:
    """What no record can ever fail, because nothing has the field: a slip of the pen would pass for good data. `stated`
    are the datasets of the converter; nothing can be told where its options decide."""
    for check in checks:
        if check.dataset and check.dataset not in datasets:
            return f"check {check.called}: there is no dataset {check.dataset}; there are: {', '.join(datasets)}"
        models = [datasets[name].model for name in ([check.dataset] if check.dataset else stated) if name in datasets]
        if ("*" in stated and not check.dataset) or any(model.model_config.get("extra") == "allow" for model in models):
            continue
        known = {field for model in models for field in model.model_fields}
        for path in check.reads:
            if known and path not in known and path.partition(".")[0] not in known:
                return f"check {check.called}: no record has a field {path}. Valid fields: {', '.join(sorted(known))}"
    return None


def failing_of(record: CheckedRecord, checks: Sequence[Check], times: Times) -> list[Failing]:
    if not checks:
        return []
    return judge_record(checks, record.dataset, orjson.loads(record.data), record.quality, times)


def hold_children(
    passed: Sequence[CheckedRecord], held: Sequence[Held], earlier: Set[Ref]
) -> tuple[list[CheckedRecord], list[Held]]:
    """Hold what stands under a record that is held, here or (`earlier`) in a part before; the store would find it
    without its parent."""
    missing = {_ref(one.record) for one in held} | earlier
    missing -= {_ref(record) for record in passed}
    kept, with_children = [], list(held)
    for place, record in enumerate(passed):
        if record.parent is not None and record.parent in missing:
            with_children.append(Held(CHILDREN_FROM + place, record, (parent_is_held(record.parent),)))
            missing.add(_ref(record))
        else:
            kept.append(record)
    return kept, with_children


def parent_is_held(parent: Ref) -> Failing:
    return Failing(PARENT, "block", f"its parent {parent[0]} {parent[1]} is in quarantine")


def has_parents(records: Iterable[CheckedRecord]) -> bool:
    return any(record.parent is not None for record in records)


def _ref(record: CheckedRecord) -> Ref:
    return record.dataset, record.key
