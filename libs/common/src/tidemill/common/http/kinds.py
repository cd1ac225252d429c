"""What bytes are, by their first ones: no server's word is taken for it."""

import re
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from tidemill.common.config.downloading import Kind

HEAD_BYTES = 1024
"""Enough to tell; a PDF may begin with some rubbish."""

_SUFFIXES: dict[str, Kind] = {
    ".pdf": "pdf",
    ".zip": "zip",
    ".xlsx": "zip",
    ".docx": "zip",
    ".ods": "zip",
    ".gz": "gzip",
    ".tgz": "gzip",
    ".json": "json",
    ".geojson": "json",
    ".xml": "xml",
    ".gml": "xml",
    ".html": "html",
    ".htm": "html",
}
_NAMES = {"pdf": "a PDF", "zip": "a ZIP file", "gzip": "a gzip file", "json": "JSON", "xml": "XML", "html": "HTML"}
_HTML = re.compile(rb"<(?:!doctype\s+html|html|head|body|title|script|meta|div|h1|p)\b", re.IGNORECASE)
_TITLE = re.compile(rb"<title[^>]*>([^<]{1,200})", re.IGNORECASE)
_BOMS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


def kind_of(url: str, kind: Kind) -> Kind:
    """`auto` goes by the end of the name in the URL."""
    if kind != "auto":
        return kind
    return _SUFFIXES.get(PurePosixPath(unquote(urlsplit(url).path)).suffix.lower(), "any")


def mismatch(kind: Kind, head: bytes) -> str | None:
    """Why content that begins so is not of the kind; None if it may be."""
    if kind in ("any", "auto") or _fits(kind, head):
        return None
    return f"{_described(head)} came where {_NAMES[kind]} was expected"


def _fits(kind: Kind, head: bytes) -> bool:
    text = head
    for bom in _BOMS:
        text = text.removeprefix(bom)
    text = text.lstrip(b" \t\r\n\0")
    match kind:
        case "pdf":
            return b"%PDF-" in head
        case "zip":
            return head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"))
        case "gzip":
            return head.startswith(b"\x1f\x8b\x08")
        case "json":
            return text[:1] in (b"{", b"[", b'"') or re.match(rb"-?\d|true|false|null", text) is not None
        case "xml":
            return text.startswith(b"<") and not _HTML.match(text)
        case _:
            return (text.startswith(b"<") and not text.startswith(b"<?xml")) or _HTML.search(text) is not None


def _described(head: bytes) -> str:
    if not head:
        return "nothing"
    if _HTML.search(head) and not head.startswith(b"%PDF-"):
        title = _TITLE.search(head)
        named = f" titled {' '.join(title[1].decode(errors='replace').split())!r}" if title else ""
        return f"an HTML page{named}"
    for kind in ("pdf", "zip", "gzip", "json", "xml"):
        if _fits(kind, head):
            return _NAMES[kind]
    return f"something that begins with {head[:12]!r}"
