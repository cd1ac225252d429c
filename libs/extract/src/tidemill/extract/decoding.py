"""Bytes of a page into text."""

import codecs
import re

_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([\w:.-]+)", re.IGNORECASE)
_META = re.compile(rb"<(?:meta|\?xml)[^>]{0,500}?(?:charset|encoding)\s*=\s*[\"']?\s*([\w:.-]+)", re.IGNORECASE)
_HEAD_BYTES = 4096
_WEB = re.compile(
    r"(utf-?8|utf-?(16|32)(-?[bl]e)?|iso-?8859-?\d+|latin-?\d+|(windows-?|cp)(125\d|874|866)|koi8-[ru]|macintosh|us-?ascii"
    r"|shift[_-]?jis|euc-(jp|kr)|gb(2312|k|18030)|big5)",
    re.IGNORECASE,
)
"""Python knows more encodings, of which some take very long (idna) or are none (rot13)."""
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_WIDE = re.compile(r"utf-?(16|32)", re.IGNORECASE)
_LATIN = re.compile(r"(iso-?8859-?1|latin-?1|us-?ascii)", re.IGNORECASE)


def decode(body: bytes, content_type: str = "") -> tuple[str, str]:
    """The text, and the encoding it was read in: byte order mark, strict UTF-8, the header's charset, the page's own,
    windows-1252. Never fails: what no encoding fits has replacement characters.
    """
    for mark, encoding in _MARKS:
        if body.startswith(mark):
            return body.decode(encoding, "replace"), encoding.removesuffix("-sig")
    declared = _declared(body, content_type)
    wide = [encoding for encoding in declared if _WIDE.match(encoding)]
    narrow = [encoding for encoding in declared if encoding not in wide]
    for encoding in (*(wide if b"\0" in body[:_HEAD_BYTES] else ()), "utf-8", *narrow):
        try:
            return body.decode(_as_browsers(encoding)), _as_browsers(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return body.decode("cp1252", "replace"), "cp1252"


def _declared(body: bytes, content_type: str) -> list[str]:
    header = _CHARSET.search(content_type)
    meta = _META.search(body[:_HEAD_BYTES])
    names = [header[1] if header else "", meta[1].decode("ascii", "replace") if meta else ""]
    return [name for name in names if _WEB.fullmatch(name)]


def _as_browsers(encoding: str) -> str:
    return "cp1252" if _LATIN.fullmatch(encoding) else encoding.lower()
