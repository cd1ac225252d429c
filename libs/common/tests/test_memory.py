"""What control groups leave of the machine's memory."""

from pathlib import Path

import pytest

from tidemill.common.surroundings.memory import Memory, of_groups, scarcest

MACHINE = 8_000_000_000


def process(folder: Path, groups: str, mounts: str) -> Path:
    """What `/proc/self` has of it."""
    (folder / "cgroup").write_text(groups)
    (folder / "mountinfo").write_text(f"22 1 8:1 / / rw shared:1 - ext4 /dev/sda rw\n{mounts}\n")
    return folder


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)


def test_a_unit_may_have_what_its_slice_leaves(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    group(tree / "mill.slice", memory__max="1000\n", memory__current="960\n", memory__stat="inactive_file 10\nanon 5\n")
    group(tree / "mill.slice/a.service", memory__max="max\n", memory__current="700\n", memory__stat="inactive_file 0\n")
    proc = process(tmp_path, "0::/mill.slice/a.service\n", f"30 22 0:27 / {tree} rw shared:4 - cgroup2 cgroup2 rw")
    (found,) = of_groups(MACHINE, proc)
    assert (found.free, found.total) == (50, 1000)


def test_a_container_sees_its_own_group_at_the_top(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    group(tree, memory__max="1000\n", memory__current="400\n", memory__stat="inactive_file 100\n")
    proc = process(tmp_path, "0::/\n", f"30 22 0:27 / {tree} ro - cgroup2 cgroup rw,nsdelegate")
    assert [memory.share for memory in of_groups(MACHINE, proc)] == [0.7]


@pytest.mark.parametrize("path", ["/docker/abc", "/"])
def test_a_container_of_the_first_version_of_control_groups(tmp_path: Path, path: str) -> None:
    tree = tmp_path / "tree"
    group(tree, memory__limit_in_bytes="1000\n", memory__usage_in_bytes="980\n", memory__stat="total_inactive_file 5\n")
    mounts = f"31 22 0:28 {path} {tree} ro - cgroup cgroup rw,memory\n32 22 0:29 / /elsewhere ro - cgroup cgroup rw,cpu"
    proc = process(tmp_path, "4:memory:/docker/abc\n3:cpu:/docker/abc\n0::/docker/abc\n", mounts)
    assert list(of_groups(MACHINE, proc)) == [Memory(1000, 25, "in the control group /docker/abc")]


def test_a_group_without_a_limit_has_the_machine(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    no_limit = f"{2**63 - 4096}\n"
    group(tree, memory__limit_in_bytes=no_limit, memory__usage_in_bytes="980\n", memory__stat="total_inactive_file 5\n")
    proc = process(tmp_path, "4:memory:/\n", f"31 22 0:28 / {tree} ro - cgroup cgroup rw,memory")
    assert list(of_groups(MACHINE, proc)) == []
    assert list(of_groups(MACHINE, tmp_path / "no linux")) == []


def test_here_is_some_memory() -> None:
    memory = scarcest()
    assert 0 < memory.free <= memory.total
