"""What channels may be, and what a mistake in one is told as."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tidemill.common.config import ConfigError, load_config
from tidemill.common.config.channels import WITH_FALLBACK, WITHOUT_FALLBACK, Channel
from tidemill.common.config.settings import Settings

MAIL = "mail: {host: mail.example.org, from: tidemill@example.org, to: [anna@example.org]"


def load(folder: Path, text: str) -> dict[str, Channel]:
    (folder / "tidemill.yaml").write_text(text)
    return load_config(folder, services={}, environ={}).common.channels


def test_channels_are_read_with_what_they_leave_out(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        f"""
channels:
  operators:
    {MAIL}, user: tidemill, password: "${{env:SMTP_PASSWORD}}"}}
    fallback: chat
  chat: {{slack: {{url: "${{env:SLACK_URL}}"}}, rate: 1/s}}
  hook: {{webhook: {{url: "https://example.org/hook", secret: "${{file:/run/secrets/hook}}"}}, give_up_after: 2h}}
  phone: {{apprise: {{url: "tgram://${{env:TELEGRAM_TOKEN}}/1"}}}}
""",
    )
    assert [channel.way for channel in found.values()] == ["mail", "slack", "webhook", "apprise"]
    operators, chat, hook, _ = found.values()
    assert operators.mail is not None and (operators.mail.port, operators.mail.security) == (587, "starttls")
    assert (operators.patience, chat.patience) == (WITH_FALLBACK, WITHOUT_FALLBACK)
    assert hook.patience.total_seconds() == 7200
    assert operators.recipients == ("anna@example.org",) and chat.recipients == ("",)
    assert (chat.pace[0], chat.pace[1].total_seconds()) == (1, 1)
    assert (hook.pace[0], hook.pace[1].total_seconds()) == (60, 60)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"a: {{{MAIL}, user: u, password: hunter2x}}}}", "holds a secret in plain text"),
        (f"a: {{{MAIL}, user: u}}}}", "a login has both user and password"),
        (f"a: {{{MAIL}, user: u, password: '${{env:P}}', security: none}}}}", "in the clear"),
        ('a: {mail: {host: h, from: "a@b.org\\r\\nBcc: c@d.org"}}', "is not a mail address"),
        ("a: {mail: {host: h, from: A <a@b.org>}}", "is not a mail address"),
        ("a: {slack: {url: https://hooks.slack.com/services/T/B/secret}}", "holds a secret in plain text"),
        ("a: {webhook: {url: 'https://u:pw@example.org/', secret: '${env:S}'}}", "holds a secret in plain text"),
        ("a: {webhook: {url: 'ftp://example.org/', secret: '${env:S}'}}", "begins with ftp://"),
        ("a: {}", "write exactly one of mail, webhook, slack, apprise"),
        ("a: {slack: {url: '${env:S}'}, apprise: {url: '${env:S}'}}", "has slack and apprise"),
        ("a: {slack: {url: '${env:S}'}, fallback: b}", "a falls back to b, which is no channel"),
        (
            "{a: {slack: {url: '${env:S}'}, fallback: b}, b: {slack: {url: '${env:S}'}, fallback: a}}",
            "fallbacks go in a circle: a → b → a",
        ),
        ("a: {slack: {url: '${env:S}'}, wording: {text: '{% if %}'}}", "is no template"),
        ("a: {slack: {url: '${env:S}'}, colour: red}", "unknown key"),
        ("a: {slack: {url: '${env:S}'}, rate: often}", "rate"),
        ("A b: {slack: {url: '${env:S}'}}", "does not have the form"),
    ],
)
def test_a_mistake_is_told_and_no_secret_with_it(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, f"channels: {text}\n" if text.startswith("{") else f"channels:\n  {text}\n")
    told = str(refused.value)
    assert why in told
    for secret in ("hunter2x", "/T/B/secret", "u:pw@"):
        assert secret not in told


def test_a_printed_configuration_shows_no_secret(tmp_path: Path) -> None:
    from tidemill.common.config import printable

    found: Any = load(tmp_path, "channels: {a: {slack: {url: 'https://chat.example/canary-${env:S}'}}}")
    assert "canary" not in repr(found) and "canary" not in str(printable(found["a"]))


class Telling(Settings):
    to: tuple[str, ...] = ()

    def unmet(self, channels: Mapping[str, Channel]) -> dict[tuple[str | int, ...], str]:
        return {("to", n): f"there is no channel {name}" for n, name in enumerate(self.to) if name not in channels}


def test_a_section_that_names_channels_is_held_against_them(tmp_path: Path) -> None:
    chat = 'channels: {chat: {slack: {url: "${env:S}"}}}'
    (tmp_path / "tidemill.yaml").write_text(f"{chat}\ntelling:\n  to:\n    - chat\n    - phone\n")
    with pytest.raises(ConfigError) as refused:
        load_config(tmp_path, services={"telling": Telling}, environ={})
    assert str(refused.value) == "tidemill.yaml:5:7: telling.to[1]: there is no channel phone"
