"""The scratch folder of a converter process."""

import signal
import subprocess
import sys
from pathlib import Path

from tidemill.converter.scratch import open_scratch

HOLDER = """
import sys, time
from pathlib import Path
from tidemill.converter.scratch import open_scratch
with open_scratch(Path(sys.argv[1])) as folder:
    (folder / "document").write_text("x")
    print(folder, flush=True)
    time.sleep(600)
"""


def test_a_scratch_folder_goes_with_its_owner(tmp_path: Path) -> None:
    with open_scratch(tmp_path) as folder:
        (folder / "document").write_text("x")
        assert folder.parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_taken_away_and_nothing_else(tmp_path: Path) -> None:
    strange = tmp_path / "tidemill-converter-notes"
    strange.mkdir()
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout
        left = Path(holder.stdout.readline().strip())
        with open_scratch(tmp_path):
            assert (left / "document").exists()
        holder.send_signal(signal.SIGKILL)
    assert (left / "document").exists()
    with open_scratch(tmp_path) as folder:
        assert sorted(tmp_path.iterdir()) == sorted([strange, folder])


def test_a_folder_of_another_user_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "tidemill-converter-abc"
    (theirs / ".lock").mkdir(parents=True)  # As little to be opened as theirs, by root, too.
    with open_scratch(tmp_path):
        assert (theirs / ".lock").is_dir()
