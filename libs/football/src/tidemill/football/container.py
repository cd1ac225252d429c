"""What a file is, judged by its bytes before a PDF reader sees it."""

import re
from dataclasses import dataclass

from tidemill.football.streams import check_streams
from tidemill.plugin import Outcome, Refusal

_MAGIC = b"%PDF-"
_MAGIC_WITHIN = 1024
"""Readers accept a header so far into the file."""
_TAIL = 2048
_OBJECT = re.compile(rb"(?<!\d)(\d{1,10})\s+(\d{1,5})\s+obj\b")
_CATALOG = re.compile(rb"/Type\s*/Catalog\b")
_REFERENCE = re.compile(rb"(\d{1,10})\s+\d{1,5}\s+R\b")
_REFERRING = re.compile(rb"/(\w+)\s*(\[[^\[\]]*\]|\d{1,10}\s+\d{1,5}\s+R\b)")
_PAGE_KEYS = {b"Contents", b"Kids", b"Parent", b"Annots", b"Info", b"Metadata", b"Prev", b"Next", b"First", b"Last"}
_LAYERS_OFF = re.compile(rb"/OFF\s*\[\s*\d")
_ACTIVE = {
    b"/JavaScript": "JavaScript",
    b"/Launch": "an action that starts a program",
    b"/EmbeddedFile": "an embedded file",
}


@dataclass(frozen=True, slots=True)
class Container:
    """The bytes to open, mended where their end was missing."""

    content: bytes
    warnings: tuple[str, ...] = ()
    cut_off: bool = False
    """The file ends before its cross-reference table."""
    objects_lost: bool = False
    """The file ends before the last of its objects: pages may be missing or empty."""


def examine(content: bytes, inflate_limit: int) -> Container:
    """The container of a PDF. Refuses empty files, files of another type, damaged streams, and bombs."""
    if not content:
        raise Refusal(Outcome.EMPTY, "The file is empty: it has no bytes.")
    start = content.find(_MAGIC, 0, _MAGIC_WITHIN + len(_MAGIC))
    if start < 0:
        raise Refusal(Outcome.WRONG_TYPE, "This is not a PDF: it does not begin with %PDF-, whatever its name says.")
    warnings = [f"{start} bytes of something else stand before the PDF header."] if start else []
    check_streams(content, inflate_limit)
    held = [name for mark, name in _ACTIVE.items() if mark in content]
    if held:
        warnings.append(f"The file holds {', '.join(held)}: left alone, neither run nor unpacked.")
    if b"/OCProperties" in content and _LAYERS_OFF.search(content):
        warnings.append("The file has layers that are switched off: rows on them are read, though nobody sees them.")
    tail = content[-_TAIL:]
    if b"%%EOF" in tail and b"startxref" in tail:
        return Container(content, tuple(warnings))
    return _mended(content, tuple(warnings))


def _mended(content: bytes, warnings: tuple[str, ...]) -> Container:
    """Keep the objects that are whole and write the trailer that got lost, so that a reader can rebuild the rest."""
    end = content.rfind(b"endobj") + len(b"endobj")
    body, rest = content[:end], content[end:]
    lost = _OBJECT.search(rest) is not None or b"xref" not in rest
    if lost and _lacks_more_than_pages(body):
        raise Refusal(Outcome.TRUNCATED, "The file is cut off: fonts or other parts that its pages need are missing.")
    root = _catalog(body)
    if root:
        body += b"\ntrailer\n<< /Root " + root + b" R >>\nstartxref\n0\n%%EOF\n"
    if not lost:
        warnings += ("Repaired: the file ends within its cross-reference table, all of its objects are there.",)
    return Container(body, warnings, cut_off=True, objects_lost=lost)


def _lacks_more_than_pages(body: bytes) -> bool:
    """Whether objects are missing that are neither pages nor their content: what is read without them is not sure."""
    present = {found[1] for found in _OBJECT.finditer(body)}
    return any(
        number not in present
        for key, value in _REFERRING.findall(body)
        if key not in _PAGE_KEYS
        for number in _REFERENCE.findall(value)
    )


def _catalog(content: bytes) -> bytes | None:
    """Number and generation of the last catalog object."""
    reference = None
    for found in _CATALOG.finditer(content):
        openings = list(_OBJECT.finditer(content, max(0, found.start() - _TAIL), found.start()))
        if openings:
            reference = openings[-1][1] + b" " + openings[-1][2]
    return reference
