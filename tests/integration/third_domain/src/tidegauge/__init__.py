"""A third domain, in a package of somebody else's: water levels, from pages or from files with a line for each."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from tidemill.plugin import (
    API_VERSION,
    Accounting,
    Breakdown,
    Dataset,
    Document,
    Figure,
    Item,
    Outcome,
    Position,
    Record,
    Refusal,
    Rejected,
    Reporting,
)

LINE = re.compile(rb"(?P<station>[A-Z]{3});(?P<at>[0-9TZ:+-]{16,25});(?P<level>[^;\s<]*)")


class Reading(BaseModel):
    model_config = ConfigDict(frozen=True)

    station: str
    at: datetime
    level_cm: int


READING = Dataset(
    "tides.reading",
    Reading,
    title="Water levels",
    disappears="by_run",
    summary=("station", "level_cm"),
    report=Reporting(
        breakdowns=(Breakdown("station", "Station", "station"),),
        figures=(Figure("level", "Median level", "level_cm", "median", "cm", measured=True),),
    ),
)


class TideTable:
    name: ClassVar[str] = "tide-table"
    version: ClassVar[str] = "1"
    api_version: ClassVar[int] = API_VERSION
    datasets: ClassVar[tuple[str, ...]] = ("tides.reading",)

    def options_error(self, options: Mapping[str, Any]) -> str | None:
        """`extract` is there where the source reads pages."""
        unknown = sorted(set(options) - {"extract"})
        return f"unknown option {unknown[0]}; there are none" if unknown else None

    def convert(self, document: Document, options: Mapping[str, Any]) -> Iterator[Item]:
        lines = list(LINE.finditer(document.content.read()))
        if not lines:
            raise Refusal(Outcome.UNRECOGNISED, "It holds no line of station, time and level.")
        rejected = 0
        for number, line in enumerate(lines):
            station, at, level = (line[name].decode() for name in ("station", "at", "level"))
            position = Position(item=number)
            if not level.isdigit():
                rejected += 1
                yield Rejected("no_level", f"{level!r} is no level", line[0].decode(), position)
                continue
            data = {"station": station, "at": at, "level_cm": int(level)}
            yield Record("tides.reading", f"{station}/{at}", data, position, raw=line[0].decode())
        yield Accounting(None, len(lines), len(lines) - rejected, rejected)


def newest_level(part: Any) -> list[Any]:
    """The level of the last line: a rule for the scraper, in Python."""
    lines = LINE.findall(part.text.encode())
    return [lines[-1][2].decode()] if lines else []
