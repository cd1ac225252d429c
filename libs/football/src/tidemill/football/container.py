"""What a file is, judged by its bytes before a PDF reader sees it."""

import base64
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

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
_STREAM = re.compile(rb"(?<!end)stream\r?\n")
_FILTERS = re.compile(rb"/Filter\s*(\[[^\]]*\]|/\w+)")
_FILTER_NAMES = {b"FlateDecode": "flate", b"Fl": "flate", b"ASCII85Decode": "ascii85", b"A85": "ascii85"}
_ACTIVE = {
    b"/JavaScript": "JavaScript",
    b"/Launch": "an action that starts a program",
    b"/EmbeddedFile": "an embedded file",
}
_CHUNK = 1 << 16


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
    """The container of a PDF. Refuses empty files, files of another type, and streams that inflate beyond the limit."""
    if not content:
        raise Refusal(Outcome.EMPTY, "The file is empty: it has no bytes.")
    start = content.find(_MAGIC, 0, _MAGIC_WITHIN + len(_MAGIC))
    if start < 0:
        raise Refusal(Outcome.WRONG_TYPE, "This is not a PDF: it does not begin with %PDF-, whatever its name says.")
    warnings = [f"{start} bytes of something else stand before the PDF header."] if start else []
    _refuse_bombs(content, inflate_limit)
    held = [name for mark, name in _ACTIVE.items() if mark in content]
    if held:
        warnings.append(f"The file holds {', '.join(held)}: left alone, neither run nor unpacked.")
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


def _refuse_bombs(content: bytes, limit: int) -> None:
    """Pictures are not looked at: reading text does not unpack them."""
    at = 0
    while opening := _STREAM.search(content, at):
        furthest = max(0, opening.start() - _TAIL)
        head = content[max(furthest, content.rfind(b" obj", furthest, opening.start())) : opening.start()]
        end = content.find(b"endstream", opening.end())
        at = end if end >= 0 else len(content)
        filters = _filters(head)
        if "flate" not in filters or (b"/Width" in head and b"/Height" in head):
            continue
        data = content[opening.end() : at]
        if _inflates_beyond(data, filters, limit):
            raise Refusal(
                Outcome.RESOURCE_LIMIT,
                f"Resource limit: a stream of {len(data)} bytes inflates to more than {limit >> 20} MiB.",
            )


def _filters(head: bytes) -> list[str]:
    """The leading filters of a stream that can be undone here."""
    found = _FILTERS.search(head)
    names = re.findall(rb"/(\w+)", found[1]) if found else []
    return [_FILTER_NAMES[name] for name in takewhile(_FILTER_NAMES.__contains__, names)]


def _at_most(data: bytes, filters: list[str]) -> int:
    """What a stream could become if each filter did its worst: most streams need not be unpacked to be trusted."""
    size = len(data)
    for name in filters:
        size = size * 1032 if name == "flate" else size * 4 // 5 + 4 * data.count(b"z")
    return size


class _Beyond(Exception):
    """More bytes than the limit."""


def _inflates_beyond(data: bytes, filters: list[str], limit: int) -> bool:
    """Whether any filter yields more than the limit; computed in pieces, never held as a whole."""
    if _at_most(data, filters) <= limit:
        return False
    pieces: Iterator[bytes] = iter([data])
    for name in filters:
        pieces = _bounded(_inflated(pieces) if name == "flate" else _from_ascii85(pieces), limit)
    try:
        for _ in pieces:
            pass
    except _Beyond:
        return True
    except (zlib.error, ValueError):
        pass  # Damaged or encrypted: what could be unpacked of it stayed below the limit.
    return False


def _bounded(pieces: Iterator[bytes], limit: int) -> Iterator[bytes]:
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > limit:
            raise _Beyond
        yield piece


def _inflated(pieces: Iterator[bytes]) -> Iterator[bytes]:
    inflater = zlib.decompressobj()
    for piece in pieces:
        rest = piece
        while rest and not inflater.eof:
            yield inflater.decompress(rest, _CHUNK)
            rest = inflater.unconsumed_tail
    # An exhausted input may leave output behind.
    while not inflater.eof and (piece := inflater.decompress(b"", _CHUNK)):
        yield piece


def _from_ascii85(pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield base64.a85decode(b"".join(pieces).partition(b"~>")[0])
