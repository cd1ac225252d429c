import errno
import json
import os
from datetime import UTC, datetime
from pathlib import Path

from tidemill.watcher.policy import Refused
from tidemill.watcher.settling import move_beside, settle_file, write_reason
from tidemill.watcher.stillness import Look


def drop(root: Path, name: str = "a.pdf", content: bytes = b"x") -> tuple[Path, Look]:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path, Look.of(path.lstat())


def test_a_file_that_is_to_stay_stays(tmp_path: Path) -> None:
    path, look = drop(tmp_path)
    assert settle_file(tmp_path, path, look, "leave", "stored") == path


def test_each_outcome_has_its_folder_and_sub_folders_are_kept(tmp_path: Path) -> None:
    for outcome, folder in (("stored", "processed"), ("duplicate", "duplicates"), ("refused", "failed")):
        path, look = drop(tmp_path, "june/a.pdf")
        assert settle_file(tmp_path, path, look, "move", outcome) == tmp_path / folder / "june" / "a.pdf"
        assert not path.exists()


def test_a_taken_name_gets_a_number(tmp_path: Path) -> None:
    for number in range(3):
        path, look = drop(tmp_path, content=b"%d" % number)
        settle_file(tmp_path, path, look, "move", "stored")
    names = sorted(path.name for path in (tmp_path / "processed").iterdir())
    assert names == ["a.pdf", "a~2.pdf", "a~3.pdf"]
    assert (tmp_path / "processed" / "a~3.pdf").read_bytes() == b"2"


def test_a_move_that_another_process_began_is_finished(tmp_path: Path) -> None:
    path, _ = drop(tmp_path)
    target = tmp_path / "processed" / "a.pdf"
    target.parent.mkdir()
    os.link(path, target)
    assert move_beside(path, target) == target
    assert [each.name for each in target.parent.iterdir()] == ["a.pdf"]
    assert not path.exists()
    assert move_beside(path, target) is None


def test_without_hard_links_a_file_is_moved_as_well(tmp_path: Path) -> None:
    def link(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    target = tmp_path / "processed" / "a.pdf"
    for number in range(2):
        path, _ = drop(tmp_path, content=b"%d" % number)
        move_beside(path, target, link)
    assert {each.name: each.read_bytes() for each in target.parent.iterdir()} == {"a.pdf": b"0", "a~2.pdf": b"1"}
    assert move_beside(path, target, link) is None
    assert len(list(target.parent.iterdir())) == 2


def test_a_file_that_changed_meanwhile_is_not_touched(tmp_path: Path) -> None:
    path, look = drop(tmp_path)
    path.write_bytes(b"something else")
    assert settle_file(tmp_path, path, look, "delete", "stored") == path
    assert path.exists()


def test_deleting_spares_refused_files_and_bears_repetition(tmp_path: Path) -> None:
    path, look = drop(tmp_path)
    assert settle_file(tmp_path, path, look, "delete", "stored") is None
    assert settle_file(tmp_path, path, look, "delete", "stored") is None
    path, look = drop(tmp_path)
    moved = settle_file(tmp_path, path, look, "delete", "refused")
    assert moved == tmp_path / "failed" / "a.pdf"


def test_a_refused_file_has_its_reason_beside_it(tmp_path: Path) -> None:
    path, _ = drop(tmp_path)
    write_reason(path, Refused("too_large", "9 GB"), datetime(2025, 7, 18, tzinfo=UTC))
    note = json.loads((tmp_path / "a.pdf.reason.json").read_text())
    assert note == {"file": "a.pdf", "reason": "too_large", "detail": "9 GB", "at": "2025-07-18T00:00:00+00:00"}
