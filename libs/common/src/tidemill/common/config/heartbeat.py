"""A sign of life to somebody outside."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from tidemill.common.config.channels import WebUrl
from tidemill.common.config.politeness import HostPort
from tidemill.common.config.section import Settings
from tidemill.common.config.units import Duration


class HeartbeatSettings(Settings):
    """A dead man's switch: an address elsewhere is asked for as long as all is well. When the requests stay away, that
    place raises the alarm: Healthchecks, Uptime Kuma, Cronitor, Dead Man's Snitch."""

    url: WebUrl | None = None
    """What is asked for; it may name secrets: `https://hc-ping.com/${env:HEARTBEAT_ID}`. Without it nothing is."""
    method: Literal["GET", "POST"] = "GET"
    """Either will do for most; see what the place says."""
    every: Annotated[Duration, Field(ge=timedelta(seconds=10))] = timedelta(minutes=5)
    """Have the place raise the alarm after two or three times this."""
    time_limit: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(minutes=1))] = timedelta(seconds=10)
    """For one request."""
    allow_private: tuple[HostPort, ...] = ()
    """Hosts that may be asked although they are on this machine or in a private network: `uptime-kuma:3001`."""
    ca_file: Path | None = None
    """Certificates (PEM) to trust in the place of the system's."""
