"""The units for one machine, as systemd reads them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tidemill.common.service import service_names

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
INSTALLED = "/opt/tidemill/.venv/bin/tidemill"


def complaints(folder: Path) -> list[str]:
    """Of systemd, about every unit in the folder; a template is looked at as each service."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze on PATH (Debian: apt install systemd)")
    units = sorted(path for path in folder.iterdir() if "@." not in path.name)
    command = [analyze, "verify", "--man=no", "--recursive-errors=no", *map(str, units)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return [line for line in (done.stdout + done.stderr).splitlines() if str(folder) in line or "tidemill" in line]


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """As they are, with a program that is there."""
    for path in UNITS.iterdir():
        text = path.read_text().replace(INSTALLED, "/bin/true")
        (tmp_path / path.name).write_text(text)
        if "@" in path.name:
            for service in service_names():
                (tmp_path / path.name.replace("@", f"@{service}")).write_text(text)
    return tmp_path


def test_systemd_has_nothing_to_say_about_the_units(units: Path) -> None:
    assert len(list(units.iterdir())) > len(service_names())
    assert complaints(units) == []


@pytest.mark.parametrize(("right", "wrong"), [("Restart=always", "Restart=evermore"), ("Type=exec", "Typ=exec")])
def test_systemd_finds_what_is_planted_in_a_unit(units: Path, right: str, wrong: str) -> None:
    unit = units / "tidemill@scraper.service"
    unit.write_text(unit.read_text().replace(right, wrong))
    assert any("tidemill@scraper.service" in line for line in complaints(units))


def test_the_units_start_programs_of_tidemill_and_stop_no_sooner_than_it_drains() -> None:
    unit = (UNITS / "tidemill@.service").read_text()
    assert f"ExecStart={INSTALLED} run-service %i" in unit
    assert "TimeoutStopSec=30s" in unit
    for path in UNITS.glob("*.service"):
        assert "NoNewPrivileges=yes" in path.read_text()
        assert "User=tidemill" in path.read_text()
