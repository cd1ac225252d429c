"""How a source asks its hosts: seldom, by name, and within what they allow."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, field_validator

from tidemill.common.config.section import Settings
from tidemill.schedule import find_zone

_RATE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*/\s*(s|m|h)")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
RATE_FORM = "a number of requests and a unit of time: 1/s, 30/m or 100/h"


def parse_rate(text: str) -> timedelta:
    """The time between two requests of `30/m`; ValueError names the form."""
    match = _RATE.fullmatch(text.strip())
    if match is None or float(match[1]) == 0:
        raise ValueError(f"{text!r} is not a rate; write {RATE_FORM}")
    try:
        interval = timedelta(seconds=_SECONDS[match[2]] / float(match[1]))
    except OverflowError:
        raise ValueError(f"{text!r} is less than once in a lifetime") from None
    if interval < timedelta(milliseconds=1):
        raise ValueError(f"{text!r} is more than 1000 a second")
    return interval


def _rate(text: str) -> str:
    parse_rate(text)
    return text.strip()


Rate = Annotated[str, AfterValidator(_rate), StringConstraints(pattern=r"^\s*[0-9]+(\.[0-9]+)?\s*/\s*(s|m|h)\s*$")]
"""A setting that is a number of requests in a time."""

HostPort = Annotated[str, StringConstraints(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+):[0-9]{1,5}$")]


class Politeness(Settings):
    """How hosts are asked. A host that several sources ask has one rate for all: the slowest of theirs."""

    rate: Rate = "1/s"
    """Requests to one host, from all replicas together: `1/s`, `30/m`, `100/h`. A longer `Crawl-delay` in the host's
    robots.txt holds instead."""
    concurrency: Annotated[int, Field(ge=1, le=64)] = 1
    """Requests to one host under way at once, from all replicas together."""
    user_agent: Annotated[str, StringConstraints(pattern=r"^[!-~]+( [ -~]*)?$")] | None = None
    """How we introduce ourselves; without it `Tidemill/<version>`. The part before `/` is the name that robots.txt is
    searched for."""
    contact: Annotated[str, StringConstraints(pattern=r"^[!-~]*$")] = ""
    """A URL or an address where a site's owner reaches you; it is sent with every request."""
    obey_robots: bool = True
    """Whether robots.txt is asked and obeyed. Turn it off only where you have the owner's leave."""
    daily_budget: Annotated[int, Field(ge=1)] | None = None
    """Requests of this source to one host in a day; then it waits for the next. Without it there is no limit."""
    zone: str = "UTC"
    """Time zone whose midnight begins the day of the budget, for instance `Europe/Budapest`."""
    allow_private: tuple[HostPort, ...] = ()
    """Hosts that may be asked although they are on this machine or in a private network, with their port:
    `127.0.0.1:8123`. All other private addresses are refused."""

    @field_validator("zone")
    @classmethod
    def _zone_is_known(cls, zone: str) -> str:
        find_zone(zone)
        return zone

    @property
    def interval(self) -> timedelta:
        """Time from one request to the next."""
        return parse_rate(self.rate)
