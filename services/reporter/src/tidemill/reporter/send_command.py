"""What a person may tell the reporter: send this report, or try again what no channel took."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from sqlalchemy import text

from tidemill.common.bus.step import WHO, Answer, Change, Command, CommandRefused, Tx
from tidemill.common.config.channels import mail_address
from tidemill.reporter.deciding import Wish
from tidemill.reporter.send_rules import Attached, unknown_channel
from tidemill.reporter.sending import Sending
from tidemill.reporter.sendings import FAILED, Edition

FIND = text("""
SELECT kind, subject, edition, source FROM reporter.reports
WHERE (:about = '' AND kind = 'day' OR subject = :about OR kind || '-' || subject = :about)
    AND (:edition = 0 OR edition = :edition)
ORDER BY day DESC, edition DESC LIMIT 1
""")
FORMS = get_args(Attached)


def send_command(sending: Sending) -> Command:
    """`send`: answered when it is stated; it goes at once after that."""

    async def send(tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        answer = await (_again if _truth(parameters, "again_failed") else _send)(tx, id, parameters, sending)
        sending.wake()
        return answer

    return Command(
        verb="send",
        handle=send,
        description="Send a report, whether it was sent before or not; or try again what no channel took",
        parameters={
            "about": "a day as 2025-06-17, or the id of a run or a report; the newest day without it",
            "edition": "this one; the last without it",
            "to": "channels, separated by commas; those of the rules for such reports without it",
            "recipient": "mail addresses, separated by commas, in the place of those that a mail channel names",
            "attach": "forms that go along with mail, separated by commas: pdf, xlsx, csv, html, json",
            "again_failed": "true: try again what was given up; `about`, `to` and `recipient` choose among that",
            **WHO,
        },
    )


async def _send(tx: Tx, id: str, parameters: Mapping[str, Any], sending: Sending) -> Answer:
    edition, source = await _edition(tx, parameters)
    wishes = _wishes(edition, source, parameters, sending)
    await sending.ask(tx, edition, wishes, id)
    told = [{"channel": one.channel, "recipient": one.recipient, "attach": list(one.attach)} for one in wishes]
    body = {"report": str(edition), "kind": edition.kind, "about": edition.subject, "edition": edition.edition}
    return Answer({**body, "sent_to": told}, change=Change("report.send", str(edition), after={"to": told}))


async def _edition(tx: Tx, parameters: Mapping[str, Any]) -> tuple[Edition, str]:
    """And the source of a report on a run."""
    about, number = str(parameters.get("about", "")), _number(parameters.get("edition", 0))
    row = (await tx.execute(FIND, {"about": about, "edition": number})).first()
    if row is None:
        which = f", edition {number}" if number else ""
        raise CommandRefused(
            f"there is no report of {about or 'a day'}{which}; `tidemill report build` makes one", "404"
        )
    return Edition(row.kind, row.subject, row.edition), row.source


def _number(given: Any) -> int:
    try:
        return int(given or 0)
    except (TypeError, ValueError):
        raise CommandRefused(f"an edition is a number, not {given!r}") from None


def _wishes(edition: Edition, source: str, parameters: Mapping[str, Any], sending: Sending) -> list[Wish]:
    """To the channels that are named, or by the rules for such reports, whatever they say of when."""
    to, recipients = _several(parameters, "to"), _several(parameters, "recipient")
    attach = _forms(_several(parameters, "attach"))
    wishes = [Wish(channel, recipient, attach) for channel in to for recipient in recipients or ("",)]
    for rule in sending.rules if not to else ():
        if rule.report == edition.kind and (not source or rule.means(source)):
            told = recipients or rule.recipients or ("",)
            wishes += [Wish(channel, recipient, attach or rule.attach) for channel in rule.to for recipient in told]
    if not wishes:
        known = ", ".join(sorted(sending.channels)) or "but the section channels has none"
        raise CommandRefused(f"no rule of reporter.send is for such a report; name a channel: {known}")
    found = {(wish.channel, wish.recipient): wish for wish in wishes}
    for wish in found.values():
        _check(wish, sending)
    return list(found.values())


def _check(wish: Wish, sending: Sending) -> None:
    channel = sending.channels.get(wish.channel)
    if channel is None:
        raise CommandRefused(unknown_channel(wish.channel, sending.channels), "404")
    if wish.recipient:
        try:
            mail_address(wish.recipient)
        except ValueError as wrong:
            raise CommandRefused(str(wrong)) from None
        if channel.mail is None:
            raise CommandRefused(f"{wish.channel} takes no address: it is {channel.way}, not mail")
    elif not channel.recipients:
        raise CommandRefused(f"{wish.channel} names nobody; say who gets it, or set channels.{wish.channel}.mail.to")


def _forms(given: Sequence[str]) -> tuple[str, ...]:
    unknown = [form for form in given if form not in FORMS]
    if unknown:
        raise CommandRefused(f"{unknown[0]!r} does not go along with mail; what does: {', '.join(FORMS)}")
    return tuple(given)


async def _again(tx: Tx, id: str, parameters: Mapping[str, Any], sending: Sending) -> Answer:
    about = str(parameters.get("about", ""))
    to, recipients = _several(parameters, "to") or ("",), _several(parameters, "recipient") or ("",)
    chosen = [{"subject": about, "channel": one, "recipient": who} for one in to for who in recipients]
    failed = [row for each in chosen for row in (await tx.execute(FAILED, each)).mappings()]
    told = [dict(row) for row in failed if await sending.deliveries.again(tx, *row.values())]
    change = Change("report.send_again", about or "all", after={"to": told}) if told else None
    return Answer({"again": told}, change=change)


def _several(parameters: Mapping[str, Any], name: str) -> tuple[str, ...]:
    given = parameters.get(name) or ()
    each = given.split(",") if isinstance(given, str) else map(str, given)
    return tuple(dict.fromkeys(stripped for one in each if (stripped := one.strip())))


def _truth(parameters: Mapping[str, Any], name: str) -> bool:
    return parameters.get(name) in (True, "true", "yes", 1, "1")
