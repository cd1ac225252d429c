"""What an operator may change about the reporter; read by main alone."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, field_validator

from tidemill.common.config.channels import Channel
from tidemill.common.config.settings import Settings
from tidemill.common.config.units import Duration
from tidemill.reporter.send_rules import Path, SendSettings, unsendable
from tidemill.schedule import find_zone


class ReporterSettings(Settings):
    """The reporter. A daily report is made when the day is over and everything of it is in, or at the deadline."""

    zone: str = "UTC"
    """IANA time zone whose days are reported on."""
    deadline: Annotated[Duration, Field(ge=timedelta(0), le=timedelta(days=7))] = timedelta(hours=8)
    """How long after the end of a day its report waits for what is missing; then it is made, and says what is."""
    exempt: tuple[str, ...] = ()
    """Sources that no daily report waits for, and whose absence is not told."""
    run_reports: Literal["asked", "all", "none"] = "asked"
    """Which runs get a report by themselves: `asked`, those that a schedule or somebody asked for; `all`, also those of
    files that appeared; `none`. Any run gets one by `tidemill report build`."""
    stale_after: Annotated[Duration, Field(gt=timedelta(0))] = timedelta(days=8)
    """A source that brought nothing for so long is called stale in the trust box."""

    send: tuple[SendSettings, ...] = ()
    """Reports that go to people by themselves; the others are read by `tidemill report`, or sent by
    `tidemill report send`."""

    @field_validator("zone")
    @classmethod
    def _zone_is_known(cls, zone: str) -> str:
        find_zone(zone)
        return zone

    def unmet(self, channels: Mapping[str, Channel]) -> dict[Path, str]:
        """What is wrong beside the section `channels`, by the path in this one."""
        return unsendable(self.send, channels)
