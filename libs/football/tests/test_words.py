"""Words come from where glyphs stand, not from the order in which they were drawn."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.football.glyphs import Glyphs, folded
from tidemill.football.words import find_words, lines_of, phrases_of, text_of, whole

SIZE = 10.0
ADVANCE = 5.0
"""Every glyph of these tests is half as wide as high."""

texts = st.lists(st.text("abcdefgh", min_size=1, max_size=8), min_size=1, max_size=6)


def glyphs(*placed: tuple[str, float, float]) -> Glyphs:
    """Glyphs by character, left edge and baseline (counted downwards from 100)."""
    return Glyphs(
        text="".join(character for character, _, _ in placed),
        left=[x for _, x, _ in placed],
        top=[100 - y + SIZE * 0.8 for _, _, y in placed],
        right=[x + ADVANCE for _, x, _ in placed],
        bottom=[100 - y - SIZE * 0.2 for _, _, y in placed],
        ceiling=100,
        width=500,
        height=100,
    )


def set_in_type(words: list[str], gap: float, y: float = 50.0) -> list[tuple[str, float, float]]:
    placed, x = [], 10.0
    for word in words:
        for character in word:
            placed.append((character, x, y))
            x += ADVANCE
        x += gap
    return placed


def read(glyphs: Glyphs) -> list[list[str]]:
    return [[word.text for word in whole(line)] for line in lines_of(find_words(glyphs))]


@given(texts, st.floats(2.0, 60.0))
def test_a_gap_parts_words_whether_a_space_was_set_or_not(words: list[str], gap: float) -> None:
    assert read(glyphs(*set_in_type(words, gap))) == [words]


@given(texts, st.randoms())
def test_runs_drawn_in_any_order_give_the_same_words(words: list[str], dice: object) -> None:
    placed = set_in_type(words, 6.0)
    dice.shuffle(placed)  # type: ignore[attr-defined]
    assert read(glyphs(*placed)) == [words]


@given(texts, texts)
def test_lines_stay_apart(upper: list[str], lower: list[str]) -> None:
    placed = set_in_type(lower, 6.0, y=62.0) + set_in_type(upper, 6.0, y=50.0)
    assert read(glyphs(*placed)) == [upper, lower]


def test_a_letter_struck_twice_counts_once() -> None:
    placed = [(c, x + shift, y) for c, x, y in set_in_type(["bold"], 0) for shift in (0, 0.4)]
    assert read(glyphs(*placed)) == [["bold"]]


def test_a_text_drawn_twice_counts_once() -> None:
    placed = set_in_type(["bold", "text"], 6.0)
    assert read(glyphs(*placed, *[(c, x + 0.4, y) for c, x, y in placed])) == [["bold", "text"]]


def test_equal_letters_side_by_side_are_two() -> None:
    assert read(glyphs(*set_in_type(["NB", "II"], 6.0)[::-1])) == [["NB", "II"]]


def test_both_letters_of_a_ligature_stay() -> None:
    placed = [("S", 10, 50), ("o", 15, 50), ("f", 20, 50), ("i", 20, 50), ("a", 25, 50)]
    assert read(glyphs(*placed)) == [["Sofia"]]


def test_texts_of_two_cells_that_overprint_each_other_stay_whole() -> None:
    event = set_in_type(["aaaa", "bbbb", "cccc", "dddd"], 5.0)
    market = [(c, x + 62.5, y) for c, x, y in set_in_type(["eeee", "ffff"], 5.0)]
    (line,) = lines_of(find_words(glyphs(*event, (" ", 0, 50), *market)))
    assert ["".join(word.text for word in phrase) for phrase in phrases_of(line)] == ["aaaabbbbccccdddd", "eeeeffff"]


def test_a_wide_gap_parts_phrases() -> None:
    (line,) = lines_of(find_words(glyphs(*set_in_type(["aa", "bb"], 5.0), *set_in_type(["cc"], 0, 50)[:0])))
    assert len(phrases_of(line)) == 1
    (line,) = lines_of(find_words(glyphs(*set_in_type(["aa", "bb"], 15.0))))
    assert len(phrases_of(line)) == 2


def test_a_cell_of_several_lines_reads_from_top_to_bottom() -> None:
    placed = [
        *set_in_type(["Felso/"], 0, y=40),
        *set_in_type(["vege", "-"], 5.0, y=50),
        *set_in_type(["Del-"], 0, y=60),
        *set_in_type(["korea"], 0, y=70),
    ]
    assert text_of(find_words(glyphs(*placed))) == "Felso/vege - Del-korea"


@pytest.mark.parametrize("blank", ["\xa0", "\u2002", "\u2003", "\u2007", "\u2009", "\u202f", "\u3000"])
def test_a_blank_of_any_width_is_a_blank(blank: str) -> None:
    assert folded(f"P{blank}12:00") == "P 12:00"


@pytest.mark.parametrize("mark", ["\u200b", "\u200c", "\u200d", "\u200e", "\u2060", "\ufeff"])
def test_a_mark_without_a_width_parts_no_word(mark: str) -> None:
    placed = set_in_type(["abcd"], 0.0)
    placed.insert(2, (folded(mark), placed[2][1], 50.0))
    assert read(glyphs(*placed)) == [["abcd"]]


@pytest.mark.parametrize("text", ["Győri ETO", "Újpest", "Čelik", "Ångström"])
def test_accents_of_their_own_go_on_their_letters(text: str) -> None:
    apart = unicodedata.normalize("NFD", text)
    assert folded(apart).replace(" ", "") == text.replace(" ", "")
    assert len(folded(apart)) == len(apart)
