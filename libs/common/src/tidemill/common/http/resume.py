"""How to ask for the rest of a file, and what to make of the answer: pure.

The rules, each paid for by somebody's corrupt files:
1. a range is asked for with `If-Range` and a strong ETag, or not at all;
2. only a 206 is appended whose Content-Range begins where it was asked and whose ETag and total agree;
3. a 200 starts over;
4. a 416 means that the part is worthless: the whole is asked for, once;
5. another ETag midway means another file: it starts over.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from tidemill.common.http.headers import (
    parse_content_range,
    parse_encodings,
    parse_etag,
    parse_length,
    parse_media_type,
    strong,
)


@dataclass(frozen=True, slots=True)
class Validators:
    """By which a server recognises a version of a file."""

    etag: str | None = None
    last_modified: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """The beginning of a file that is safe on disk."""

    url: str
    """As it was asked for."""
    size: int
    total: int | None
    etag: str | None
    last_modified: str | None


@dataclass(frozen=True, slots=True)
class Ask:
    """A question: the rest of a part, whether a whole part still holds, whether a known file changed, or the whole."""

    kind: Literal["rest", "confirm", "changed", "whole"]
    headers: Mapping[str, str]


WHOLE = Ask("whole", {})


@dataclass(frozen=True, slots=True)
class Append:
    """The body goes behind the part."""

    total: int | None


@dataclass(frozen=True, slots=True)
class StartOver:
    """The body is the whole file."""

    total: int | None
    resumable: bool


@dataclass(frozen=True, slots=True)
class Complete:
    """The part is the whole file, and still current."""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The file that is known is still current."""


@dataclass(frozen=True, slots=True)
class AskWhole:
    """The part is worthless; without it, and without conditions, the answer may be good."""

    reason: str


@dataclass(frozen=True, slots=True)
class Senseless:
    """No answer to a question for the whole file."""

    reason: str


Verdict = Append | StartOver | Complete | Unchanged | AskWhole | Senseless


def how_to_ask(url: str, part: Part | None, known: Validators | None = None) -> Ask:
    """The cheapest question that leads to the whole, current file."""
    if part is not None and part.url == url and part.size > 0 and (etag := strong(part.etag)):
        if part.size == part.total:
            return Ask("confirm", {"If-None-Match": etag})
        if part.total is None or part.size < part.total:
            return Ask("rest", {"Range": f"bytes={part.size}-", "If-Range": etag})
    if known is not None and known.etag:
        return Ask("changed", {"If-None-Match": known.etag})
    if known is not None and known.last_modified:
        return Ask("changed", {"If-Modified-Since": known.last_modified})
    return WHOLE


def judge(ask: Ask, part: Part | None, status: int, headers: Mapping[str, str]) -> Verdict:
    """What to do with an answer of 2xx, 304 or 416. Names in `headers` are in lower case."""
    match status, ask.kind:
        case 200 | 203, _:
            return _start_over(headers)
        case 206, "rest" if part is not None:
            wrong = next(_faults(part, headers), None)
            return AskWhole(wrong) if wrong else Append(part.total or _total(headers))
        case 304, "confirm":
            return Complete()
        case 304, "changed":
            return Unchanged()
    reason = f"answered {status} to a question for {'the whole file' if ask is WHOLE else 'a part or a change'}"
    return Senseless(reason) if ask is WHOLE else AskWhole(reason)


def _start_over(headers: Mapping[str, str]) -> StartOver:
    encoded = bool(parse_encodings(headers.get("content-encoding")))
    chunked = "transfer-encoding" in headers
    total = None if encoded or chunked else parse_length(headers.get("content-length"))
    return StartOver(total, resumable=not encoded and strong(parse_etag(headers.get("etag"))) is not None)


def _total(headers: Mapping[str, str]) -> int | None:
    told = parse_content_range(headers.get("content-range"))
    return told.total if told else None


def _faults(part: Part, headers: Mapping[str, str]) -> Iterator[str]:
    """Why a 206 must not be appended."""
    if parse_media_type(headers.get("content-type")) == "multipart/byteranges":
        yield "several ranges came where one was asked for"
    if parse_encodings(headers.get("content-encoding")):
        yield "a range of encoded bytes came, not of the file"
    told = parse_content_range(headers.get("content-range"))
    if told is None or told.first is None or told.last is None:
        yield f"a range came without saying which: {headers.get('content-range', '')[:100]!r}"
        return
    if told.first != part.size:
        yield f"a range from {told.first} came, and from {part.size} was asked for"
    if told.total is None and part.total is None:
        yield "a range of a file came whose size nobody tells"
    if told.total is not None and part.total is not None and told.total != part.total:
        yield f"the file has {told.total} bytes now, and had {part.total}"
    length = parse_length(headers.get("content-length"))
    if length is not None and "transfer-encoding" not in headers and length != told.last - told.first + 1:
        yield f"a range of {told.last - told.first + 1} bytes came in {length}"
    if parse_etag(headers.get("etag")) != part.etag:
        yield f"the file is {headers.get('etag', 'without ETag')[:100]} now, and was {part.etag}"
