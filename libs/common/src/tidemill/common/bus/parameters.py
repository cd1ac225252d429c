"""What commands are told, read or refused with what would work."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tidemill.common.bus.step import CommandRefused
from tidemill.common.config.units import parse_duration


def word(parameters: Mapping[str, Any], name: str) -> str:
    """A text; empty where nothing was said."""
    value = parameters.get(name)
    if value is not None and not isinstance(value, str):
        raise CommandRefused(f"{name} is a text, not {json.dumps(value)[:40]}")
    return (value or "").replace("\x00", "")


def moment(parameters: Mapping[str, Any], name: str, now: datetime) -> datetime | None:
    """A length of time from now, or a time to come (in UTC unless it says otherwise); None where nothing was said."""
    told = word(parameters, name)
    if not told:
        return None
    try:
        return now + parse_duration(told)
    except (ValueError, OverflowError):
        pass
    try:
        said = datetime.fromisoformat(told)
    except ValueError:
        raise CommandRefused(f"{name} is {told!r}; write 90m, 2h, 2026-12-24 or 2026-12-24T18:00+01:00") from None
    said = said if said.tzinfo else said.replace(tzinfo=UTC)
    if said <= now:
        raise CommandRefused(f"{name} is {told}, which has passed")
    return said
