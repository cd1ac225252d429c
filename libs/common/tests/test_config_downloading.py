from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from tidemill.common.config import ConfigError, load_sources
from tidemill.common.config.downloading import Download, Window

BUDAPEST = ZoneInfo("Europe/Budapest")
WINDOW = Window.model_validate({"days": ["tue", "fri"], "from": "06:00", "until": "12:00", "zone": "Europe/Budapest"})


def complaint(download: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        Download.model_validate(download)
    return str(caught.value)


def test_a_source_file_says_where_its_files_are(tmp_path: Path) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "paper.yaml").write_text(
        """
source: paper
download:
  index: {url: https://paper.example/issues/, links: "*.pdf", order: '(?P<year>\\d+)-(?P<issue>\\d+)'}
  expect: pdf
  checksum: {}
  max_size: 50MB
  bandwidth: 1MB
  window: {days: [tue, fri], from: "06:00", until: "12:00", every: 5m, zone: Europe/Budapest}
""",
        encoding="utf-8",
    )
    download = load_sources(folder)["paper"].download
    assert download is not None
    assert download.index is not None
    assert download.window is not None
    assert (download.index.newest, download.rests, download.window.every) == (True, timedelta(0), timedelta(minutes=5))


def test_a_source_comes_one_way(tmp_path: Path) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "paper.yaml").write_text(
        "source: paper\nwatch: {folder: inbox}\ndownload: {url: https://paper.example/a.pdf}\n", encoding="utf-8"
    )
    with pytest.raises(ConfigError, match="make 2 sources of it"):
        load_sources(folder)


@pytest.mark.parametrize(
    ("download", "sentence"),
    [
        ({}, "needs one of url, template, index"),
        ({"url": "https://a.example/x", "template": {"url": "https://a.example/{issue}"}}, "needs one of"),
        ({"url": "ftp://a.example/x"}, "no address on the web"),
        ({"url": "https://me:secret@a.example/x"}, "passwords do not belong"),
        ({"url": "https://a.example/x", "min_size": 300_000_000}, "min_size"),
        ({"template": {"url": "https://a.example/x"}}, "must hold"),
        ({"template": {"url": "https://a.example/{day}"}}, "must hold"),
        ({"template": {"url": "https://a.example/{date.__class__}"}}, "must hold"),
        ({"template": {"url": "https://a.example/{date:%Y-%m-%d"}}, "unmatched '{'"),
        ({"template": {"url": "https://a.example/{date:noon}"}}, "the same for every day"),
        ({"template": {"url": "https://a.example/{issue:%Y}"}}, "Invalid format"),
        ({"template": {"url": "https://a.example/{date:%Y}", "zone": "Budapest"}}, "no time zone"),
        ({"index": {"url": "https://a.example/", "links": "*.pdf", "order": "("}}, "no regular expression"),
        ({"index": {"url": "https://a.example/", "links": "*.pdf", "order": "([0-9]+)"}}, "name its groups"),
    ],
)
def test_what_cannot_work_is_said(download: dict[str, Any], sentence: str) -> None:
    assert sentence in complaint(download)


def test_files_of_an_archive_rest_for_a_day_unless_the_source_says_otherwise() -> None:
    template = {"url": "https://a.example/{date:%Y%m%d}.pdf"}
    index = {"url": "https://a.example/", "links": "*.pdf"}
    assert Download.model_validate({"template": template}).rests == timedelta(days=1)
    assert Download.model_validate({"template": template, "recheck": "0s"}).rests == timedelta(0)
    assert Download.model_validate({"index": {**index, "newest": False}}).rests == timedelta(days=1)
    assert Download.model_validate({"index": index}).rests == timedelta(0)


def test_a_window_is_open_on_its_days_in_its_own_zone() -> None:
    friday = datetime(2026, 7, 24, 6, 0, tzinfo=BUDAPEST)
    opened = (friday, friday.replace(hour=12))
    assert WINDOW.around(datetime(2026, 7, 24, 4, 0, tzinfo=UTC)) == opened
    assert WINDOW.around(datetime(2026, 7, 24, 3, 59, tzinfo=UTC)) is None
    assert WINDOW.around(datetime(2026, 7, 24, 10, 0, tzinfo=UTC)) is None
    assert WINDOW.around(datetime(2026, 7, 23, 5, 0, tzinfo=UTC)) is None


def test_the_last_window_is_known_until_the_next_one_closes() -> None:
    tuesday = datetime(2026, 7, 21, 6, 0, tzinfo=BUDAPEST)
    closed = (tuesday, tuesday.replace(hour=12))
    assert WINDOW.closed_before(datetime(2026, 7, 24, 9, 59, tzinfo=UTC)) == closed
    assert WINDOW.closed_before(datetime(2026, 7, 21, 10, 0, tzinfo=UTC)) == closed
    assert WINDOW.closed_before(datetime(2026, 7, 21, 9, 59, tzinfo=UTC)) == (
        datetime(2026, 7, 17, 6, 0, tzinfo=BUDAPEST),
        datetime(2026, 7, 17, 12, 0, tzinfo=BUDAPEST),
    )


def test_a_window_opens_before_it_closes() -> None:
    with pytest.raises(ValidationError, match="from 22:00 must be before until 06:00"):
        Window.model_validate({"from": "22:00", "until": "06:00"})


def test_within_its_window_a_source_is_due_more_often() -> None:
    window = Window.model_validate(
        {"days": ["tue", "fri"], "from": "06:10", "until": "06:35", "every": "10m", "zone": "Europe/Budapest"}
    )
    slots = window.schedule().plan().slots(datetime(2026, 7, 20, tzinfo=UTC), datetime(2026, 7, 25, tzinfo=UTC))
    shown = [f"{slot.astimezone(BUDAPEST):%a %H:%M}" for slot in slots]
    assert shown == ["Tue 06:10", "Tue 06:20", "Tue 06:30", "Fri 06:10", "Fri 06:20", "Fri 06:30"]


def test_a_window_may_ask_every_hour_or_by_minutes_that_divide_one() -> None:
    hourly = Window.model_validate({"days": ["sun"], "from": "06:00", "until": "12:00", "every": "1h"})
    assert hourly.schedule().cron == "0 * * * 0"
    for every in ("0s", "90s", "7m", "2h"):
        with pytest.raises(ValidationError, match="minutes that divide one"):
            Window.model_validate({"from": "06:00", "until": "12:00", "every": every})


def test_the_slots_of_the_window_come_beside_those_of_the_schedule(tmp_path: Path) -> None:
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "paper.yaml").write_text(
        "source: paper\nschedule: {cron: '0 18 * * *'}\n"
        "download: {url: https://paper.example/a.pdf, window: {from: 06:00, until: 12:00}}\n",
        encoding="utf-8",
    )
    assert [each.cron for each in load_sources(folder)["paper"].schedules] == [
        "0 18 * * *",
        "*/15 * * * 1,2,3,4,5,6,0",
    ]
