"""What the configuration says of alerts, ready to be used."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tidemill.alerter.alerts import Alert, Timing
from tidemill.alerter.hiding import Inhibition, Maintenance
from tidemill.alerter.matchers import Matcher, all_hold
from tidemill.alerter.notify import Pace
from tidemill.alerter.rules import Rule
from tidemill.alerter.settings import AlerterSettings, RouteSettings
from tidemill.common.config.channels import Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    name: str
    """Of what it matches and whom it tells: a route that tells others is another one."""
    matchers: tuple[Matcher, ...]
    group_by: tuple[str, ...]
    pace: Pace
    goes_on: bool

    @classmethod
    def of(cls, said: RouteSettings) -> "Route":
        return cls(
            name=f"{' '.join(said.match) or 'all'} > {' '.join(said.to)}",
            matchers=tuple(map(Matcher.parse, said.match)),
            group_by=said.group_by,
            pace=said.pace,
            goes_on=said.goes_on,
        )

    def labels_of(self, alert: Alert) -> dict[str, str]:
        """Of the group that the alert belongs to."""
        known = alert.matchable
        return {name: known.get(name, "") for name in self.group_by}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    rules: Mapping[str, Rule]
    timings: Mapping[str, Timing]
    routes: Sequence[Route]
    inhibitions: Sequence[Inhibition]
    windows: Sequence[Maintenance]

    @classmethod
    def of(cls, settings: AlerterSettings) -> "Policy":
        rules = settings.active_rules()
        flapping = settings.flapping
        return cls(
            rules=rules,
            timings={name: rule.timing(flapping.times, flapping.within) for name, rule in rules.items()},
            routes=tuple(map(Route.of, settings.routes)),
            inhibitions=settings.inhibitions(),
            windows=settings.windows(),
        )

    def routes_of(self, alert: Alert) -> list[Route]:
        """Those by which somebody is told of it, in their order."""
        found: list[Route] = []
        for route in self.routes:
            if all_hold(route.matchers, alert.matchable):
                found.append(route)
                if not route.goes_on:
                    break
        return found

    @property
    def events(self) -> frozenset[str]:
        """Those that rules ask about."""
        named = (
            name for rule in self.rules.values() for name in (rule.event, rule.clears.event if rule.clears else None)
        )
        return frozenset(name for name in named if name)


def unreachable(settings: AlerterSettings, channels: Mapping[str, Channel]) -> dict[tuple[str | int, ...], str]:
    """Channels of routes that nobody hears, by where they are named, each with a sentence."""
    known = ", ".join(sorted(channels)) or "none"
    found: dict[tuple[str | int, ...], str] = {}
    for path, name in settings.channels().items():
        if name not in channels:
            found[path] = f"there is no channel {name}; the section channels has {known}"
        elif not channels[name].recipients:
            found[path] = f"channel {name} names nobody; set channels.{name}.mail.to"
    return found
