import os
import subprocess
import sys
from pathlib import Path

from tidemill.converter.scratch import open_scratch


def test_a_scratch_folder_goes_with_its_owner(tmp_path: Path) -> None:
    with open_scratch(tmp_path) as folder:
        (folder / "document").write_text("x")
        assert folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_taken_away_and_nothing_else(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    left = tmp_path / f"tidemill-converter-{gone.pid}-abc123"
    others = [tmp_path / f"tidemill-converter-{os.getppid()}-abc", tmp_path / "tidemill-converter-notes"]
    for folder in (left, *others):
        folder.mkdir()
        (folder / "document").write_text("x")
    with open_scratch(tmp_path):
        assert not left.exists()
        assert all((folder / "document").exists() for folder in others)
