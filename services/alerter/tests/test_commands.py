"""What a person may ask of the alerter, and what they hear when it makes no sense."""

from typing import Any

import pytest

from tidemill.common.bus.client import CommandFailed

pytestmark = pytest.mark.servers

WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "nothing to take": ("ack", {}, "say which"),
    "two things to take": ("ack", {"alert": "a", "match": ["rule=a"]}, "say which"),
    "an alert that does not fire": ("ack", {"match": ["rule=a"]}, "no alert that fires is rule=a"),
    "nothing to silence": ("silence", {"until": "1h"}, "say what is to be silent"),
    "no matcher": ("silence", {"match": ["paper"], "until": "1h"}, "says of no label"),
    "no list": ("silence", {"match": {"a": 1}, "until": "1h"}, "match is a list"),
    "no end": ("silence", {"match": "rule=a"}, "say until when"),
    "a time that has passed": ("silence", {"match": "rule=a", "until": "2020-01-01"}, "which has passed"),
    "no time": ("silence", {"match": "rule=a", "until": "soon"}, "write 90m, 2h"),
    "an end before its beginning": ("silence", {"match": "rule=a", "until": "1h", "from": "2h"}, "before it begins"),
    "no number": ("end_silence", {"silence": "one"}, "say which"),
    "a silence that is not": ("end_silence", {"silence": 7}, "there is no silence 7"),
    "a channel that is not": ("test_channel", {"channel": "nobody"}, "there is no channel nobody; known: boss, chat"),
    "no text": ("ack", {"alert": 3}, "alert is a text"),
}


async def test_what_makes_no_sense_is_refused_with_a_sentence(station: Any) -> None:
    async with station.running(station.commands.commands()):
        for name, (verb, parameters, says) in WRONG.items():
            with pytest.raises(CommandFailed, match=says) as refused:
                await station.ask(verb, **parameters)
            assert refused.value.code in ("400", "404"), name


async def test_a_test_message_is_stated_for_its_channel_alone(station: Any) -> None:
    async with station.running(station.commands.commands()):
        answer = await station.ask("test_channel", channel="chat", actor="eva")
        assert answer["recipients"] == 1
        assert await station.told() == ["[test] Tidemill reaches chat"]


async def test_a_sign_of_life_is_given_only_while_rules_are_held_against_facts(station: Any) -> None:
    replica = station.make_replica()
    assert await replica.what_is_wrong() == "nobody has held the rules against the facts"
    assert await replica._is_mine()
    assert await replica.what_is_wrong() is None
    station.clock.pass_by(minutes=5)
    assert await replica.what_is_wrong() == "nobody has held the rules against the facts"
