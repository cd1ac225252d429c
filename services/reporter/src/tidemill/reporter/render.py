"""One function from a report to the bytes of a form. What is heavy is imported when its form is asked for."""

from importlib import import_module

from tidemill.reporter.envelope import Envelope
from tidemill.reporter.forms import Form
from tidemill.reporter.report import Report

MAKERS = {
    Form.HTML: ("html", "render_html"),
    Form.PDF: ("pdf", "render_pdf"),
    Form.XLSX: ("xlsx", "render_xlsx"),
    Form.CSV: ("csvs", "render_csv"),
}


def render(report: Report, form: Form, envelope: Envelope | None = None) -> bytes:
    """The same report gives the same bytes, in any process. `envelope` is for mail.

    HTML, PDF and mail start V8 or Typst: hundreds of megabytes that a service leaves to `render_apart`.
    """
    if form is Form.JSON:
        return report.canonical_json()
    if form is Form.MAIL:
        return _mail(report, envelope or Envelope())
    module, name = MAKERS[form]
    made: bytes = getattr(import_module(f"tidemill.reporter.renderings.{module}"), name)(report)
    return made


def _mail(report: Report, envelope: Envelope) -> bytes:
    from tidemill.reporter.renderings.mail import render_mail

    attached: dict[Form, bytes] = {form: render(report, form) for form in envelope.attachments if form is not Form.MAIL}
    return render_mail(report, envelope, attached)
