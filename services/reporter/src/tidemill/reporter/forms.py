"""The forms that a report is had in."""

import re
from dataclasses import dataclass
from enum import StrEnum


class Form(StrEnum):
    JSON = "json"
    HTML = "html"
    PDF = "pdf"
    XLSX = "xlsx"
    CSV = "csv"
    MAIL = "mail"


@dataclass(frozen=True, slots=True)
class Kind:
    """What kind of file a form is."""

    ending: str
    media_type: str


KINDS = {
    Form.JSON: Kind("json", "application/json"),
    Form.HTML: Kind("html", "text/html; charset=utf-8"),
    Form.PDF: Kind("pdf", "application/pdf"),
    Form.XLSX: Kind("xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
    Form.CSV: Kind("zip", "application/zip"),
    Form.MAIL: Kind("eml", "message/rfc822"),
}


def file_name(report_id: str, edition: int, form: Form) -> str:
    """`tidemill-day-2025-06-17.html`; a further one `tidemill-day-2025-06-17-edition-2.html`."""
    return f"tidemill-{folder_name(report_id)}{f'-edition-{edition}' if edition > 1 else ''}.{KINDS[form].ending}"


def folder_name(report_id: str) -> str:
    """Of a report's files: `day-2025-06-17`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", report_id)[:120]
