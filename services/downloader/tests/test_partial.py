import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tidemill.downloader.partial import Busy, PartialFiles

WEEKS_AGO = time.time() - 14 * 86400


def test_what_an_attempt_leaves_is_there_for_the_next_and_gone_when_it_is_done(tmp_path: Path) -> None:
    files = PartialFiles(tmp_path / "partial")
    with files.open("paper", "a") as part:
        part.write_bytes(b"half")
    with files.open("paper", "a") as part:
        assert part.read_bytes() == b"half"
        part.unlink()
    assert list((tmp_path / "partial").iterdir()) == []


def test_each_file_of_each_source_has_a_place_of_its_own(tmp_path: Path) -> None:
    files = PartialFiles(tmp_path)
    with files.open("paper", "a") as one, files.open("paper", "b") as two, files.open("other", "a") as three:
        assert len({one, two, three}) == 3


def test_one_download_at_a_time_has_the_place(tmp_path: Path) -> None:
    files = PartialFiles(tmp_path)
    with files.open("paper", "a"), pytest.raises(Busy), files.open("paper", "a"):
        pass
    with files.open("paper", "a"):
        pass


def test_many_at_once_never_share_it(tmp_path: Path) -> None:
    files = PartialFiles(tmp_path)

    def use(number: int) -> int:
        for _ in range(200):
            try:
                with files.open("paper", "a") as part:
                    part.write_text(str(number))
                    assert part.read_text() == str(number)
                    part.unlink()
            except Busy:
                continue
        return number

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(use, range(4))) == [0, 1, 2, 3]


def test_what_nobody_went_on_with_is_removed_after_a_week(tmp_path: Path) -> None:
    files = PartialFiles(tmp_path)
    assert PartialFiles(tmp_path / "none").tidy() == 0
    for item in ("old", "new", "in use"):
        with files.open("paper", item) as part:
            part.write_bytes(b"half")
            if item != "new":
                os.utime(part, (WEEKS_AGO, WEEKS_AGO))
    with files.open("paper", "in use"):
        assert files.tidy() == 1
    with files.open("paper", "new") as new, files.open("paper", "in use") as used, files.open("paper", "old") as old:
        assert (new.exists(), used.exists(), old.exists()) == (True, True, False)
