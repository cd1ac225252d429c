import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.common.config.patterns import Selection, common_file, matching

HIDDEN = (".*",)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*.pdf", "a.pdf"),
        ("*.pdf", "A.PDF"),
        ("*.pdf", "deep/er/a.pdf"),
        ("*", "a"),
        ("?.txt", "é.txt"),
        ("a[1].pdf", "a[1].pdf"),
        (".*", "x/.hidden"),
        ("@eaDir/*", "@eaDir/a/b"),
        ("@eaDir/*", "x/@eaDir/a"),
        ("/2024/*.pdf", "2024/a.pdf"),
        ("*/old/?.pdf", "x/old/1.pdf"),
    ],
)
def test_a_pattern_takes(pattern: str, path: str) -> None:
    assert matching([pattern], path) == pattern


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*.pdf", "a.pdf.part"),
        ("?.txt", "ab.txt"),
        ("a[1].pdf", "a1.pdf"),
        (".*", ".hidden/x"),
        ("a*b", "a/b"),
        ("old/*.pdf", "gold/a.pdf"),
    ],
)
def test_a_pattern_leaves(pattern: str, path: str) -> None:
    assert matching([pattern], path) is None


def test_the_first_pattern_that_takes_a_path_is_named() -> None:
    assert matching(["b*", "a*", "*"], "abc") == "a*"


def select(*include: str, exclude: tuple[str, ...] = (), recursive: bool = True) -> Selection:
    return Selection(include, exclude, recursive)


@pytest.mark.parametrize(
    ("one", "other", "file"),
    [
        (select("*.pdf"), select("*.pdf"), ".pdf"),
        (select("*.pdf"), select("*.json"), None),
        (select("*.pdf"), select("*.PDF"), ".pdf"),
        (select("a*"), select("*b"), "ab"),
        (select("*.pdf", exclude=("urgent*",)), select("urgent*.pdf"), None),
        (select("*.pdf", exclude=("urgent?",)), select("urgent*.pdf"), "urgent.pdf"),
        (select("*", exclude=(*HIDDEN, "?", "??")), select("*"), "aaa"),
        (select("in/*"), select("*.pdf"), "in/.pdf"),
        (select("in/*"), select("*.pdf", recursive=False), None),
        (select("*.pdf", exclude=HIDDEN), select("*"), "a.pdf"),
        (select("x", "y"), select("z", "y"), "y"),
    ],
)
def test_the_shortest_file_that_both_take_is_found(one: Selection, other: Selection, file: str | None) -> None:
    assert common_file(one, other) == file
    assert common_file(other, one) == file


def test_a_folder_within_a_watched_folder_is_watched_too_if_that_is_recursive() -> None:
    assert common_file(select("*.pdf"), select("*"), "sub/deep") == "sub/deep/.pdf"
    assert common_file(select("*.pdf", recursive=False), select("*"), "sub/deep") is None
    assert common_file(select("*.pdf", exclude=("sub/*",)), select("*"), "sub/deep") is None
    assert common_file(select("deep/*.pdf"), select("*"), "sub/deep") == "sub/deep/.pdf"


def test_a_search_that_does_not_end_in_time_finds_nothing() -> None:
    many = tuple(f"*{a}*{b}*" for a in "abcdefgh" for b in "ijklmnop")
    assert common_file(select("*"), select("*", exclude=("*", *many))) is None


letters = st.text(alphabet="ab/", min_size=1, max_size=6).map(lambda text: text.strip("/") or "a")
patterns = st.lists(st.text(alphabet="ab*?/", min_size=1, max_size=5), min_size=1, max_size=2)


@given(letters, patterns, patterns, patterns)
def test_where_a_file_is_taken_by_both_some_file_is_found(
    path: str, include: list[str], other: list[str], exclude: list[str]
) -> None:
    if "//" in path:
        return
    taken = matching(include, path) and matching(other, path) and not matching(exclude, path)
    found = common_file(Selection(include, exclude, True), Selection(other, (), True))
    if taken:
        assert found is not None
    if found is not None:
        assert matching(include, found)
        assert matching(other, found)
        assert not matching(exclude, found)
