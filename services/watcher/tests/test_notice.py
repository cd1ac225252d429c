import asyncio
from contextlib import aclosing
from pathlib import Path

import pytest

from tidemill.common.config.sources import Watch
from tidemill.watcher.errors import FolderAway
from tidemill.watcher.notice import choose_method, filesystem_of, find_files, native_changes
from tidemill.watcher.writers import has_writer


def names(root: Path, watch: Watch) -> list[str]:
    return sorted(str(path.relative_to(root)) for path, _ in find_files(root, watch))


def test_a_scan_finds_wanted_files_and_follows_no_links(tmp_path: Path) -> None:
    for name in ("a.pdf", "b.txt", "june/c.pdf", "processed/d.pdf", ".e.pdf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link.pdf").symlink_to(tmp_path / "a.pdf")
    watch = Watch(folder=tmp_path, include=("*.pdf",))
    assert names(tmp_path, watch) == ["a.pdf", "june/c.pdf"]
    assert names(tmp_path, watch.model_copy(update={"recursive": False})) == ["a.pdf"]


def test_a_missing_folder_is_away_and_not_empty(tmp_path: Path) -> None:
    with pytest.raises(FolderAway, match="No such file"):
        list(find_files(tmp_path / "mount", Watch(folder=tmp_path / "mount")))


async def test_events_work_on_a_local_disk_and_the_probe_leaves_nothing(tmp_path: Path) -> None:
    assert await choose_method(tmp_path) == ("native", "a probe file was noticed")
    assert list(tmp_path.iterdir()) == []


def test_the_type_of_a_file_system_comes_from_the_mount_table() -> None:
    assert filesystem_of(Path("/proc/self")) == "proc"


async def test_a_new_file_is_noticed_natively(tmp_path: Path) -> None:
    async def first() -> set[Path]:
        async with aclosing(native_changes(tmp_path, recursive=True)) as changes:
            async for paths in changes:
                return paths
        raise AssertionError

    noticing = asyncio.create_task(first())
    await asyncio.sleep(0.3)
    (tmp_path / "a.pdf").write_bytes(b"x")
    assert tmp_path / "a.pdf" in await asyncio.wait_for(noticing, 5)


def test_an_open_writer_is_seen_until_it_closes(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    with path.open("wb"):
        assert has_writer(path) is True
    assert has_writer(path) is False
