"""What an operator may change about the alerter: rules, who is told and when, what is not told."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from tidemill.alerter.hiding import Inhibition, Maintenance
from tidemill.alerter.matchers import Matcher
from tidemill.alerter.notify import Escalation, Pace
from tidemill.alerter.rules import Length, Positive, Rule, RuleName, problems
from tidemill.alerter.shipped import shipped_inhibitions, shipped_rules
from tidemill.common.config.heartbeat import HeartbeatSettings
from tidemill.common.config.settings import Settings
from tidemill.schedule import Cron, Days, Schedule, find_zone

Path = tuple[str | int, ...]


def _matchers(written: tuple[str, ...]) -> tuple[str, ...]:
    for each in written:
        Matcher.parse(each)
    return written


class InhibitSettings(Settings):
    """While an alert of `when` fires, those of `hides` are its consequences, and not told."""

    enabled: bool = True
    when: tuple[str, ...] = ()
    """Matchers of the cause: `rule=host_blocked`."""
    hides: tuple[str, ...] = ()
    """Matchers of its consequences."""
    equal: tuple[str, ...] = ()
    """Labels in which both have the same value: `[source]`."""

    _read = field_validator("when", "hides")(_matchers)

    def inhibition(self, name: str) -> Inhibition:
        return Inhibition(
            name=name,
            when=tuple(map(Matcher.parse, self.when)),
            hides=tuple(map(Matcher.parse, self.hides)),
            equal=self.equal,
        )


class MaintenanceSettings(Settings):
    """Times at which trouble is expected and not told; what fires stays to be seen."""

    match: tuple[str, ...] = ()
    """Matchers of what is hidden; without them, everything."""
    begins: str = ""
    """When a window begins, as a cron expression on the clock of `zone`."""
    lasts: Length = timedelta(0)
    """How long after that."""
    days: tuple[str, ...] = ()
    """Whole days on that clock: `2026-12-24`, `2026-12-24..2026-12-26`."""
    zone: str = "UTC"
    """IANA time zone."""

    _read = field_validator("match")(_matchers)

    @field_validator("begins")
    @classmethod
    def _cron_is_readable(cls, begins: str) -> str:
        if begins:
            Cron.parse(begins)
        return begins

    @field_validator("zone")
    @classmethod
    def _zone_is_known(cls, zone: str) -> str:
        find_zone(zone)
        return zone

    @field_validator("days")
    @classmethod
    def _days_are_readable(cls, days: tuple[str, ...]) -> tuple[str, ...]:
        for each in days:
            Days.parse(each)
        return days

    @model_validator(mode="after")
    def _comes_at_all(self) -> "MaintenanceSettings":
        if bool(self.begins) != bool(self.lasts):
            raise ValueError("a window that comes again has both begins and lasts")
        if not self.begins and not self.days:
            raise ValueError("is never; write begins and lasts, or days")
        return self

    def window(self, name: str) -> Maintenance:
        return Maintenance(
            name=name,
            matchers=tuple(map(Matcher.parse, self.match)),
            begins=Schedule(timing=Cron.parse(self.begins or "0 0 * * *"), zone=find_zone(self.zone)),
            lasts=self.lasts,
            days=tuple(map(Days.parse, self.days)),
        )


class EscalationSettings(Settings):
    """One step up."""

    after: Positive
    """Nobody acknowledged for so long."""
    to: tuple[str, ...]
    """Channels that are told then."""


class RouteSettings(Settings):
    """Who is told of which alerts, and how often."""

    match: tuple[str, ...] = ()
    """Matchers, all of which must hold; without them, every alert."""
    to: tuple[str, ...] = ()
    """Channels."""
    group_by: tuple[str, ...] = ("rule", "source")
    """Alerts with the same values of these labels are one message."""
    group_wait: Length = timedelta(seconds=30)
    """How long the first message of a group waits for more of the same."""
    group_interval: Length = timedelta(minutes=5)
    """Least time between messages about news of a group."""
    repeat: Positive = timedelta(hours=4)
    """Time between messages about what is known and goes on, flapping or not."""
    escalate: tuple[EscalationSettings, ...] = ()
    """Who else is told when nobody acknowledges, in the order of time."""
    goes_on: bool = False
    """Also look at the routes after this one."""

    _read = field_validator("match")(_matchers)

    @property
    def pace(self) -> Pace:
        return Pace(
            to=self.to,
            wait=self.group_wait,
            interval=self.group_interval,
            repeat=self.repeat,
            escalations=tuple(Escalation(after=step.after, to=step.to) for step in self.escalate),
        )


class FlappingSettings(Settings):
    """When an alert counts as flapping: told so once, and its end only when it has settled."""

    times: Annotated[int, Field(ge=2)] = 4
    """It fired so often …"""
    within: Positive = timedelta(hours=6)
    """… in this time; it has settled when it fired half as often."""


class EmergencySettings(Settings):
    """What is told when Postgres is away, and the alerter with it: from files of `data_dir`."""

    after: Annotated[Positive, Field(le=timedelta(hours=1))] = timedelta(minutes=1)
    """How long it has to be away."""
    to: tuple[str, ...] = ()
    """Channels; without them, all that routes name."""


class AlerterSettings(Settings):
    """The alerter: what is worth a person's attention, and who is told."""

    rules: dict[RuleName, Rule] = Field(default_factory=dict)
    """Rules by name: new ones, and what is to be different in those that ship (`tidemill alerts rules` shows all)."""
    routes: tuple[RouteSettings, ...] = ()
    """The first that matches says who is told. Without any, alerts are kept and shown, and nobody is told."""
    inhibit: dict[RuleName, InhibitSettings] = Field(default_factory=dict)
    """Causes and consequences by name: new ones, and what is to be different in those that ship."""
    maintenance: dict[RuleName, MaintenanceSettings] = Field(default_factory=dict)
    """Windows in which nothing is told, by name."""
    flapping: FlappingSettings = FlappingSettings()
    emergency: EmergencySettings = EmergencySettings()
    heartbeat: HeartbeatSettings = HeartbeatSettings()
    look_every: Annotated[Positive, Field(le=timedelta(minutes=5))] = timedelta(seconds=15)
    """How often rules are held against what is known."""

    @model_validator(mode="after")
    def _rules_are_whole(self) -> "AlerterSettings":
        wrong = [
            *(
                (("rules", name, key), sentence)
                for name, rule in self.all_rules().items()
                for key, sentence in (problems(rule) if rule.enabled else ())
            ),
            *self._inhibitions_are_whole(),
        ]
        if wrong:
            raise ValidationError.from_exception_data("AlerterSettings", [_detail(*each) for each in wrong])
        return self

    def all_rules(self) -> dict[str, Rule]:
        """Those that ship with what was changed, and new ones; also what is switched off."""
        return _laid_over(shipped_rules(), self.rules)

    def active_rules(self) -> dict[str, Rule]:
        return {name: rule for name, rule in self.all_rules().items() if rule.enabled}

    def inhibitions(self) -> tuple[Inhibition, ...]:
        known = _laid_over(shipped_inhibitions(InhibitSettings), self.inhibit)
        return tuple(each.inhibition(name) for name, each in known.items() if each.enabled)

    def windows(self) -> tuple[Maintenance, ...]:
        return tuple(each.window(name) for name, each in self.maintenance.items())

    def channels(self) -> dict[Path, str]:
        """Every channel that is named, by where it is."""
        found: dict[Path, str] = {("emergency", "to", n): name for n, name in enumerate(self.emergency.to)}
        for n, route in enumerate(self.routes):
            found |= {("routes", n, "to", m): name for m, name in enumerate(route.to)}
            for k, step in enumerate(route.escalate):
                found |= {("routes", n, "escalate", k, "to", m): name for m, name in enumerate(step.to)}
        return found

    @property
    def emergency_channels(self) -> tuple[str, ...]:
        """Who is told when Postgres is away."""
        return self.emergency.to or tuple(dict.fromkeys(name for route in self.routes for name in route.to))

    def _inhibitions_are_whole(self) -> Iterator[tuple[Path, str]]:
        for name, each in _laid_over(shipped_inhibitions(InhibitSettings), self.inhibit).items():
            for key in ("when", "hides"):
                if each.enabled and not getattr(each, key):
                    yield ("inhibit", name, key), f"is missing; without it, every alert would be {_MEANT[key]}"


_MEANT = {"when": "the cause", "hides": "a consequence"}


def _laid_over(shipped: dict[str, Any], written: dict[str, Any]) -> dict[str, Any]:
    def one(name: str) -> Any:
        if name not in written or name not in shipped:
            return written.get(name) or shipped[name]
        said = written[name]
        return shipped[name].model_copy(update={key: getattr(said, key) for key in said.model_fields_set})

    return {name: one(name) for name in (*shipped, *(name for name in written if name not in shipped))}


def _detail(path: Path, sentence: str) -> InitErrorDetails:
    return InitErrorDetails(
        type=PydanticCustomError("value_error", "{error}", {"error": sentence}), loc=path, input=None
    )
