"""What an alert is: a condition on events or on a measured value, as the section `alerter.rules` writes it."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from tidemill.alerter.alerts import Timing
from tidemill.alerter.measures.declared import MEASURES
from tidemill.alerter.signals import EVENT_LABELS
from tidemill.alerter.templates import OF_ALERT, mistake
from tidemill.common.config.settings import Settings
from tidemill.common.config.units import Duration
from tidemill.common.config.validate import unknown_choice

RuleName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Severity = Literal["critical", "error", "warning", "info"]
Where = dict[str, tuple[str, ...]]
Positive = Annotated[Duration, Field(gt=timedelta(0))]
Length = Annotated[Duration, Field(ge=timedelta(0))]


def _known_event(name: str | None) -> str | None:
    if name is not None and name not in EVENT_LABELS:
        raise ValueError(unknown_choice(name, EVENT_LABELS))
    return name


class Clears(Settings):
    """What ends an alert on events: a later event about the same labels."""

    event: str | None = None
    """Which; without it, the event of the rule."""
    where: Where = Field(default_factory=dict)
    """What its labels must be: a list of values for each."""

    _event = field_validator("event")(_known_event)


class Rule(Settings):
    """One rule. All keys may be left out of one that changes a rule which ships."""

    enabled: bool = True
    """`false` switches it off."""
    event: str | None = None
    """The condition is on events of this kind."""
    measure: str | None = None
    """The condition is on this measured value."""
    where: Where = Field(default_factory=dict)
    """What labels must be, a list of values for each; others do not count."""
    clears: Clears | None = None
    """Of events: what ends it. Without it, it ends `within` after the last one."""
    at_least: Annotated[int, Field(ge=1)] = 1
    """Of events: so many of them."""
    within: Positive = timedelta(hours=1)
    """Of events: how far back they count."""
    above: float | None = None
    """Of measures: it holds while the value is more."""
    below: float | None = None
    """Of measures: it holds while the value is less."""
    by: tuple[str, ...] | None = None
    """Labels that make an alert of its own; without it, all labels there are. Events are added up over the others."""
    for_: Length = Field(default=timedelta(0), alias="for")
    """How long it has to hold before it fires."""
    keep_firing: Length = timedelta(0)
    """How long it has to be over before it is resolved."""
    severity: Severity = "warning"
    labels: dict[str, str] = Field(default_factory=dict)
    """Added to its alerts, for routes and silences."""
    summary: str = ""
    """One sentence, with names in braces: `{source}: run {state}`."""
    description: str = ""
    """What else to say, in the same form."""
    runbook: str = ""
    """Where it says what to do: a page or an address."""

    _event = field_validator("event")(_known_event)

    @field_validator("measure")
    @classmethod
    def _measure_is_known(cls, name: str | None) -> str | None:
        if name is not None and name not in MEASURES:
            raise ValueError(unknown_choice(name, MEASURES))
        return name

    @property
    def known_labels(self) -> tuple[str, ...]:
        """Labels that its facts have."""
        if self.event is not None:
            return EVENT_LABELS.get(self.event, ())
        return MEASURES[self.measure].labels if self.measure in MEASURES else ()

    @property
    def distinct(self) -> tuple[str, ...]:
        """Labels that make an alert of its own."""
        return self.known_labels if self.by is None else self.by

    @property
    def names(self) -> tuple[str, ...]:
        """What its templates may name."""
        return (*OF_ALERT, *self.known_labels, *self.labels)

    def timing(self, times: int, within: timedelta) -> Timing:
        return Timing(wait=self.for_, keep=self.keep_firing, times=times, within=within)

    def labelled(self, facts: Mapping[str, str]) -> dict[str, str]:
        """The labels of an alert about these facts."""
        return {**{name: facts.get(name, "") for name in self.distinct}, **self.labels}


def problems(rule: Rule) -> Iterator[tuple[str, str]]:
    """What keeps a rule from being held against anything: key and sentence."""
    if (rule.event is None) == (rule.measure is None):
        yield "event", "a rule has a condition: exactly one of event and measure"
        return
    if rule.measure is not None and (rule.above is None) == (rule.below is None):
        yield "measure", "a measured value has a limit: exactly one of above and below"
    if rule.event is not None and (rule.above, rule.below) != (None, None):
        yield "above" if rule.above is not None else "below", "is for measures; events have at_least and within"
    if not rule.summary:
        yield "summary", "is missing; it is what people read first"
    yield from _labels(rule)
    for key in ("summary", "description"):
        if wrong := mistake(getattr(rule, key), rule.names):
            yield key, wrong


def _labels(rule: Rule) -> Iterator[tuple[str, str]]:
    for key, names in (("by", rule.by or ()), ("where", rule.where)):
        for name in names:
            if name not in rule.known_labels:
                yield key, unknown_choice(name, rule.known_labels)
    if rule.clears is None:
        return
    if rule.measure is not None:
        yield "clears", "is for events; a measured value clears itself"
        return
    known = EVENT_LABELS[rule.clears.event or rule.event or ""]
    for name in (*rule.clears.where, *rule.distinct):
        if name not in known:
            yield "clears", f"is about {name}, which {rule.clears.event or rule.event} does not say"
