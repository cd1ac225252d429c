"""The report on paper: its text read back, and that nothing of strangers is code to Typst."""

import pypdfium2
import pytest

from tidemill.reporter.renderings.pdf import render_pdf

from .rendering_kit import empty, hostile, long, sample

pytestmark = pytest.mark.slow


def pages(content: bytes) -> list[str]:
    document = pypdfium2.PdfDocument(content)
    try:
        return [" ".join(page.get_textpage().get_text_range().split()) for page in document]
    finally:
        document.close()


def test_the_text_of_the_sample_can_be_read_back() -> None:
    first, *rest = pages(render_pdf(sample()))
    told = [
        "Saturday, 28 November 2026",
        "Not to be trusted",
        "Do not trust the listings of Tampere",
        "What stands out",
    ]
    places = [first.index(said) for said in told]
    assert places == sorted(places)
    text = " ".join(rest)
    for said in ("What failed, and what to do", "Ferencvárosi TC", "6,420.50", "2026-11-27 14:05", "Kept apart"):
        assert said in text


def test_charts_are_drawn_as_vectors_with_their_labels() -> None:
    content = render_pdf(sample())
    first, *_ = pages(content)
    assert "22 Nov" in first
    assert b"/Subtype/Image" not in content.replace(b" ", b"")


def test_it_says_nothing_of_when_it_was_made_or_where() -> None:
    document = pypdfium2.PdfDocument(render_pdf(empty()))
    metadata = document.get_metadata_dict()
    document.close()
    assert metadata["Title"] == "Saturday, 28 November 2026"
    assert not metadata["CreationDate"]
    assert not metadata["ModDate"]


def test_texts_of_strangers_are_not_code() -> None:
    text = " ".join(pages(render_pdf(hostile())))
    for said in ('#import "x.typ" $x^2$ *bold* `code` \\', "<script>alert(1)</script>", "{{ 7 * 7 }}"):
        assert said in text


def test_an_empty_report_is_one_page() -> None:
    (only,) = pages(render_pdf(empty()))
    assert "Everything that was expected is there." in only


def test_long_tables_are_cut_and_say_so() -> None:
    text = pages(render_pdf(long()))
    assert len(text) < 5
    assert "9,940 more rows: see the other forms of this report." in " ".join(text)
