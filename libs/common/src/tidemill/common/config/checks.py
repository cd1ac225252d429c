"""What a source file expects of its records and runs: the list `checks`."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from tidemill.common.config.settings import Settings
from tidemill.extract.model import pattern_of

Kind = Literal[
    "required",
    "range",
    "pattern",
    "one_of",
    "compare",
    "ratio",
    "sum_of_inverse",
    "quality",
    "count",
    "failures",
    "coverage",
    "unique",
    "footprint",
    "mean_quality",
]
Severity = Literal["warn", "block"]
Operator = Literal["<", "<=", "==", "!=", ">=", ">"]
Share = Annotated[float, Field(ge=0, le=1)]

NOW, RECEIVED, DOCUMENT_TIME = "now", "received", "document_time"
TIMES = (NOW, RECEIVED, DOCUMENT_TIME)

BOUNDS = ("least", "most")
NEEDS: Mapping[Kind, tuple[str, ...]] = {
    "required": ("field",),
    "range": ("field",),
    "pattern": ("field", "pattern"),
    "one_of": ("field", "values"),
    "compare": ("field", "op", "to"),
    "ratio": ("fields",),
    "sum_of_inverse": ("field",),
    "quality": ("least",),
    "count": (),
    "failures": ("most",),
    "coverage": ("field", "least"),
    "unique": ("fields",),
    "footprint": ("least",),
    "mean_quality": ("least",),
}
"""Keys that a kind cannot do without."""
TAKES: Mapping[Kind, tuple[str, ...]] = {
    "range": BOUNDS,
    "ratio": BOUNDS,
    "sum_of_inverse": BOUNDS,
    "count": ("drop_at_most", "least", "zero_allowed"),
    "unique": ("most",),
}
"""Keys that a kind takes besides."""
OF_RECORDS: tuple[Kind, ...] = (
    "required",
    "range",
    "pattern",
    "one_of",
    "compare",
    "ratio",
    "sum_of_inverse",
    "quality",
)
"""Kinds that judge one record; the others judge a run."""
OF_DATASETS: tuple[Kind, ...] = (*OF_RECORDS, "unique")
"""Kinds that may be restricted to a dataset."""
KEYS = ("field", "fields", "least", "most", "pattern", "values", "op", "to", "drop_at_most", "zero_allowed")
ALWAYS = ("check", "name", "severity")


class Check(Settings):
    """What is expected of each record, or of a run as a whole. A record that fails one of severity `block` goes to the
    quarantine; a run that does declares nothing gone. See docs/quality.md."""

    check: Kind
    """What is looked at."""
    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)] = ""
    """What results call it; made of kind and fields where it is not given."""
    severity: Severity = "warn"
    """`warn` is counted and shown; `block` also holds the record, or what the run would declare gone."""
    dataset: str = ""
    """Only records of this dataset; without it, all that have the field."""
    when: dict[str, str | bool | float] = Field(default_factory=dict)
    """Only records that say this: `{price_kind: sale}`."""
    field: str = ""
    """Of the record, or of the page; `odds.home` is within `odds`."""
    fields: tuple[str, ...] = ()
    """Two to divide (`ratio`), or those that together tell records apart (`unique`)."""
    least: float | None = None
    """The smallest value that passes; of shares and qualities from 0 to 1, of `count` a number of targets."""
    most: float | None = None
    """The greatest value that passes."""
    pattern: str = ""
    """Regular expression that the whole text fits."""
    values: tuple[str | bool | float, ...] = ()
    """Those that are allowed."""
    op: Operator | None = None
    """How `field` stands to `to`."""
    to: str | float | None = None
    """A number, another field, or one of the times `now`, `received`, `document_time`."""
    drop_at_most: Share | None = None
    """Share of the usual count that may be missing; the usual one is the median of earlier complete runs of the same
    weekday. 0.3 where nothing is said."""
    zero_allowed: bool = False
    """Whether a count of 0 is nothing unusual."""

    @property
    def called(self) -> str:
        """Its name, or the one made of kind and fields."""
        parts = (self.check, self.field, *self.fields)
        return self.name or "_".join(part.lower().replace(".", "_") for part in parts if part)

    @property
    def judges_records(self) -> bool:
        return self.check in OF_RECORDS

    @property
    def reads(self) -> tuple[str, ...]:
        """Fields of the record that it looks at."""
        to = (self.to,) if isinstance(self.to, str) and self.to not in TIMES else ()
        return tuple(filter(None, (self.field, *self.fields, *to, *self.when)))

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> "Check":
        needs = NEEDS[self.check]
        missing = [key for key in needs if getattr(self, key) in (None, "", ())]
        if missing:
            raise ValueError(f"{self.check} needs {' and '.join(missing)}")
        takes = (*needs, *TAKES.get(self.check, ()))
        also = ("dataset", "when") if self.check in OF_DATASETS else ()
        for key in ("dataset", "when", *KEYS):
            if key in self.model_fields_set and key not in (*takes, *also):
                raise ValueError(f"{self.check} takes no {key}. Valid keys: {', '.join((*ALWAYS, *takes, *also))}")
        return self

    @model_validator(mode="after")
    def _makes_sense(self) -> "Check":
        if self.check in ("range", "ratio", "sum_of_inverse") and self.least is None and self.most is None:
            raise ValueError(f"{self.check} needs least or most")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise ValueError(f"least {self.least:g} is more than most {self.most:g}")
        if self.check == "ratio" and len(self.fields) != 2:
            raise ValueError(f"ratio divides the first of two fields by the second, not {len(self.fields)}")
        if self.check in ("quality", "failures", "coverage", "footprint", "mean_quality"):
            for bound in (self.least, self.most):
                if bound is not None and not 0 <= bound <= 1:
                    raise ValueError(f"{self.check} is a share from 0 to 1, not {bound:g}")
        if self.pattern:
            pattern_of(self.pattern)
        return self


def each_once(checks: tuple[Check, ...]) -> tuple[Check, ...]:
    """Results are kept by name."""
    names = [check.called for check in checks]
    twice = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if twice is not None:
        raise ValueError(f"has two checks called {twice}; give one of them another name")
    return checks


AT_PAGES: tuple[Kind, ...] = ("count", "failures", "coverage")
"""Of a source that scrapes, its scraper knows them, before anything is declared gone; of others the converter does."""
