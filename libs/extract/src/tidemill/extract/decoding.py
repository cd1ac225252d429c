"""Bytes of a page into text."""

import codecs
import re
from collections.abc import Iterable

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
_WIDER = (
    (re.compile(r"shift[_-]?jis", re.IGNORECASE), "cp932"),
    (re.compile(r"gb(2312|k)", re.IGNORECASE), "gb18030"),
    (re.compile(r"euc-kr", re.IGNORECASE), "cp949"),
    (_LATIN, "cp1252"),
)
"""What pages that name the one are written in, as https://encoding.spec.whatwg.org has it."""
_JAPANESE = ("cp932", "euc-jp")
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa]")
_ENOUGH_KANA = 2


def decode(body: bytes, content_type: str = "") -> tuple[str, str]:
    """The text, and the encoding it was read in: byte order mark, strict UTF-8, the header's charset, the page's own;
    then the first of these that most of it fits, Japanese, windows-1252. Never fails: what does not fit has replacement
    characters.
    """
    for mark, encoding in _MARKS:
        if body.startswith(mark):
            return body.decode(encoding, "replace"), encoding.removesuffix("-sig")
    declared = _declared(body, content_type)
    wide = [encoding for encoding in declared if _WIDE.match(encoding)]
    narrow = [_as_browsers(encoding) for encoding in declared if encoding not in wide]
    for encoding in (*(wide if b"\0" in body[:_HEAD_BYTES] else ()), "utf-8", *narrow):
        try:
            return body.decode(encoding), encoding
        except (UnicodeDecodeError, LookupError):
            continue
    return _damaged(body, (*narrow, "utf-8")) or _japanese(body) or (body.decode("cp1252", "replace"), "cp1252")


def _damaged(body: bytes, encodings: Iterable[str]) -> tuple[str, str] | None:
    """Some sites cut a text in the middle of a character: a few broken bytes do not make it another encoding."""
    for encoding in encodings:
        try:
            text = body.decode(encoding, "replace")
        except LookupError:
            continue
        broken = text.count("\ufffd")
        fitting = len(text) - len(text.encode("ascii", "ignore")) - broken
        if broken < fitting:
            return text, encoding
    return None


def _japanese(body: bytes) -> tuple[str, str] | None:
    """Without a word about its encoding; no text in windows-1252 has kana when it is read like this."""
    for encoding in _JAPANESE:
        try:
            text = body.decode(encoding)
        except UnicodeDecodeError:
            continue
        if len(_KANA.findall(text)) >= _ENOUGH_KANA:
            return text, encoding
    return None


def _declared(body: bytes, content_type: str) -> list[str]:
    header = _CHARSET.search(content_type)
    meta = _META.search(body[:_HEAD_BYTES])
    names = [header[1] if header else "", meta[1].decode("ascii", "replace") if meta else ""]
    return [name.lower() for name in names if _WEB.fullmatch(name)]


def _as_browsers(encoding: str) -> str:
    return next((wider for named, wider in _WIDER if named.fullmatch(encoding)), encoding)
