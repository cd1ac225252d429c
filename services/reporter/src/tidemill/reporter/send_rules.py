"""Which reports are sent to whom by themselves, as an operator writes it."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import Field

from tidemill.common.config.channels import Channel, ChannelName, MailAddress
from tidemill.common.config.settings import Settings
from tidemill.common.config.units import Duration
from tidemill.common.config.validate import did_you_mean

Path = tuple[str | int, ...]
Attached = Literal["pdf", "xlsx", "csv", "html", "json"]
When = Literal["always", "if_something_changed", "if_unusual", "if_doubtful", "if_not_to_be_trusted"]


class SendSettings(Settings):
    """Reports of one kind, and who gets them. What is not sent is kept with its reason."""

    report: Literal["day", "run"] = "day"
    """`day`, on all sources of a day; `run`, on one run."""
    sources: tuple[str, ...] = ()
    """Only reports that tell of one of these, and what changed is judged by them; `demo-*` names several. Without any,
    all reports."""
    to: Annotated[tuple[ChannelName, ...], Field(min_length=1)]
    """Channels, as the section `channels` names them."""
    recipients: tuple[MailAddress, ...] = ()
    """Mail addresses in the place of those that a mail channel names."""
    attach: tuple[Attached, ...] = ()
    """Forms that go along with mail: `pdf`, `xlsx`, `csv` (a zip), `html`, `json`. The mail itself tells the most."""
    when: When = "always"
    """`if_something_changed`, where records are new, changed or gone, and where the report is not to be trusted as it
    is; `if_unusual`, where a measure left its band; `if_doubtful`, where it is to be read with care or not to be
    trusted; `if_not_to_be_trusted`."""
    corrected: bool = True
    """Whether a further edition goes out, too, marked corrected."""
    no_older_than: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(days=2)
    """After the deadline of its day. A reporter that is new, or was away, makes the reports of a month at once."""

    def means(self, source: str) -> bool:
        return not self.sources or any(fnmatchcase(source, pattern) for pattern in self.sources)


def unsendable(rules: Sequence[SendSettings], channels: Mapping[str, Channel]) -> dict[Path, str]:
    """What of the rules no channel can do, by the place where it is written."""
    found: dict[Path, str] = {}
    for number, rule in enumerate(rules):
        found |= {("send", number, *path): why for path, why in _problems(rule, channels)}
    return found


def _problems(rule: SendSettings, channels: Mapping[str, Channel]) -> Iterator[tuple[Path, str]]:
    for place, name in enumerate(rule.to):
        if name not in channels:
            yield ("to", place), unknown_channel(name, channels)
        elif channels[name].mail is not None and not (rule.recipients or channels[name].recipients):
            yield ("to", place), f"{name} names nobody; set channels.{name}.mail.to, or recipients here"
    mails = any(name in channels and channels[name].mail is not None for name in rule.to)
    if not mails and all(name in channels for name in rule.to):
        ways = ", ".join(f"{name} is {channels[name].way}" for name in rule.to)
        if rule.recipients:
            yield ("recipients",), f"are mail addresses, and no channel of this rule is mail: {ways}"
        if rule.attach:
            yield ("attach",), f"goes along with mail, and no channel of this rule is mail: {ways}"


def unknown_channel(name: str, channels: Mapping[str, Channel]) -> str:
    known = ", ".join(sorted(channels)) or "none"
    return f"there is no channel {name}{did_you_mean(name, channels)} The section channels has: {known}"
