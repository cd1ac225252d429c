"""What is no whole, visible, readable issue is told apart, and never taken for a smaller issue."""

import base64
import random
import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from conversions import Conversion, convert, rows
from generate import make_paper
from paper import Paper, Style, bind, lay_out, print_paper
from pdf_writer import Page, save

from tidemill.plugin import Accounting, Outcome

STYLE = Style(page=(680, 960), head="split", size=7)
FONTS = {"F1": "Helvetica", "F2": "Helvetica-Bold"}


@pytest.fixture(scope="module")
def paper(truth: dict[str, Any]) -> Paper:
    return make_paper(truth)


@pytest.fixture(scope="module")
def issue(paper: Paper) -> bytes:
    return print_paper(paper, STYLE)


def page_of(content: bytes, box: str = "0 0 612 792", filters: str = "/FlateDecode", extra: str = "") -> bytes:
    """A PDF of one page with this content stream, packed already."""
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [{box}] /Contents 4 0 R "
        "/Resources << /Font << /F1 5 0 R >> >> >>".encode(),
        f"<< /Length {len(content)} /Filter [{filters}] {extra} >>\nstream\n".encode() + content + b"\nendstream",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, places = bytearray(b"%PDF-1.4\n"), []
    for number, part in enumerate(parts, start=1):
        places.append(len(out))
        out += f"{number} 0 obj\n".encode() + part + b"\nendobj\n"
    start = len(out)
    out += b"xref\n0 6\n0000000000 65535 f \n" + b"".join(f"{place:010d} 00000 n \n".encode() for place in places)
    out += f"trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)


def refused(conversion: Conversion, outcome: Outcome) -> str:
    assert conversion.outcome is outcome, conversion.reason
    assert conversion.document["matches"] == []
    return conversion.reason


def test_an_empty_file_is_empty() -> None:
    assert "empty" in refused(convert(b""), Outcome.EMPTY)


@pytest.mark.parametrize(
    "content",
    [
        b"<!doctype html><p>P 19:00 43254 Girona - Rayo Vallecano 2,04 3,25 3,20</p>",
        b"PK\x03\x04 a zip archive with another name",
        b"P 19:00 43254 Girona - Rayo Vallecano 2,04 3,25 3,20\r\n" * 100,
        b"%P",
    ],
)
def test_another_type_is_told_by_its_first_bytes(content: bytes) -> None:
    refused(convert(content), Outcome.WRONG_TYPE)


@pytest.mark.parametrize("content", [b"%PDF-1.7\n", b"<p>See %PDF-1.4 for more</p>" * 9, b"%PDF-1.4\n" + b"x" * 5000])
def test_a_header_alone_is_no_document(content: bytes) -> None:
    assert convert(content).outcome in {Outcome.UNREADABLE, Outcome.TRUNCATED}


@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_bomb_is_found_before_it_is_unpacked(times: int) -> None:
    content = b"0" * (40 << 20)
    for _ in range(times):
        content = zlib.compress(content, 9)
    bomb = page_of(content, filters="/FlateDecode " * times)
    assert "MiB" in refused(convert(bomb), Outcome.RESOURCE_LIMIT)


def test_a_bomb_written_in_letters_is_found_too() -> None:
    content = base64.a85encode(zlib.compress(b"0" * (40 << 20), 9)) + b"~>"
    refused(convert(page_of(content, filters="/ASCII85Decode /FlateDecode")), Outcome.RESOURCE_LIMIT)


def test_a_picture_may_be_larger_than_a_bomb() -> None:
    content = zlib.compress(b"0" * (40 << 20), 9)
    picture = page_of(content, extra="/Subtype /Image /Width 9000 /Height 4000")
    assert convert(picture).outcome is not Outcome.RESOURCE_LIMIT


def test_a_page_as_large_as_a_city_is_too_large() -> None:
    content = zlib.compress(b"BT /F1 9 Tf 40 40 Td (P 19:00 43254 Girona - Rayo Vallecano 2,04 3,25 3,20) Tj ET")
    refused(convert(page_of(content, box="0 0 4000000 4000000")), Outcome.TOO_LARGE)


def test_too_many_pages_are_counted_before_they_are_read(issue: bytes) -> None:
    assert "7 pages" in refused(convert(issue, max_pages=6), Outcome.TOO_LARGE)


def test_a_file_larger_than_the_limit_is_not_read(issue: bytes) -> None:
    refused(convert(issue + b" " * (2 << 20), max_megabytes=1), Outcome.TOO_LARGE)


def test_a_page_tree_that_holds_itself_ends() -> None:
    loop = page_of(zlib.compress(b"")).replace(b"/Kids [3 0 R] /Count 1", b"/Kids [3 0 R 2 0 R] /Count 2")
    refused(convert(loop), Outcome.UNREADABLE)


@pytest.mark.parametrize("password, outcome", [("secret", Outcome.ENCRYPTED), ("", Outcome.CONVERTED)])
@pytest.mark.parametrize("strength", [40, 128])
def test_a_password_is_asked_for_by_name(password: str, outcome: Outcome, strength: int, truth: dict[str, Any]) -> None:
    conversion = convert(encrypted(truth, password, strength))
    assert conversion.outcome is outcome
    if password:
        assert "password" in refused(conversion, outcome)
    else:
        assert len(conversion.document["matches"]) == 3
        assert any("not to extract" in warning for warning in conversion.warnings)


def encrypted(truth: dict[str, Any], password: str, strength: int) -> bytes:
    from reportlab.lib.pdfencrypt import StandardEncryption
    from reportlab.pdfgen.canvas import Canvas

    lock = StandardEncryption(password, ownerPassword="owner", canCopy=0, strength=strength)
    canvas = Canvas("", encrypt=lock)
    canvas.setFont("Helvetica", 8)
    canvas.drawString(200, 780, "Péntek (2025. július 18.)")
    canvas.drawString(150, 770, "Labdarúgás, Kínai bajnokság")
    for index, match in enumerate(truth["matches"][:3]):
        y = 760 - 12 * index
        for x, text in ((30, f"P {match['time']}"), (100, match["markets"][0]["serial"]), (400, "2,04"), (450, "3,30")):
            canvas.drawString(x, y, text)
        canvas.drawString(150, y, f"{match['home']} - {match['away']}")
        canvas.drawString(500, y, "3,15")
    canvas.showPage()
    return canvas.getpdfdata()


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.6, 0.75, 0.9, 0.96])
def test_a_file_cut_off_is_never_a_smaller_issue(share: float, issue: bytes, truth: dict[str, Any]) -> None:
    conversion = convert(issue[: int(len(issue) * share)])
    assert conversion.outcome in {Outcome.TRUNCATED, Outcome.INCOMPLETE}
    assert rows(conversion.document) <= rows(truth)


@pytest.mark.parametrize("missing", [7, 40, 200])
def test_a_lost_cross_reference_table_is_rebuilt(missing: int, issue: bytes, truth: dict[str, Any]) -> None:
    conversion = convert(issue[:-missing])
    assert conversion.outcome is Outcome.CONVERTED
    assert rows(conversion.document) == rows(truth)
    assert any("Repaired" in warning for warning in conversion.warnings)


def test_a_wrong_cross_reference_table_is_rebuilt(issue: bytes, truth: dict[str, Any]) -> None:
    conversion = convert(re.sub(rb"startxref\n\d+", b"startxref\n77", issue))
    assert rows(conversion.document) == rows(truth)
    assert any("Repaired" in warning for warning in conversion.warnings)


def test_junk_before_the_header_is_mentioned(issue: bytes, truth: dict[str, Any]) -> None:
    conversion = convert(b"HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\n\r\n" + issue)
    assert rows(conversion.document) == rows(truth)
    assert any("before the PDF header" in warning for warning in conversion.warnings)


def test_active_content_is_left_alone_and_mentioned(issue: bytes, truth: dict[str, Any]) -> None:
    action = b"/Type /Catalog /OpenAction << /S /JavaScript /JS (app.alert\\(1\\)) >>"
    conversion = convert(issue.replace(b"/Type /Catalog", action))
    assert rows(conversion.document) == rows(truth)
    assert any("JavaScript" in warning for warning in conversion.warnings)


@pytest.mark.parametrize("layers, warned", [("/OFF [9 0 R]", True), ("/OFF []", False), ("/ON [9 0 R]", False)])
def test_layers_that_are_switched_off_are_mentioned(layers: str, warned: bool, issue: bytes) -> None:
    catalog = f"/Type /Catalog /OCProperties << /OCGs [9 0 R] /D << {layers} >> >>"
    conversion = convert(issue.replace(b"/Type /Catalog", catalog.encode()))
    assert any("layers" in warning for warning in conversion.warnings) is warned


def test_a_picture_of_a_page_is_a_scan() -> None:
    refused(convert(scanned()), Outcome.SCANNED)


def scanned() -> bytes:
    import io

    from PIL import Image
    from reportlab.lib.utils import ImageReader
    from reportlab.pdfgen.canvas import Canvas

    picture = io.BytesIO()
    Image.new("L", (60, 80), 200).save(picture, "PNG")
    canvas = Canvas("", pagesize=(595, 842))
    canvas.drawImage(ImageReader(picture), 0, 0, 595, 842)
    canvas.showPage()
    return canvas.getpdfdata()


def test_fonts_without_a_key_to_letters_are_unreadable(paper: Paper) -> None:
    assert "fonts" in refused(convert(print_paper(paper, replace(STYLE, readable=False))), Outcome.UNREADABLE)


@pytest.mark.parametrize("shift", [1, 5, 13])
def test_letters_that_lie_are_unreadable(shift: int, paper: Paper) -> None:
    pages = lay_out(paper, STYLE)
    for page in pages:
        page.runs = [shifted(run, shift) for run in page.runs]
    refused(convert(bind(pages, STYLE)), Outcome.UNREADABLE)


@pytest.mark.parametrize("font", [b"/F1", b"/F2"])
def test_one_font_that_lies_spoils_the_issue(font: bytes, paper: Paper) -> None:
    pages = lay_out(paper, STYLE)
    for page in pages:
        page.runs = [shifted(run, 7) if font in run else run for run in page.runs]
    conversion = convert(bind(pages, STYLE))
    assert conversion.outcome in {Outcome.UNREADABLE, Outcome.UNRECOGNISED}
    assert conversion.document["matches"] == []


def test_headings_that_cannot_be_read_are_mentioned(paper: Paper, truth: dict[str, Any]) -> None:
    pages = lay_out(paper, STYLE)
    pages[3].runs = [shifted(run, 7) if b"/F2" in run else run for run in pages[3].runs]
    conversion = convert(bind(pages, STYLE))
    assert any("nobody has seen" in warning for warning in conversion.warnings)
    assert rows(conversion.document) <= rows(truth)


def shifted(run: bytes, by: int) -> bytes:
    """Letters moved along the alphabet, as a font does whose map is wrong; figures stay."""
    head, mark, text = run.partition(b" Tm (")
    moved = bytes(
        (c - base + by) % 26 + base if (base := c & 0x60 | 1) and chr(c).isascii() and chr(c).isalpha() else c
        for c in text[:-8]
    )
    return head + mark + moved + text[-8:]


def test_a_valid_pdf_of_something_else_is_not_recognised() -> None:
    text = b"BT /F1 12 Tf 72 700 Td (Invoice 2025/17: 3 chairs, 12 345 Ft, due on 12:30) Tj ET"
    assert "Not a betting offer" in refused(convert(page_of(zlib.compress(text))), Outcome.UNRECOGNISED)


def test_an_offer_without_football_is_not_recognised(paper: Paper) -> None:
    items = [
        replace(i, text=i.text.replace("Labdarúgás", "Tollaslabda")) if hasattr(i, "text") else i for i in paper.items
    ]
    refused(convert(print_paper(replace(paper, items=items), STYLE)), Outcome.UNRECOGNISED)


def test_blank_pages_are_not_recognised() -> None:
    refused(convert(save([Page((595, 842))], FONTS)), Outcome.UNRECOGNISED)


@pytest.mark.parametrize(
    "change, offer_only",
    [({"date": "2025-08-15"}, False), ({"number": 65}, False), ({"date": "2025-08-15"}, True)],
)
def test_two_issues_in_one_file_are_ambiguous(change: dict[str, Any], offer_only: bool, paper: Paper) -> None:
    style = replace(STYLE, offer_only=offer_only)
    pages = lay_out(paper, style) + lay_out(replace(paper, **change), style)
    assert "split" in refused(convert(bind(pages, style)), Outcome.AMBIGUOUS)


def test_an_issue_printed_twice_counts_once(paper: Paper, truth: dict[str, Any]) -> None:
    pages = lay_out(paper, STYLE)
    conversion = convert(bind(pages + pages, STYLE))
    assert rows(conversion.document) == rows(truth)
    duplicates = sum(i.ignored.get("duplicate", 0) for i in conversion.items if isinstance(i, Accounting))
    assert duplicates == 206 + 5


@pytest.mark.parametrize("order", [(0, 5, 4, 3, 2, 1, 6), (1, 3, 2, 4, 5, 0, 6)])
def test_pages_out_of_order_are_read_by_their_numbers(
    order: tuple[int, ...], paper: Paper, truth: dict[str, Any]
) -> None:
    pages = lay_out(paper, STYLE)
    conversion = convert(bind([pages[index] for index in order], STYLE))
    assert conversion.outcome is Outcome.CONVERTED
    assert rows(conversion.document) == rows(truth)
    assert any("out of order" in warning for warning in conversion.warnings)


Trick = Callable[[Page, float, float, str], None]

TRICKS: dict[str, Trick] = {
    "render mode invisible": lambda page, x, y, text: page.text(x, y, text, "F1", 7, mode=3),
    "render mode clip": lambda page, x, y, text: page.text(x, y, text, "F1", 7, mode=7),
    "white on white": lambda page, x, y, text: page.text(x, y, text, "F1", 7, colour=1),
    "nearly white": lambda page, x, y, text: page.text(x, y, text, "F1", 7, colour=0.96),
    "half a point high": lambda page, x, y, text: page.text(x, y, text, "F1", 0.5),
    "transparent": lambda page, x, y, text: page.text(x, y, text, "F1", 7, opacity="G1"),
    "clipped away": lambda page, x, y, text: page.text(x, y, text, "F1", 7, clip=(0, 0, 10, 10)),
    "left of the page": lambda page, x, y, text: page.text(x - 900, y, text, "F1", 7),
    "above the page": lambda page, x, y, text: page.text(x, y - 2000, text, "F1", 7),
}


@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS)
@pytest.mark.parametrize("between_rows", [True, False])
def test_rows_that_nobody_sees_are_left_out(
    trick: Trick, between_rows: bool, paper: Paper, truth: dict[str, Any]
) -> None:
    pages = lay_out(paper, STYLE)
    y = 400.0 if between_rows else 930.0
    for x, text in ((28, "P 19:00"), (76, "99999"), (142, "Hamis FC - Csalás SE"), (560, "2,00"), (600, "3,00")):
        trick(pages[1], x, y, text)
        trick(pages[2], x, y, text)
    trick(pages[1], 640, y, "4,00")
    conversion = convert(bind(pages, STYLE))
    assert rows(conversion.document) == rows(truth)
    assert any("nobody sees" in warning for warning in conversion.warnings)


def test_a_text_clipped_at_the_edge_of_its_cell_is_still_its_text(paper: Paper, truth: dict[str, Any]) -> None:
    pages = lay_out(paper, STYLE)
    for page in pages:
        page.runs = [re.sub(rb"^q ", clip_around(run), run) for run in page.runs]
    assert rows(convert(bind(pages, STYLE)).document) == rows(truth)


def clip_around(run: bytes) -> bytes:
    """A clipping path that shows the beginning of a run and nothing else."""
    place = re.search(rb"([\d.]+) ([\d.]+) Tm", run)
    assert place
    return f"q {float(place[1]) - 1:.1f} {float(place[2]) - 3:.1f} 9 12 re W n ".encode()


@pytest.mark.parametrize("lost", ["soup", "picture"])
def test_an_offer_page_that_cannot_be_read_makes_an_issue_incomplete(
    lost: str, paper: Paper, truth: dict[str, Any]
) -> None:
    pages = lay_out(paper, STYLE)
    if lost == "soup":
        pages[2].runs = [shifted(run, 9) for run in pages[2].runs]
    else:
        pages[2].runs = [run.replace(b" 0 Tr ", b" 3 Tr ") for run in pages[2].runs]
    conversion = convert(bind(pages, STYLE))
    assert conversion.outcome is Outcome.INCOMPLETE
    assert "3" in conversion.reason
    assert 0 < len(rows(conversion.document)) < 206
    assert rows(conversion.document) <= rows(truth)


def test_a_page_left_out_is_missed_by_its_folio(paper: Paper, truth: dict[str, Any]) -> None:
    pages = lay_out(paper, STYLE)
    del pages[2]
    conversion = convert(bind(pages, STYLE))
    assert conversion.outcome is Outcome.INCOMPLETE
    assert "Offer page 2" in conversion.reason
    assert rows(conversion.document) <= rows(truth)


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6])
def test_a_damaged_page_is_told_by_its_checksum(share: float, issue: bytes) -> None:
    place = issue.index(b">>\nstream\n", int(len(issue) * share)) + 200
    damaged = issue[:place] + bytes([issue[place] ^ 1]) + issue[place + 1 :]
    assert "checksum" in refused(convert(damaged), Outcome.UNREADABLE)


def test_a_checksum_that_was_never_written_is_not_missed(truth: dict[str, Any]) -> None:
    text = b"BT /F1 12 Tf 72 700 Td (Invoice 2025/17) Tj ET"
    refused(convert(page_of(zlib.compress(text)[:-4])), Outcome.UNRECOGNISED)
    assert "checksum" in refused(convert(page_of(zlib.compress(text)[:-9])), Outcome.UNREADABLE)


@pytest.mark.parametrize("text", [b"BT ET", b"BT ET\0\0\0\0\0\0\0\0 q Q", b"x" * 70_001])
@pytest.mark.parametrize("blanks", [b"", b"\n", b" \r\n"])
def test_streams_in_letters_are_unpacked_as_others_are(text: bytes, blanks: bytes) -> None:
    letters = base64.a85encode(zlib.compress(text, 0))
    broken = blanks.join(letters[at : at + 70] for at in range(0, len(letters), 70)) + b"~>"
    whole = page_of(broken, filters="/ASCII85Decode /FlateDecode")
    assert "damaged" not in convert(whole).reason
    assert "damaged" in convert(whole.replace(letters[8:12], letters[9:13], 1)).reason


def test_random_damage_never_crashes(issue: bytes) -> None:
    dice = random.Random(7)
    for _ in range(25):
        damaged = bytearray(issue)
        for _ in range(dice.randrange(1, 30)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        convert(bytes(damaged))
