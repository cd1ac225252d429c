"""Finds the items of a JSON document of any size, in constant memory."""

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from math import isinf
from typing import Any, BinaryIO, NoReturn

import ijson.backends.yajl2_c as yajl
from ijson import IncompleteJSONError

from tidemill.converter.json_options import Unfit
from tidemill.plugin.conversion import Outcome, Refusal

STRING_BYTES = 8 * 1024 * 1024
"""Longer strings are refused: the parser has to keep a string in memory, whole and more than once."""

NESTED = 4096
"""So many brackets opened and not closed within one read are refused: what ijson keeps grows with their square."""

LINE_BYTES = 4 * 1024 * 1024
RAW_CHARACTERS = 2_000

WHITE_SPACE = b" \t\r\n"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

BLANK_LINE = object()

_START = re.compile(rb'[{\["\-0-9]|true|false|null')

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(
    rb"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)
_BEGUN_ESCAPE = re.compile(rb"\\(u[0-9a-fA-F]{0,3}|u[dD][89abAB][0-9a-fA-F]{2}(\\(u[0-9a-fA-F]{0,3})?)?)?")
BEGUN_ESCAPE_BYTES = 11


def check_start(content: BinaryIO) -> None:
    """Leave the content where its JSON starts; Refusal if it is none, by its first bytes."""
    head = content.read(4)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in head:
        raise Refusal(Outcome.UNREADABLE, "The text is UTF-16 or UTF-32; JSON has to be UTF-8.")
    start = len(BYTE_ORDER_MARK) if head.startswith(BYTE_ORDER_MARK) else 0
    content.seek(start)
    while chunk := content.read(65536):
        if text := chunk.lstrip(WHITE_SPACE):
            if not _START.match(text):
                raise Refusal(Outcome.WRONG_TYPE, f"It starts with {text[:8]!r}, which no JSON does.")
            content.seek(start)
            return
    raise Refusal(Outcome.EMPTY, "There is nothing but white space.")


def guess_format(content: BinaryIO) -> str:
    """`jsonl` if a whole JSON object or array stands on the first line and another follows; else `json`."""
    start = content.tell()
    head = content.read(65536).lstrip(WHITE_SPACE)
    content.seek(start)
    line, _, rest = head.partition(b"\n")
    try:
        first = json.loads(line)
    except (ValueError, RecursionError):
        return "json"
    return "jsonl" if isinstance(first, (dict, list)) and rest.lstrip(WHITE_SPACE)[:1] in (b"{", b"[") else "json"


def items_at(path: str, content: BinaryIO, duplicates: bool) -> Iterator[Any]:
    """The items at an ijson path; an `Unfit` in place of one says why there is none.

    Raises Refusal where the document ends or breaks, after the items before it.
    """
    start = content.tell()
    map_type = Noting if duplicates else None
    given = 0
    guarded = Guarded(content)
    try:
        for item in yajl.items(guarded, path, map_type=map_type, use_float=True):
            yield item
            given += 1
        return
    except (IncompleteJSONError, UnicodeDecodeError) as error:
        # The fast way ends at a number of more than 64 bits. The other way reads any, and those are rare.
        if "overflow" not in str(error):
            raise _refusal(error, guarded.at_end) from error
    content.seek(start)
    guarded = Guarded(content)
    try:
        for index, item in enumerate(yajl.items(guarded, path, map_type=map_type)):
            if index >= given:
                yield _with_floats(item)
    except (IncompleteJSONError, UnicodeDecodeError) as error:
        raise _refusal(error, guarded.at_end) from error


def lines(content: BinaryIO, duplicates: bool) -> Iterator[Any]:
    """The items of JSON lines, an `Unfit` for a line that is none, BLANK_LINE for a blank one.

    Raises Refusal for a last line that was cut off.
    """
    pairs = _noting_pairs if duplicates else None
    while line := content.readline(LINE_BYTES):
        whole = line.endswith(b"\n")
        if not whole and len(line) == LINE_BYTES:
            _skip_line(content)
            yield Unfit("too_large", f"the line is longer than {LINE_BYTES:,} bytes", _text(line))
            continue
        if not line.strip(WHITE_SPACE):
            yield BLANK_LINE
            continue
        try:
            item = json.loads(line, parse_constant=_no_number, parse_float=Decimal, object_pairs_hook=pairs)
        except RecursionError:
            yield Unfit("too_deep", "the line is nested too deeply", _text(line))
        except ValueError as error:
            if not whole:
                raise Refusal(Outcome.TRUNCATED, "The last line is cut off.") from error
            yield Unfit("unreadable", f"not JSON: {error}", _text(line))
        else:
            yield _with_floats(item)


def first_value(path: str, before: str, content: BinaryIO) -> Any:
    """The value at a path that stands before the items; None if there is none there."""
    for prefix, event, value in _events(content):
        if prefix == path and event in ("string", "number"):
            return value
        if prefix == before:
            return None
    return None


def absence(path: str, content: BinaryIO) -> str | None:
    """Why there is nothing at a path, with the lists there are; None if a list on the way to it is empty."""
    lists: dict[str, None] = {}
    opened: str | None = None
    for prefix, event, _ in _events(content):
        within = f"{prefix}.item" if prefix else "item"
        if event == "end_array" and opened == prefix and f"{path}.".startswith(f"{within}."):
            return None
        opened = prefix if event == "start_array" else None
        if event == "start_array" and len(lists) < 5:
            lists[within] = None
    there = f"there are items at {', '.join(lists)}" if lists else "there is no list in it"
    return f"There is nothing at {path!r}; {there}."


class Noting(dict[str, Any]):
    """An object that notes when a member comes twice."""

    twice: str | None = None

    def __setitem__(self, key: str, value: Any) -> None:
        if key in self:
            self.twice = key
        super().__setitem__(key, value)


def find_duplicate(item: Any) -> str | None:
    """A member that came twice, in an item of noting objects."""
    if isinstance(item, Noting) and item.twice is not None:
        return item.twice
    inner = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    return next((name for value in inner if (name := find_duplicate(value)) is not None), None)


def _noting_pairs(pairs: list[tuple[str, Any]]) -> Noting:
    noting = Noting()
    for key, value in pairs:
        noting[key] = value
    return noting


class Guarded:
    """A file to a parser. Refuses what the parser could not hold."""

    def __init__(self, content: BinaryIO) -> None:
        self._content = content
        self._unquoted = 0
        self.at_end = False

    # Opening or closing; an escaped one is neither.
    _quote = re.compile(rb'(?<!\\)"')
    _no_string = re.compile(rb"[\s\d.,:\[\]{}eE+\-truefalsn]*")

    def read(self, size: int) -> bytes:
        chunk = self._content.read(size)
        self.at_end = size > 0 and not chunk
        if b"\\" in chunk:
            chunk = _without_halves(self._with_last_escape(chunk))
        if self._quote.search(chunk):
            self._unquoted = 0
        elif not self._no_string.fullmatch(chunk):
            self._unquoted += len(chunk)
            if self._unquoted > STRING_BYTES:
                raise self._too_large(f"There is a string of more than {STRING_BYTES:,} bytes")
        opened = chunk.count(b"[") + chunk.count(b"{")
        if opened > NESTED and opened - chunk.count(b"]") - chunk.count(b"}") > NESTED:
            raise self._too_large("It is nested thousands deep")
        return chunk

    def _with_last_escape(self, chunk: bytes) -> bytes:
        while _ends_within_escape(chunk) and (more := self._content.read(1)):
            chunk += more
        return chunk

    def _too_large(self, what: str) -> Refusal:
        return Refusal(Outcome.TOO_LARGE, f"{what} before byte {self._content.tell():,}.")


def _ends_within_escape(chunk: bytes) -> bool:
    """For a chunk that does not begin within one. A backslash that is escaped itself begins nothing."""
    for place in range(max(0, len(chunk) - BEGUN_ESCAPE_BYTES), len(chunk)):
        if _BEGUN_ESCAPE.fullmatch(chunk, place):
            backslashes_before = place - len(chunk[:place].rstrip(b"\\"))
            if backslashes_before % 2 == 0:
                return True
    return False


def _without_halves(chunk: bytes) -> bytes:
    """With U+FFFD for each half of a surrogate pair: yajl makes other letters of it, or breaks off."""
    if not _SURROGATE.search(chunk):
        return chunk
    return _ESCAPE.sub(lambda escape: b"\\ufffd" if escape["half"] else escape[0], chunk)


def _events(content: BinaryIO) -> Iterator[tuple[str, str, Any]]:
    """Paths, kinds and values of everything in a document, up to where it breaks."""
    try:
        yield from yajl.parse(Guarded(content))
    except (IncompleteJSONError, UnicodeDecodeError):
        return


def _refusal(error: Exception, at_end: bool) -> Refusal:
    if at_end:
        return Refusal(Outcome.TRUNCATED, "It is cut off.")
    if isinstance(error, UnicodeDecodeError):
        return Refusal(Outcome.UNREADABLE, "It is not valid JSON: half of a surrogate pair is no UTF-8.")
    said = error.args[0]
    text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
    return Refusal(Outcome.UNREADABLE, f"It is not valid JSON: {text.splitlines()[0].rstrip('.')}.")


def _with_floats(item: Any) -> Any:
    try:
        return _floats(item)
    except OverflowError as error:
        return Unfit("invalid", f"{error} is too large for a number")
    except RecursionError:
        return Unfit("too_deep", "the item is nested too deeply")


def _floats(value: Any) -> Any:
    """The same with floats for decimal numbers, in place."""
    if isinstance(value, Decimal):
        number = float(value)
        if isinf(number):
            raise OverflowError(value)
        return number
    if isinstance(value, dict):
        # Past `Noting`, for which every second assignment is a duplicate.
        dict.update(value, {key: _floats(inner) for key, inner in value.items()})
    elif isinstance(value, list):
        value[:] = map(_floats, value)
    return value


def _skip_line(content: BinaryIO) -> None:
    while (more := content.readline(LINE_BYTES)) and not more.endswith(b"\n"):
        pass


def _text(line: bytes) -> str:
    return line[: RAW_CHARACTERS * 4].decode(errors="replace")[:RAW_CHARACTERS].rstrip("\n")


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
