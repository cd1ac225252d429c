"""Ways in which people are told: mail, signed webhooks, chats, and whatever else Apprise reaches."""

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    Field,
    PlainSerializer,
    SerializationInfo,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from tidemill.common.config.politeness import HostPort, Rate, parse_rate
from tidemill.common.config.references import FORMS, Secret, refers, without_references
from tidemill.common.config.secrets import Schemes, ServerUrl, masked
from tidemill.common.config.section import Settings
from tidemill.common.config.units import Duration

WAYS = ("mail", "webhook", "slack", "apprise")
WITH_FALLBACK = timedelta(minutes=10)
WITHOUT_FALLBACK = timedelta(days=1)

_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)*[A-Za-z0-9-]{1,63}", re.ASCII)


def mail_address(text: str) -> str:
    """The address, if it is one and nothing else: no name, no second address, no line end that would begin another
    header. ValueError."""
    if not _ADDRESS.fullmatch(text):
        raise ValueError(f"{text!r} is not a mail address; write one like operator@example.org")
    return text


def _named(secret: Secret) -> Secret:
    if not refers(secret.get_secret_value()):
        raise ValueError(f"holds a secret in plain text; name it instead: {FORMS}")
    return secret


def _without_password(url: str) -> str:
    named = without_references(url)
    if masked(named) != named:
        raise ValueError(f"holds a secret in plain text; name it instead: {FORMS}")
    return url


def _template(text: str) -> str:
    from jinja2 import TemplateSyntaxError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    try:
        ImmutableSandboxedEnvironment().parse(text)
    except TemplateSyntaxError as wrong:
        raise ValueError(f"is no template: {wrong.message} in line {wrong.lineno}") from None
    return text


def _as_written(secret: Secret, asked: SerializationInfo) -> str:
    return secret.get_secret_value() if (asked.context or {}).get("as_written") else str(secret)


SecretReference = Annotated[
    Secret,
    AfterValidator(_named),
    PlainSerializer(_as_written, return_type=str),
    WithJsonSchema({"type": "string", "format": "password", "writeOnly": True}),
]
"""A secret that is named and never written: what is kept of channels on a disk holds none."""
MailAddress = Annotated[str, AfterValidator(mail_address)]
WebUrl = Annotated[ServerUrl, Schemes("http", "https"), AfterValidator(_without_password)]
ChannelName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]


class MailChannel(Settings):
    """Mail over SMTP. A message is sent to each address alone, so that a wrong one keeps it from nobody."""

    host: Annotated[str, StringConstraints(pattern=r"^[^\s/@]+$")]
    """The mail server that takes our mail."""
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    """587 for `starttls`, 465 for `tls`."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    """`starttls` begins in the clear and refuses to go on so, `tls` is encrypted from the start; `none` is for a relay
    on this machine, and refuses a password."""
    ca_file: Path | None = None
    """Certificates (PEM) to trust in the place of the system's, for a server of your own."""
    user: str = ""
    """Name to log in with; without it there is no login."""
    password: SecretReference | None = None
    """For instance `${file:/run/secrets/smtp}`."""
    sender: Annotated[MailAddress, Field(alias="from")]
    """Address that mail comes from."""
    to: tuple[MailAddress, ...] = ()
    """Who gets what is sent to this channel; reports may name their own."""

    @model_validator(mode="after")
    def _logs_in_wholly(self) -> "MailChannel":
        if bool(self.user) != (self.password is not None):
            raise ValueError("a login has both user and password")
        if self.password is not None and self.security == "none":
            raise ValueError("would send the password in the clear; set security to starttls or tls")
        return self


class WebhookChannel(Settings):
    """JSON posted to an address and signed as Standard Webhooks has it: headers `webhook-id`, `webhook-timestamp`,
    `webhook-signature`, and `Idempotency-Key`."""

    url: WebUrl
    """Where it is posted to. It may name secrets: `https://example.org/hook/${env:TOKEN}`."""
    secret: SecretReference
    """What the receiver checks signatures with: `whsec_` and base64, or any text of at least 24 characters."""
    former_secret: SecretReference | None = None
    """While a secret is changed: the one before it, whose signature is sent too."""
    allow_private: tuple[HostPort, ...] = ()
    """Hosts that may be posted to although they are on this machine or in a private network: `127.0.0.1:8123`."""
    ca_file: Path | None = None
    """Certificates (PEM) to trust in the place of the system's."""


class SlackChannel(Settings):
    """An incoming webhook of Slack, or of what understands the same: Mattermost, Rocket.Chat, Discord (`…/slack`)."""

    url: SecretReference
    """The whole address is a secret: `${env:SLACK_WEBHOOK_URL}`, or a part of it is."""
    allow_private: tuple[HostPort, ...] = ()
    """Hosts that may be posted to although they are on this machine or in a private network."""
    ca_file: Path | None = None
    """Certificates (PEM) to trust in the place of the system's."""


class AppriseChannel(Settings):
    """Any of the services that Apprise knows. It tells less of failures than the others, carries no key by which a
    receiver could see a repeat, and goes to any address."""

    url: SecretReference
    """An Apprise URL: `tgram://${env:TELEGRAM_TOKEN}/12345`."""


class Wording(Settings):
    """Texts in the place of the usual ones: Jinja templates over `message`, `severity`, `at` and what `message.data`
    holds. They run in a sandbox; one that fails at the moment of sending is left out, and the log says so."""

    subject: Annotated[str, AfterValidator(_template)] | None = None
    """One line."""
    text: Annotated[str, AfterValidator(_template)] | None = None
    """Plain text."""
    html: Annotated[str, AfterValidator(_template)] | None = None
    """The body of a mail for those who read HTML; values are escaped."""


class Channel(Settings):
    """One way to tell people, in exactly one of `mail`, `webhook`, `slack` and `apprise`."""

    mail: MailChannel | None = None
    """To mail addresses."""
    webhook: WebhookChannel | None = None
    """To a program."""
    slack: SlackChannel | None = None
    """To a chat."""
    apprise: AppriseChannel | None = None
    """To anything else."""
    fallback: ChannelName | None = None
    """The channel that takes over what this one gives up."""
    give_up_after: Annotated[Duration, Field(ge=timedelta(seconds=1))] | None = None
    """How long a message is tried; at least once. Without it 10 minutes where there is a fallback, else a day."""
    time_limit: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(minutes=5))] = timedelta(seconds=30)
    """For one attempt, all together."""
    rate: Rate = "60/m"
    """Attempts from all replicas together: `1/s`, `60/m`, `100/h`."""
    wording: Wording = Wording()

    @model_validator(mode="after")
    def _goes_one_way(self) -> "Channel":
        ways = [way for way in WAYS if getattr(self, way) is not None]
        if len(ways) != 1:
            raise ValueError(f"has {' and '.join(ways) or 'no way to send'}; write exactly one of {', '.join(WAYS)}")
        return self

    @property
    def way(self) -> str:
        """mail, webhook, slack or apprise."""
        return next(way for way in WAYS if getattr(self, way) is not None)

    @property
    def patience(self) -> timedelta:
        """How long a message is tried."""
        return self.give_up_after or (WITH_FALLBACK if self.fallback else WITHOUT_FALLBACK)

    @property
    def pace(self) -> tuple[int, timedelta]:
        """The rate as so many attempts within so long."""
        count = max(1, int(float(self.rate.partition("/")[0])))
        return count, parse_rate(self.rate) * count

    @property
    def recipients(self) -> tuple[str, ...]:
        """Of a message that names none; a channel without addresses has one recipient, without a name."""
        return self.mail.to if self.mail else ("",)


def check_fallbacks(channels: Mapping[str, Channel]) -> Mapping[str, Channel]:
    """Every fallback is a channel, and none leads back to where it came from. ValueError."""
    for name, channel in channels.items():
        passed, next_name = [name], channel.fallback
        while next_name is not None:
            if next_name not in channels:
                raise ValueError(f"{passed[-1]} falls back to {next_name}, which is no channel")
            if next_name in passed:
                raise ValueError(f"fallbacks go in a circle: {' → '.join([*passed, next_name])}")
            passed.append(next_name)
            next_name = channels[next_name].fallback
    return channels


Channels = Annotated[dict[ChannelName, Channel], AfterValidator(check_fallbacks)]
