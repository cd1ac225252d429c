"""The report as an e-mail: what is seen at a terminal, what a mail client gets, what a server can rely on."""

import email
import email.policy
import re
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest

from tidemill.reporter.envelope import Envelope
from tidemill.reporter.forms import Form
from tidemill.reporter.render import render
from tidemill.reporter.renderings.mail import message_id, render_mail
from tidemill.reporter.renderings.plain_text import plain_text
from tidemill.reporter.renderings.telling import table
from tidemill.reporter.renderings.wide import padded, width
from tidemill.reporter.report import Report

from .rendering_kit import SAVED, empty, hostile, long, sample
from .sample_report import BARE

RENEW = "renew it: python services/reporter/tests/sample_report.py"


def parsed(content: bytes) -> EmailMessage:
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not [part.defects for part in message.walk() if part.defects]
    return message


def body(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content())


def bare(report: Report) -> EmailMessage:
    return parsed(render_mail(report, BARE, {}))


def test_the_plain_text_of_the_sample_is_as_it_was() -> None:
    assert plain_text(sample(), BARE.link) == (SAVED / "report.txt").read_text(encoding="utf-8"), RENEW


def test_the_message_of_the_sample_is_as_it_was() -> None:
    assert render_mail(sample(), BARE, {}) == (SAVED / "report.eml").read_bytes(), RENEW


@pytest.mark.parametrize("report", [sample(), empty(), hostile(), long()], ids=["sample", "empty", "hostile", "long"])
def test_no_line_of_the_plain_text_is_wider_than_a_terminal(report: Report) -> None:
    lines = plain_text(report).splitlines()
    assert max(map(width, lines)) <= 78
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", "".join(lines))


def test_long_tables_are_cut_and_say_so() -> None:
    assert "… and 9,985 more rows" in plain_text(long())
    assert "and 9,985 more" in body(bare(long()), "html")


def test_both_bodies_tell_the_same() -> None:
    message = bare(sample())
    for kind in ("plain", "html"):
        text = body(message, kind)
        for said in (
            "Do not trust the listings of Tampere",
            "702 of 1,418 pages",
            "5,200.50 EUR/m²",
            "NB I",
            BARE.link,
        ):
            assert said in re.sub(r"\s+", " ", text), (kind, said)


def test_a_mail_holds_what_changed_and_names_the_tables_that_had_no_room() -> None:
    tables = tuple(
        table(
            f"Table {number}", "name:Name:text;count:Count:integer", [(f"row {row}", row) for row in range(14 + number)]
        )
        for number in range(20)
    )
    report = sample().model_copy(update={"breakdowns": tables})
    message = bare(report)
    for kind in ("plain", "html"):
        text = re.sub(r"\s+", " ", body(message, kind))
        assert "oikotie-tampere" in text
        assert "Table 0" in text
        assert "Only in the whole report:" in text
        assert re.search(r"Only in the whole report: .*Table 19\b", text)
    assert len(body(message, "html").encode()) < 102_000


def test_a_mail_about_a_very_bad_day_stays_readable() -> None:
    day = sample()
    bad = {name: getattr(day, name)[:1] * 300 for name in ("anomalies", "errors", "corrections")}
    message = bare(day.model_copy(update=bad))
    assert body(message, "plain").count("and 280 more") == 3
    assert body(message, "html").count("and 280 more") == 3
    assert len(body(message, "html").encode()) < 102_000


def test_html_in_a_mail_has_no_markup_of_strangers_and_loads_nothing() -> None:
    text = body(bare(hostile()), "html")
    assert "<script" not in text
    assert "<svg" not in text
    assert not re.search(r"<[^>]*\son\w+=", text)
    assert not re.search(r"<(?:img|link|iframe|style)\b", text)


def test_only_a_web_address_becomes_a_link() -> None:
    message = parsed(render_mail(sample(), Envelope(link="javascript:alert(1)", charts=False), {}))
    assert "javascript:" not in body(message, "html")


def test_each_edition_has_an_id_of_its_own_that_stays() -> None:
    first, second = (message_id("day-2026-11-28", edition, "T <t@example.org>") for edition in (1, 2))
    assert first == message_id("day-2026-11-28", 1, "t@example.org")
    assert first != second
    assert first.endswith("@example.org>")
    assert re.fullmatch(r"<[a-z0-9.-]+@b>", message_id('run-a/"b\n<c>@d', 1, "a@b"))


def test_a_corrected_report_answers_the_one_it_corrects() -> None:
    message = bare(sample())
    assert message["Message-ID"] == message_id("day-2026-11-28", 2, BARE.sender)
    assert message["In-Reply-To"] == message_id("day-2026-11-28", 1, BARE.sender)
    assert "(corrected, edition 2)" in message["Subject"]
    assert bare(empty())["In-Reply-To"] is None


def test_headers_hold_what_strangers_wrote_as_text() -> None:
    message = bare(hostile())
    assert message["Subject"].startswith("[with care] <script>alert(1)</script>")
    assert set(message.keys()) == {
        *("Subject", "From", "To", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"),
    }


@pytest.mark.parametrize("recipient", ["", "a@b.example\r\nBcc: x@evil.example", "no address at all <>", "a@b, c@d"])
def test_what_is_no_address_is_refused(recipient: str) -> None:
    with pytest.raises(ValueError, match="is no address: write"):
        Envelope(recipients=(recipient,))


def test_a_message_has_the_date_that_its_envelope_has() -> None:
    message = parsed(render_mail(empty(), Envelope(date=datetime(2026, 11, 29, 5, tzinfo=UTC)), {}))
    assert message["Date"] == "Sun, 29 Nov 2026 05:00:00 +0000"
    assert bare(empty())["Date"] is None


def test_other_forms_go_along_as_asked() -> None:
    content = render(empty(), Form.MAIL, Envelope(attachments=(Form.JSON, Form.CSV, Form.MAIL)))
    found = {part.get_filename(): part.get_content() for part in parsed(content).iter_attachments()}
    assert set(found) == {"tidemill-day-2026-11-28.json", "tidemill-day-2026-11-28.zip"}
    assert found["tidemill-day-2026-11-28.zip"] == render(empty(), Form.CSV)
    assert render(empty(), Form.MAIL, Envelope(attachments=(Form.JSON, Form.CSV))) == content


def test_lines_are_as_short_as_servers_want_them() -> None:
    assert max(map(len, render_mail(hostile(), BARE, {}).split(b"\r\n"))) <= 998


@pytest.mark.slow
def test_what_stands_out_is_drawn_within_the_message(tmp_path: Path) -> None:
    message = parsed(render(sample(), Form.MAIL))
    shown = re.findall(r'src="cid:([^"]+)"', body(message, "html"))
    pictures = {part["Content-ID"][1:-1]: part.get_content() for part in message.walk() if part["Content-ID"]}
    assert len(shown) == 3
    assert set(shown) == set(pictures)
    assert all(picture.startswith(b"\x89PNG") for picture in pictures.values())


def test_wide_characters_take_two_columns_and_joiners_none() -> None:
    assert [width(text) for text in ("abc", "東京", "e\u0301", "👩‍👧")] == [3, 4, 1, 4]
    assert padded("東京都", 5) == "東京…"
    assert padded("a", 3, right=True) == "  a"
