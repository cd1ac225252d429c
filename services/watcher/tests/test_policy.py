import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.common.config.sources import Priority, Watch
from tidemill.watcher.policy import printable, refusal, run_id, wanted
from tidemill.watcher.stillness import Look

WATCH = Watch(folder=Path("/in"), include=("*.pdf",), priority=(Priority(pattern="*urgent*", lane="hi"),))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("a.pdf", True),
        ("june/a.pdf", True),
        ("a.txt", False),
        (".a.pdf", False),
        ("a.pdf.part", False),
        ("processed/a.pdf", False),
        ("failed/a.pdf", False),
        ("duplicates/deep/a.pdf", False),
        ("june/processed/a.pdf", True),
        (".tidemill-probe-1", False),
    ],
)
def test_files_are_wanted_by_pattern_and_never_from_our_own_folders(path: str, expected: bool) -> None:
    assert wanted(PurePosixPath(path), WATCH) is expected


def test_sub_folders_are_left_out_when_the_source_says_so() -> None:
    flat = WATCH.model_copy(update={"recursive": False})
    assert wanted(PurePosixPath("a.pdf"), flat)
    assert not wanted(PurePosixPath("june/a.pdf"), flat)


def test_a_size_outside_the_limits_is_refused_with_its_reason() -> None:
    limited = WATCH.model_copy(update={"min_size": 10, "max_size": 100})

    def reason(size: int) -> str | None:
        refused = refusal(PurePosixPath("a.pdf"), Look(size, 0, 0, 1), limited)
        return None if refused is None else refused.reason

    assert [reason(size) for size in (0, 9, 10, 100, 101)] == ["empty", "too_small", None, None, "too_large"]


@given(st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name and b"/" not in name))
def test_a_name_is_refused_unless_it_is_utf_8_and_can_be_printed_in_any_case(name: bytes) -> None:
    path = PurePosixPath(os.fsdecode(b"june/" + name))
    try:
        name.decode()
        expected = None
    except UnicodeDecodeError:
        expected = "name"
    refused = refusal(path, Look(100, 0, 0, 1), WATCH)
    assert (refused and refused.reason) == expected
    assert printable(path).encode()
    if expected is None:
        assert printable(path) == str(path)


def test_a_run_is_named_by_source_path_and_content() -> None:
    assert run_id("a", "x.pdf", "1") == run_id("a", "x.pdf", "1")
    others = {
        run_id("b", "x.pdf", "1"),
        run_id("a", "y.pdf", "1"),
        run_id("a", "x.pdf", "2"),
        run_id("a", "x.pdf", "1"),
    }
    assert len(others) == 4
    assert run_id("a", "x.pdf", "1").startswith("a-file-")
