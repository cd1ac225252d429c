"""The report as an e-mail: plain text and HTML of one content, charts within it, other forms as attachments."""

import hashlib
import re
from collections.abc import Mapping
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr

from tidemill.reporter.envelope import Envelope
from tidemill.reporter.forms import KINDS, Form, file_name
from tidemill.reporter.renderings.charts import line_chart
from tidemill.reporter.renderings.excerpt import LISTED, ROWS, excerpt
from tidemill.reporter.renderings.figures import NUMERIC, figure
from tidemill.reporter.renderings.palette import PAPER
from tidemill.reporter.renderings.plain_text import plain_text
from tidemill.reporter.renderings.svg import png
from tidemill.reporter.renderings.telling import (
    VERDICTS,
    anomalies,
    corrected,
    drawable,
    edition,
    find_series,
    head,
    name_of,
    notes_on_trust,
    sums,
    title,
    told,
)
from tidemill.reporter.renderings.templating import make_templates
from tidemill.reporter.renderings.visible import shortened, visible
from tidemill.reporter.report import Report

CHARTS = 3
SUBJECT_LETTERS = 180


def render_mail(report: Report, envelope: Envelope, attached: Mapping[Form, bytes]) -> bytes:
    """Nothing in it depends on when it is made: boundaries and ids follow from the report and the envelope."""
    charts = _charts(report) if envelope.charts else {}
    message = EmailMessage(policy=SMTP)
    _address(message, report, envelope)
    message.set_content(plain_text(report, envelope.link), cte="quoted-printable")
    message.add_alternative(_page(report, envelope, charts), subtype="html", cte="quoted-printable")
    page = message.get_payload()[1]  # type: ignore[index]
    for place, picture in charts.items():
        name = f"chart-{place}"
        identity = f"<{_identity(report, envelope, name)}>"
        page.add_related(picture, "image", "png", cid=identity, disposition="inline", filename=f"{name}.png")  # type: ignore[union-attr]
    for form, content in attached.items():
        main, sub = KINDS[form].media_type.split(";")[0].split("/")
        message.add_attachment(content, main, sub, filename=file_name(report.id, report.edition, form))
    _set_boundaries(message, _identity(report, envelope))
    return message.as_bytes()


def message_id(report_id: str, edition: int, sender: str) -> str:
    """The same for each sending of one edition, so that a receiver that saw it can tell."""
    digest = hashlib.sha256(f"{report_id}\n{edition}".encode()).hexdigest()[:16]
    word = re.sub("[^a-z0-9-]+", "-", report_id.lower())[:40].strip("-")
    return f"<{word}.{edition}.{digest}@{_domain(sender)}>"


def _domain(sender: str) -> str:
    return parseaddr(sender)[1].rpartition("@")[2]


def _address(message: EmailMessage, report: Report, envelope: Envelope) -> None:
    mark = {"trusted": "", "doubtful": "[with care] ", "untrusted": "[not to be trusted] "}[report.trust.verdict]
    corrected_one = f" ({edition(report)})" if report.corrected else ""
    message["Subject"] = shortened(
        f"{mark}{visible(title(report))}{corrected_one}: {visible(report.summary)}", SUBJECT_LETTERS
    )
    message["From"] = _addresses(envelope.sender)
    if envelope.recipients:
        message["To"] = _addresses(*envelope.recipients)
    if envelope.date:
        message["Date"] = format_datetime(envelope.date)
    message["Message-ID"] = message_id(report.id, report.edition, envelope.sender)
    if report.edition > 1:
        before = [message_id(report.id, number, envelope.sender) for number in range(1, report.edition)]
        message["In-Reply-To"] = before[-1]
        message["References"] = " ".join(before[-10:])
    message["Auto-Submitted"] = "auto-generated"


def _addresses(*given: str) -> tuple[Address, ...]:
    return tuple(Address(name, addr_spec=spec) for name, spec in map(parseaddr, given))


def _identity(report: Report, envelope: Envelope, name: str = "") -> str:
    told_apart = message_id(report.id, report.edition, envelope.sender)[1:-1]
    return f"{name}.{told_apart}" if name else told_apart


def _charts(report: Report) -> dict[int, bytes]:
    """Of the gravest anomalies, by their place."""
    found = [(place, find_series(report, one)) for place, one in enumerate(anomalies(report))]
    drawn = [(place, series) for place, series in found if series and drawable(series)][:CHARTS]
    return {place: png(line_chart(series, PAPER, width=540, height=130)) for place, series in drawn}


def _page(report: Report, envelope: Envelope, charts: Mapping[int, bytes]) -> str:
    return (
        make_templates()
        .get_template("mail.html.j2")
        .render(
            report=report,
            title=title(report),
            edition=edition(report),
            verdict=VERDICTS[report.trust.verdict],
            sums=sums(report),
            notes=notes_on_trust(report),
            anomalies=[
                (one, _identity(report, envelope, f"chart-{place}") if place in charts else "")
                for place, one in enumerate(anomalies(report)[:LISTED])
            ],
            excerpt=excerpt(report),
            rows=ROWS,
            listed=LISTED,
            link=envelope.link if envelope.link.startswith(("https://", "http://")) else "",
            shown=lambda value, column: visible(shortened(figure(value, column.type, "", report.zone), 300)),
            **{"told": told, "corrected": corrected, "head": head, "name_of": name_of, "figure": figure, "zip": zip},
            numeric=lambda column: column.type in NUMERIC,
        )
    )


def _set_boundaries(message: EmailMessage, identity: str) -> None:
    """Instead of random ones. A line of the content cannot be one: all of it is encoded."""
    digest = hashlib.sha256(identity.encode()).hexdigest()[:24]
    parts = [part for part in message.walk() if part.is_multipart()]
    for number, part in enumerate(parts):
        part.set_boundary(f"=_{digest}.{number}")
