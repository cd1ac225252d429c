"""What headers say: pure parsers that take whatever a server sends."""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

LONGEST = timedelta(days=365)

_CONTENT_RANGE = re.compile(r"bytes[ \t]+(?:(\d{1,18})-(\d{1,18})|\*)/(?:(\d{1,18})|\*)", re.IGNORECASE | re.ASCII)
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_REPR_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/=]+):", re.IGNORECASE)
_DIGEST = re.compile(r"sha-256=([A-Za-z0-9+/=]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ContentRange:
    """`bytes 200-999/5000`; in a 416 only the total is told."""

    first: int | None
    last: int | None
    total: int | None


def parse_content_range(value: str | None) -> ContentRange | None:
    """None for what is missing or makes no sense."""
    match = _CONTENT_RANGE.fullmatch((value or "").strip())
    if match is None:
        return None
    first, last, total = (None if part is None else int(part) for part in match.groups())
    if first is not None and last is not None and (last < first or (total is not None and last >= total)):
        return None
    return ContentRange(first, last, total)


def parse_length(value: str | None) -> int | None:
    """The number of a Content-Length."""
    value = (value or "").strip()
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 18 else None


def parse_etag(value: str | None) -> str | None:
    """An ETag as it must be sent back, quotes included; None for what is none."""
    value = (value or "").strip()
    return value if _ETAG.fullmatch(value) else None


def strong(etag: str | None) -> str | None:
    """The ETag if it promises the same bytes; a weak one (`W/…`) promises only the same meaning."""
    return etag if etag and not etag.startswith("W/") else None


def parse_date(value: str | None) -> datetime | None:
    """An HTTP date, in any of its three forms."""
    try:
        moment = parsedate_to_datetime((value or "").strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def parse_retry_after(value: str | None, *, now: datetime, date: str | None = None) -> timedelta | None:
    """How long a host wants to be left alone, at least 0 and at most a year. Of a moment, counted by the host's own
    clock where its `Date` tells it."""
    value = (value or "").strip()
    if value.isascii() and value.isdigit():
        return min(timedelta(seconds=int(value[:9])), LONGEST)
    moment = parse_date(value)
    if moment is None:
        return None
    return min(max(moment - (parse_date(date) or now), timedelta(0)), LONGEST)


def parse_media_type(value: str | None) -> str:
    """`text/html` of `Text/HTML; charset=utf-8`; empty where there is none."""
    return (value or "").partition(";")[0].strip().lower()


def parse_encodings(value: str | None) -> list[str]:
    """Content codings in the order in which they were applied, without those that change nothing."""
    names = (name.strip().lower() for name in (value or "").split(","))
    return [name for name in names if name not in ("", "identity")]


def sha256_of(repr_digest: str | None, digest: str | None) -> str | None:
    """The SHA-256 in hex that `Repr-Digest` (RFC 9530) or `Digest` (RFC 3230) states for the whole content."""
    for value in _values(repr_digest, digest):
        try:
            content = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            continue
        if len(content) == 32:
            return content.hex()
    return None


def _values(repr_digest: str | None, digest: str | None) -> Iterator[str]:
    for pattern, text in ((_REPR_DIGEST, repr_digest), (_DIGEST, digest)):
        if match := pattern.search(text or ""):
            yield match[1]
