"""Pure: to whom an edition of a report goes, and why not to whom it does not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from tidemill.reporter.days import Day
from tidemill.reporter.send_rules import SendSettings

if TYPE_CHECKING:
    from tidemill.reporter.report import Report  # It comes with the first report.

Reason = Literal["", "nothing_changed", "nothing_unusual", "trusted", "doubtful", "corrected", "not_over", "old"]
"""Why not; empty: it goes."""


@dataclass(frozen=True, slots=True)
class Wish:
    """One report for one recipient of one channel."""

    channel: str
    recipient: str = ""
    """Empty: whom the channel names."""
    attach: tuple[str, ...] = ()
    reason: Reason = ""


def decide(rules: Sequence[SendSettings], report: "Report", now: datetime, deadline: timedelta) -> list[Wish]:
    """One wish for each recipient, whatever the number of rules that name it: it goes if one of them wants it, with all
    that those want attached."""
    found: dict[tuple[str, str], Wish] = {}
    for rule in rules:
        if not _concerns(rule, report):
            continue
        reason = _reason_not_to(rule, report, now, deadline)
        for channel in rule.to:
            for recipient in rule.recipients or ("",):
                wish = Wish(channel, recipient, rule.attach, reason)
                known = found.get((channel, recipient))
                found[channel, recipient] = wish if known is None else _both(known, wish)
    return list(found.values())


def _both(one: Wish, other: Wish) -> Wish:
    if one.reason or other.reason:
        return other if one.reason and not other.reason else one
    return Wish(one.channel, one.recipient, tuple(dict.fromkeys((*one.attach, *other.attach))))


def _concerns(rule: SendSettings, report: "Report") -> bool:
    told = {*(row.source for row in report.changes), *(gap.source for gap in report.missing)}
    return rule.report == report.kind and (not rule.sources or any(map(rule.means, told)))


def _reason_not_to(rule: SendSettings, report: "Report", now: datetime, deadline: timedelta) -> Reason:
    return next(_reasons(rule, report, now, deadline), "")


def _reasons(rule: SendSettings, report: "Report", now: datetime, deadline: timedelta) -> Iterator[Reason]:
    end = Day(report.day, ZoneInfo(report.zone)).end
    if report.kind == "day" and now < end:
        yield "not_over"  # Somebody looked at it early; it goes when its day is over.
    if now > end + deadline + rule.no_older_than:
        yield "old"
    if report.corrected and not rule.corrected:
        yield "corrected"
    verdict = report.trust.verdict
    match rule.when:
        case "if_something_changed" if verdict == "trusted" and not _changed(rule, report):
            yield "nothing_changed"
        case "if_unusual" if not report.anomalies:
            yield "nothing_unusual"
        case "if_doubtful" | "if_not_to_be_trusted" if verdict == "trusted":
            yield "trusted"
        case "if_not_to_be_trusted" if verdict == "doubtful":
            yield "doubtful"


def _changed(rule: SendSettings, report: "Report") -> bool:
    told = [row for row in report.changes if rule.means(row.source)]
    return any(row.new or row.changed or row.gone or row.reappeared for row in told)
