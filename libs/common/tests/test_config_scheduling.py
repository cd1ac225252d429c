"""The sections `schedule` and `run` of source files."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from tidemill.common.config import ConfigError, load_sources
from tidemill.schedule import Cron, Hours

ROOT = Path(__file__).parents[3]


def load(folder: Path, **sections: str) -> object:
    for name, section in sections.items():
        (folder / f"{name}.yaml").write_text(f"source: {name}\n{section}\n")
    return load_sources(folder)


def complaint(folder: Path, **sections: str) -> str:
    with pytest.raises(ConfigError) as raised:
        load(folder, **sections)
    return str(raised.value)


def test_one_schedule_or_a_list_of_several(tmp_path: Path) -> None:
    load(
        tmp_path,
        one='schedule: {cron: "0 6 * * 2,5", zone: Europe/Budapest, jitter: 5m, allowed: ["06:00-22:00"]}',
        two="schedule:\n- every: 15m\n- {at: 2026-12-01T06:00, zone: Europe/Helsinki, missed: all}",
    )
    sources = load_sources(tmp_path)
    (one,) = sources["one"].schedule
    assert one.plan().name == "cron 0 6 * * 2,5 Europe/Budapest"
    assert one.jitter == timedelta(minutes=5)
    assert [schedule.plan().name for schedule in sources["two"].schedule] == [
        "every 15m",
        "at 2026-12-01T06:00 Europe/Helsinki",
    ]
    assert sources["one"].run.overlap == "skip"


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ('schedule: {cron: "0 25 * * *"}', "25 is no hour; write 0 to 23"),
        ('schedule: {cron: "0 6 * *"}', "has 4 fields; write 5"),
        ('schedule: {cron: "0 6 31 2 *"}', "it would never run"),
        ("schedule: {every: 15m, zone: Europe/Budapst}", "write one such as Europe/Budapest"),
        ("schedule: {every: 500ms}", "at least 1s"),
        ("schedule: {at: tomorrow}", "write it as 2026-12-01T06:00"),
        ("schedule: {at: 2026-12-01}", "has no time"),
        ("schedule: {at: 2026-12-01T06:00+02:00}", "has an offset"),
        ("schedule: {zone: UTC}", "write one of cron, every, at"),
        ("schedule: {every: 1h, at: 2026-12-01T06:00}", "has every and at"),
        ('schedule: {every: 1h, allowed: ["6-22"]}', "write it as 06:00-22:00"),
        ('schedule: {every: 1h, allowed: ["06:00-25:00"]}', "a day goes from 00:00 to 24:00"),
        ('schedule: {cron: "0 3 * * *", allowed: ["06:00-22:00"]}', "never runs"),
        ("schedule: {every: 1h, blackout: [christmas]}", "write 2026-12-24 or"),
        ("schedule: {every: 1h, blackout: [2026-12-26..2026-12-24]}", "turn the two days round"),
        ("schedule: [{every: 1h}, {every: 60m}]", "has every 1h twice"),
        ("run: {group: Big Ones}", "does not have the form"),
        ("run: {overlap: wait}", "Valid values: allow, buffer, cancel, skip"),
        ("run: {after: [someone]}", "someone is not possible here"),
        ("run: {after: [demo]}", "runs after demo itself"),
    ],
)
def test_what_is_wrong_is_told_with_what_would_work(tmp_path: Path, section: str, sentence: str) -> None:
    assert sentence in complaint(tmp_path, demo=section)


def test_the_examples_of_the_page_about_schedules_are_right(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "schedules.md").read_text(encoding="utf-8")
    example, settings = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "bulletin.yaml").write_text(example)
    assert load_sources(tmp_path)["bulletin"].run.pause_after_failures == 5
    assert yaml.safe_load(settings)["scheduler"]["groups"] == {"heavy": 2}
    for cron in re.findall(r"`cron: \"(.*?)\"", page):
        assert Cron.parse(cron)
    for allowed in re.findall(r"`allowed: \[\"(.*?)\"", page):
        assert Hours.parse(allowed)


def test_the_place_of_a_mistake_is_told_in_one_schedule_and_in_several(tmp_path: Path) -> None:
    assert "demo.yaml:3:3: schedule.zone: Mars" in complaint(tmp_path, demo="schedule:\n  zone: Mars\n  every: 1h")
    listed = "schedule:\n- every: 1h\n- {every: 2h, zone: Mars}"
    assert "demo.yaml:4:15: schedule[1].zone: Mars" in complaint(tmp_path, demo=listed)
    assert "schedule.cronn: unknown key; did you mean cron?" in complaint(tmp_path, demo="schedule: {cronn: x}")


def test_a_watched_folder_has_no_schedule(tmp_path: Path) -> None:
    watch = "watch: {folder: inbox}\n"
    assert "its files are taken when they come" in complaint(tmp_path, demo=f"{watch}schedule: {{every: 1h}}")
    assert "its files are taken when they come" in complaint(tmp_path, demo=f"{watch}run: {{after: [other]}}", other="")


def test_sources_that_run_after_one_another_are_refused(tmp_path: Path) -> None:
    told = complaint(tmp_path, one="run: {after: [three]}", two="run: {after: [one]}", three="run: {after: [two]}")
    assert told.count("take one of the two out") == 3
