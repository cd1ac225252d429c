"""One look at everything: which alerts change, and which groups are told. Pure."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tidemill.alerter.alerts import Alert, Seen, State, Timing, advance, alert_id
from tidemill.alerter.conditions import Facts, judge
from tidemill.alerter.hiding import Hiding, Silence
from tidemill.alerter.notify import Decision, Group, Reason, decide
from tidemill.alerter.policy import Policy, Route
from tidemill.alerter.rules import Rule
from tidemill.alerter.standing import Standing, Words, group_id
from tidemill.alerter.words import words_of

GONE = Timing()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An alert whose state is another than before."""

    before: State | None
    standing: Standing


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    standings: Mapping[str, Standing]
    """All, as they are now."""
    changed: Sequence[Standing]
    """Those that are not as they were."""
    dropped: Sequence[str]
    changes: Sequence[Change]
    decisions: Sequence[Decision]
    regrouped: Sequence[Decision]
    """Those whose group is not as it was."""


def look(
    policy: Policy,
    facts: Facts,
    known: Mapping[str, Standing],
    groups: Mapping[str, Group],
    silences: Sequence[Silence],
    now: datetime,
    *,
    fresh: Collection[str] | None = None,
) -> Looked:
    """`fresh`: events of which something came since the last look; rules about others cannot have begun to hold."""
    moved: dict[str, Standing] = {}
    dropped: list[str] = []
    for before, alert in _advanced(policy, facts, known, now, fresh):
        if alert is None:
            dropped += [before.alert.id] if before else []
        else:
            moved[alert.id] = _worded(policy, before, alert)
    standings = {id: each for id, each in {**known, **moved}.items() if id not in dropped}
    hiding = Hiding(inhibitions=policy.inhibitions, silences=silences, maintenance=policy.windows)
    hidden = hiding.reasons([each.alert for each in standings.values()], now)
    standings = {id: _hidden(each, hidden.get(id, "")) for id, each in standings.items()}
    changes = list(_changes(known, standings))
    standings |= {each.standing.alert.id: each.standing for each in changes}
    decisions = list(_decided(policy, standings, groups, hidden, now))
    return Looked(
        standings=standings,
        changed=[each for id, each in standings.items() if _is_worth_keeping(known.get(id), each, policy)],
        dropped=[id for id in dropped if id in known],
        changes=changes,
        decisions=decisions,
        regrouped=[each for each in decisions if groups.get(_id(each.group)) != each.group],
    )


def _advanced(
    policy: Policy, facts: Facts, known: Mapping[str, Standing], now: datetime, fresh: Collection[str] | None
) -> Iterator[tuple[Standing | None, Alert | None]]:
    by_rule: dict[str, dict[str, Standing]] = defaultdict(dict)
    for id, standing in known.items():
        by_rule[standing.alert.rule][id] = standing
    for name, rule in policy.rules.items():
        mine = by_rule.pop(name, {})
        if not mine and not _may_hold(rule, facts, fresh):
            continue
        timing = policy.timings[name]
        seen = {alert_id(name, labels := dict(key)): (labels, what) for key, what in judge(rule, facts, now).items()}
        for id, (labels, what) in seen.items():
            before = mine.get(id)
            alert = before.alert if before else Alert(rule=name, severity=rule.severity, labels=labels)
            yield before, advance(replace(alert, severity=rule.severity), what, timing, now)
        yield from _over({id: each for id, each in mine.items() if id not in seen}, timing, now)
    for mine in by_rule.values():  # Their rules are gone.
        yield from _over(mine, GONE, now)


def _may_hold(rule: Rule, facts: Facts, fresh: Collection[str] | None) -> bool:
    if rule.measure is not None:
        return bool(facts.samples.get(rule.measure))
    return fresh is None or rule.event in fresh


def _over(
    mine: Mapping[str, Standing], timing: Timing, now: datetime
) -> Iterator[tuple[Standing | None, Alert | None]]:
    for standing in mine.values():
        yield standing, advance(standing.alert, None, timing, now)


def _worded(policy: Policy, before: Standing | None, alert: Alert) -> Standing:
    """What was said of an alert stays when it is over: its facts are."""
    rule = policy.rules.get(alert.rule)
    old = before.words if before else Words()
    seen = before.alert.seen if before else Seen()
    words = words_of(rule, alert) if rule and (alert.seen != seen or not old.summary) else old
    return replace(before or Standing(alert=alert), alert=alert, words=words)


def _hidden(standing: Standing, reason: str) -> Standing:
    return standing if standing.hidden == reason else replace(standing, hidden=reason)


def _changes(known: Mapping[str, Standing], standings: Mapping[str, Standing]) -> Iterator[Change]:
    for id, standing in standings.items():
        before = known[id].alert.state if id in known else None
        if before is not standing.alert.state:
            yield Change(before=before, standing=replace(standing, version=standing.version + 1))


def _decided(
    policy: Policy,
    standings: Mapping[str, Standing],
    groups: Mapping[str, Group],
    hidden: Mapping[str, str],
    now: datetime,
) -> Iterator[Decision]:
    routes = {route.name: route for route in policy.routes}
    members: dict[str, list[Alert]] = defaultdict(list)
    wanted: dict[str, tuple[Route, Group]] = {
        id: (routes[group.route], group)
        for id, group in groups.items()
        if group.route in routes and (group.opened_at or group.told)
    }
    for standing in standings.values():
        alert = standing.alert
        for route in policy.routes_of(alert) if alert.firing or alert.resolved_at else ():
            labels = route.labels_of(alert)
            id = group_id(route.name, labels)
            members[id].append(alert)
            if alert.firing and id not in wanted:
                wanted[id] = route, groups.get(id) or Group(route=route.name, labels=labels)
    for id, (route, group) in wanted.items():
        decision = decide(group, members[id], hidden, route.pace, now)
        if decision.reason is not Reason.NOTHING or decision.group != group:
            yield decision


def _id(group: Group) -> str:
    return group_id(group.route, group.labels)


def _is_worth_keeping(before: Standing | None, standing: Standing, policy: Policy) -> bool:
    """When a condition held last matters only to rules that keep firing through gaps."""
    if before is None or before == standing:
        return before is None
    timing = policy.timings.get(standing.alert.rule, GONE)
    if timing.keep:
        return True
    return replace(before.alert, held_at=None) != replace(standing.alert, held_at=None) or (
        before.hidden,
        before.words,
        before.version,
    ) != (standing.hidden, standing.words, standing.version)
