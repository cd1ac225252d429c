"""The packed streams of a PDF, before a PDF reader unpacks them: bombs, and damage that it would not mention."""

import re
import zlib
from collections.abc import Iterator
from itertools import takewhile

from tidemill.plugin import Outcome, Refusal

_STREAM = re.compile(rb"(?<!end)stream\r?\n")
_FILTERS = re.compile(rb"/Filter\s*(\[[^\]]*\]|/\w+)")
_KNOWN = {b"FlateDecode": "flate", b"Fl": "flate", b"ASCII85Decode": "ascii85", b"A85": "ascii85"}
_HEAD = 2048
"""A stream's dictionary is looked for so many bytes before it."""
_CHUNK = 1 << 16
_ALL = 8
"""All streams together may inflate to so many times the limit of one."""


class _Beyond(Exception):
    """More bytes than the limit."""


class _Damaged(Exception):
    """The bytes are not what was packed."""


def check_streams(content: bytes, limit: int) -> None:
    """Refuse a file of which a stream inflates to more bytes than the limit, or is not what its checksum says.

    A reader shows as much of a damaged page as it can: rows would be missing, and nothing would tell. Pictures are
    not looked at, since reading text does not unpack them; nor are streams that are encrypted.
    """
    encrypted = b"/Encrypt" in content
    total = 0
    for data, filters in _streams(content):
        try:
            total += _unpacked_size(data, filters, limit)
        except _Beyond:
            raise _bomb(len(data), limit) from None
        except _Damaged:
            if not encrypted:
                raise Refusal(
                    Outcome.UNREADABLE, "The file is damaged: a part of it does not match its checksum."
                ) from None
        if total > _ALL * limit:
            raise _bomb(len(content), _ALL * limit)


def _bomb(size: int, limit: int) -> Refusal:
    return Refusal(
        Outcome.RESOURCE_LIMIT, f"Resource limit: {size} packed bytes inflate to more than {limit >> 20} MiB."
    )


def _streams(content: bytes) -> Iterator[tuple[bytes, list[str]]]:
    """The bytes and filters of each whole stream that is deflated, but for pictures."""
    at = 0
    while opening := _STREAM.search(content, at):
        at = content.find(b"endstream", opening.end())
        if at < 0:
            return
        furthest = max(0, opening.start() - _HEAD)
        head = content[max(furthest, content.rfind(b" obj", furthest, opening.start())) : opening.start()]
        filters = _filters(head)
        if "flate" in filters and not (b"/Width" in head and b"/Height" in head):
            yield content[opening.end() : at], filters


def _filters(head: bytes) -> list[str]:
    """The leading filters of a stream that can be undone here."""
    found = _FILTERS.search(head)
    names = re.findall(rb"/(\w+)", found[1]) if found else []
    return [_KNOWN[name] for name in takewhile(_KNOWN.__contains__, names)]


def _unpacked_size(data: bytes, filters: list[str], limit: int) -> int:
    """Bytes after the last filter; computed in pieces, never held as a whole."""
    pieces: Iterator[bytes] = iter([data])
    for name in filters:
        pieces = _bounded(_inflated(pieces) if name == "flate" else _from_ascii85(pieces), limit)
    return sum(map(len, pieces))


def _bounded(pieces: Iterator[bytes], limit: int) -> Iterator[bytes]:
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > limit:
            raise _Beyond
        yield piece


def _inflated(pieces: Iterator[bytes]) -> Iterator[bytes]:
    inflater = zlib.decompressobj()
    try:
        for piece in pieces:
            rest = piece
            while rest and not inflater.eof:
                yield inflater.decompress(rest, _CHUNK)
                rest = inflater.unconsumed_tail
        # An exhausted input may leave output behind.
        while not inflater.eof and (piece := inflater.decompress(b"", _CHUNK)):
            yield piece
    except zlib.error:
        raise _Damaged from None
    if not inflater.eof and not _lacks_a_checksum(inflater):
        raise _Damaged


def _lacks_a_checksum(inflater: "zlib._Decompress") -> bool:
    """Whether all data came and only the checksum after them is missing, as some writers have it."""
    try:
        inflater.decompress(bytes(4))
    except zlib.error as error:
        return "data check" in str(error)
    return False


def _from_ascii85(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Five letters for four bytes. The standard library takes 25 times as long, which a page notices.

    Every five letters are a lane of five bytes in one large integer, and all lanes are computed at once.
    """
    letters = b"".join(pieces).translate(_DIGITS, b" \t\r\n\0\f").partition(_END)[0]
    if _ZERO in letters:
        letters = letters.replace(_ZERO, bytes(5))
    padding = -len(letters) % 5
    letters += b"\x54" * padding
    count = len(letters) // 5
    digits, last_of_lane = int.from_bytes(letters), int.from_bytes(b"\0\0\0\0\xff" * count)
    number = 0
    for shift in (32, 24, 16, 8, 0):
        number = number * 85 + (digits >> shift & last_of_lane)
    lanes = number.to_bytes(len(letters))
    if lanes[0::5].strip(b"\0"):  # Five letters for more than four bytes.
        raise _Damaged
    decoded = bytearray(4 * count)
    for place in range(4):
        decoded[place::4] = lanes[1 + place :: 5]
    yield bytes(decoded[: len(decoded) - padding])


_ZERO, _END = b"\xfe", b"\xff"
_DIGITS = bytes(
    letter - 33 if 33 <= letter <= 117 else {ord("z"): _ZERO[0], ord("~"): _END[0]}.get(letter, 0xFD)
    for letter in range(256)
)
