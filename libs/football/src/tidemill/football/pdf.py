"""A PDF document, opened within limits."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pypdfium2  # noqa: F401  (importing it initialises pdfium)
import pypdfium2.raw as pdfium

from tidemill.football.container import Container
from tidemill.plugin import Outcome, Refusal

_MAY_EXTRACT = 1 << 4
_LONGEST_SIDE = 14_400
"""Points: the 200 inches that PDF allows."""


@dataclass(frozen=True, slots=True)
class Pdf:
    """An open document."""

    handle: Any
    pages: int
    warnings: tuple[str, ...]


@contextmanager
def open_pdf(container: Container, max_pages: int) -> Iterator[Pdf]:
    """Open a document. Refuses one that is encrypted, broken, or larger than the limits, before any page is read."""
    document = pdfium.FPDF_LoadMemDocument64(container.content, len(container.content), None)
    if not document:
        raise _refusal(container, pdfium.FPDF_GetLastError())
    try:
        pages = pdfium.FPDF_GetPageCount(document)
        _check_size(document, pages, max_pages)
        yield Pdf(document, pages, tuple(_warnings(document, container)))
    finally:
        pdfium.FPDF_CloseDocument(document)


def _refusal(container: Container, error: int) -> Refusal:
    if error == pdfium.FPDF_ERR_PASSWORD:
        return Refusal(Outcome.ENCRYPTED, "The file is password protected: it does not open without a password.")
    if error == pdfium.FPDF_ERR_SECURITY:
        return Refusal(Outcome.ENCRYPTED, "The file is encrypted in a way that cannot be read.")
    if container.cut_off:
        return Refusal(Outcome.TRUNCATED, "The file is cut off: its end is missing, and with it what tells its pages.")
    return Refusal(Outcome.UNREADABLE, "The file begins like a PDF, but its structure is broken.")


def _check_size(document: Any, pages: int, max_pages: int) -> None:
    if pages > max_pages:
        raise Refusal(Outcome.TOO_LARGE, f"The document has {pages} pages; the limit is {max_pages}.")
    size = pdfium.FS_SIZEF()
    for index in range(pages):
        if pdfium.FPDF_GetPageSizeByIndexF(document, index, size) and max(size.width, size.height) > _LONGEST_SIDE:
            raise Refusal(
                Outcome.TOO_LARGE,
                f"Page {index + 1} is {size.width:.0f} by {size.height:.0f} points; the limit is {_LONGEST_SIDE}.",
            )


def _warnings(document: Any, container: Container) -> Iterator[str]:
    if not pdfium.FPDF_DocumentHasValidCrossReferenceTable(document) and not container.cut_off:
        yield "Repaired: the cross-reference table was wrong, and was rebuilt from the objects found."
    protected = pdfium.FPDF_GetSecurityHandlerRevision(document) >= 0
    if protected and not pdfium.FPDF_GetDocPermissions(document) & _MAY_EXTRACT:
        yield "The publisher's settings ask readers not to extract text; it opens without a password, and was read."
