"""What a person may tell the alerter: I take care of it, be silent about this, say something to this channel."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import text

from tidemill.alerter import standing
from tidemill.alerter.alerts import Acknowledged
from tidemill.alerter.hiding import Silence
from tidemill.alerter.matchers import FORM, InvalidMatcher, Matcher
from tidemill.alerter.standing import Standing
from tidemill.alerter.tell import acknowledged, outgoing
from tidemill.common.bus.parameters import moment, word
from tidemill.common.bus.step import WHO, Answer, Change, Command, CommandRefused, Tx
from tidemill.common.channels import Deliveries, Message, To, Unsendable

ADD = text("""
INSERT INTO alerter.silences (matchers, author, comment, starts_at, ends_at)
VALUES (:matchers, :author, :comment, :starts_at, :ends_at) RETURNING id
""")
END = text("UPDATE alerter.silences SET ends_at = :now WHERE id = :id AND ends_at > :now RETURNING matchers")


class Commands:
    """The handlers."""

    def __init__(self, deliveries: Deliveries, now: Callable[[], datetime]) -> None:
        self._deliveries = deliveries
        self._now = now

    def commands(self) -> list[Command]:
        return [
            Command(
                verb="ack",
                handle=self.ack,
                description="Somebody takes care of alerts: nobody is told again until they are over",
                parameters={
                    "alert": "its id, as the message and the list show it",
                    "match": "or all that fire and match: [source=demo]",
                    "note": "what is done about it",
                    "until": "snooze: as if nobody had, from then on: 2h, or a time",
                    **WHO,
                },
            ),
            Command(
                verb="silence",
                handle=self.silence,
                description="Tell nobody of what matches, for a time",
                parameters={
                    "match": "matchers, all of which must hold: [rule=run_failed, source=demo]",
                    "until": "when it ends: 2h, or a time",
                    "from": "when it begins; without it now",
                    "comment": "why",
                    **WHO,
                },
            ),
            Command(
                verb="end_silence",
                handle=self.end_silence,
                description="End a silence before its time",
                parameters={"silence": "its number", **WHO},
            ),
            Command(
                verb="test_channel",
                handle=self.test_channel,
                description="Send a message through a channel, to see whether it arrives",
                parameters={"channel": "its name", **WHO},
            ),
        ]

    async def ack(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        now = self._now()
        await tx.execute(standing.LOCK)
        chosen = self._chosen(await standing.find_alerts(tx), parameters)
        by, note = word(parameters, "actor") or "unknown", word(parameters, "note")
        until = moment(parameters, "until", now)
        taken = [
            replace(
                each,
                alert=replace(each.alert, acknowledged=Acknowledged(by=by, at=now, note=note, until=until)),
                version=each.version + 1,
            )
            for each in chosen
        ]
        await standing.save_alerts(tx, taken)
        ids = [each.alert.id for each in taken]
        said = {"note": note, "until": until.isoformat(timespec="seconds") if until else ""}
        return Answer(
            {"acknowledged": ids, **said},
            [outgoing(each, acknowledged(each.alert)) for each in taken],
            Change("alert.ack", ", ".join(ids), after=said),
        )

    def _chosen(self, known: Mapping[str, Standing], parameters: Mapping[str, Any]) -> list[Standing]:
        id = word(parameters, "alert")
        matchers = _matchers(parameters)
        if bool(id) == bool(matchers):
            raise CommandRefused('say which: {"alert": "run_failed-1f0a9c2b7d"} or {"match": ["source=demo"]}')
        firing = {each.alert.id: each for each in known.values() if each.alert.firing}
        if matchers:
            found = [each for each in firing.values() if _all_hold(matchers, each)]
        else:
            found = [each for key, each in firing.items() if key == id]
        if not found:
            there = ", ".join(sorted(firing)[:5]) or "none"
            raise CommandRefused(f"no alert that fires is {id or _written(matchers)}; those that do: {there}", "404")
        return found

    async def silence(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        now = self._now()
        matchers = _matchers(parameters)
        if not matchers:
            raise CommandRefused(f"say what is to be silent in match; {FORM}")
        ends = moment(parameters, "until", now)
        if ends is None:
            raise CommandRefused("say until when: 2h, 1d, 2026-12-24T18:00+01:00; a silence always ends")
        starts = moment(parameters, "from", now) or now
        if starts >= ends:
            raise CommandRefused("it would end before it begins")
        author, comment = word(parameters, "actor") or "unknown", word(parameters, "comment")
        said = {
            "matchers": [str(matcher) for matcher in matchers],
            "author": author,
            "comment": comment,
            "starts_at": starts,
            "ends_at": ends,
        }
        number = int(await tx.scalar(ADD, said) or 0)
        silence = Silence(id=number, matchers=matchers, author=author, comment=comment, starts_at=starts, ends_at=ends)
        known = await standing.find_alerts(tx)
        hides = [each.alert.id for each in known.values() if each.alert.firing and silence.hides(each.alert, now)]
        body = {"silence": number, "ends_at": ends.isoformat(timespec="seconds"), "hides": hides}
        return Answer(body, change=Change("alert.silence", _written(matchers), after=body | {"comment": comment}))

    async def end_silence(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        number = parameters.get("silence")
        if not isinstance(number, int) or isinstance(number, bool):
            raise CommandRefused('say which: {"silence": 3}; `tidemill alerts silences` shows them')
        matchers = await tx.scalar(END, {"id": number, "now": self._now()})
        if matchers is None:
            raise CommandRefused(
                f"there is no silence {number} that lasts; `tidemill alerts silences` shows them", "404"
            )
        return Answer({"silence": number, "ended": True}, change=Change("alert.end_silence", " ".join(matchers)))

    async def test_channel(self, tx: Tx, id: str, parameters: Mapping[str, Any]) -> Answer:
        now = self._now()
        channel, actor = word(parameters, "channel"), word(parameters, "actor") or "somebody"
        message = Message(
            id=f"test/{id}"[:500],
            kind="alert.test",
            subject=f"[test] Tidemill reaches {channel}"[:300],
            text=f"{actor} wanted to know whether this channel works. It does; nothing else has happened.\n",
            at=now,
        )
        try:
            count = await self._deliveries.enqueue(tx, message, [To(channel)])
        except Unsendable as wrong:
            raise CommandRefused(str(wrong), "404") from wrong
        return Answer({"message": message.id, "recipients": count}, change=Change("alert.test_channel", channel))


def _matchers(parameters: Mapping[str, Any]) -> tuple[Matcher, ...]:
    written = parameters.get("match") or []
    if isinstance(written, str):
        written = [written]
    if not isinstance(written, list) or not all(isinstance(each, str) for each in written):
        raise CommandRefused(f"match is a list of texts; {FORM}")
    try:
        return tuple(map(Matcher.parse, written))
    except InvalidMatcher as wrong:
        raise CommandRefused(str(wrong)) from wrong


def _all_hold(matchers: Sequence[Matcher], each: Standing) -> bool:
    return all(matcher.holds(each.alert.matchable) for matcher in matchers)


def _written(matchers: Sequence[Matcher]) -> str:
    return " ".join(map(str, matchers))
