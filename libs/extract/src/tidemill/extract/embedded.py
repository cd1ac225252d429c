"""JSON within pages: in scripts of their own, in attributes, and given to variables of JavaScript."""

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice

from tidemill.extract.model import Json

DEEPEST = 200
"""Levels of a JSON value; Python's own limit depends on the caller."""
TRIED = 20
"""Places in a script where a variable may be given its value."""
_DECODER = json.JSONDecoder(strict=False, parse_constant=lambda _name: None)
_STRING = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`", re.DOTALL)
_TOKEN = re.compile(
    r"""\s+|//[^\n]*|/\*.*?\*/
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`(?:[^`\\$]|\\.)*`)
    |(?P<number>-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w$]))
    |(?P<word>[A-Za-z_$][\w$]*)
    |(?P<mark>[{}\[\]:,])""",
    re.VERBOSE | re.DOTALL,
)
_WORDS = {"true": "true", "false": "false", "null": "null", "undefined": "null", "NaN": "null", "Infinity": "null"}
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|\r\n|.)", re.DOTALL)
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "0": "\0", "\n": "", "\r\n": ""}
_JSON_PARSE = re.compile(r"JSON\s*\.\s*parse\s*\(\s*")


def read_json(text: str) -> Json:
    """The value of a JSON text with, perhaps, a semicolon behind it; None where there is none."""
    text = text.strip().removeprefix("\ufeff").rstrip("; \t\r\n")
    found = _decode(text, 0)
    return None if found is None or text[found[1] :].strip() else found[0]


def _decode(text: str, position: int) -> tuple[Json, int] | None:
    if _too_deep(text, position):
        return None
    try:
        value, end = _DECODER.raw_decode(text, position)
    except (ValueError, RecursionError):
        return None
    return value, end


def _too_deep(text: str, position: int) -> bool:
    if text.count("[", position) + text.count("{", position) <= DEEPEST:
        return False
    depth = 0
    for mark in re.findall(r"[\[{\]}]", _STRING.sub("", text[position:])):
        depth += 1 if mark in "[{" else -1
        if depth > DEEPEST:
            return True
    return False


@lru_cache(maxsize=1024)
def _assignment(variable: str) -> "re.Pattern[str]":
    """`window.STATE =`, `var STATE =`, `"STATE":` and `window["STATE"] =` are all meant by `STATE`."""
    return re.compile(rf"(?<![\w$]){re.escape(variable)}[\"']?\]?\s*[=:](?!=)\s*")


def read_variable(scripts: Iterable[str], variable: str) -> Json:
    """The value that a script gives to a variable: JSON, a literal of JavaScript without code in it, or `JSON.parse` of
    a text. None where there is none."""
    for script in scripts:
        if variable not in script:
            continue
        for found in islice(_assignment(variable).finditer(script), TRIED):
            value = read_literal(script, found.end())
            if value is not None:
                return value
    return None


def read_literal(text: str, position: int = 0) -> Json:
    """The object, list or text of JavaScript that begins at this place; None where code or nothing begins there."""
    if parse := _JSON_PARSE.match(text, position):
        inner = read_literal(text, parse.end())
        return read_json(inner) if isinstance(inner, str) else None
    decoded = _decode(text, position) if text[position : position + 1] in ("{", "[", '"') else None
    if decoded is not None:
        return decoded[0]
    written = _as_json(text, position)
    return None if written is None else read_json(written)


def _as_json(text: str, position: int) -> str | None:
    """The literal that begins here, as JSON: keys and texts in double quotes, no comments, no comma at the end."""
    written: list[str] = []
    depth = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None or depth > DEEPEST:
            return None
        position = token.end()
        kind = token.lastgroup
        if kind is None:
            continue
        if kind == "mark":
            depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token[0], 0)
            if token[0] in "}]" and written and written[-1] == ",":
                written.pop()
            written.append(token[0])
        else:
            written.append(_scalar(kind, token[0], text, position))
        if depth <= 0:
            return "".join(written)
    return None


_COLON = re.compile(r"\s*:")


def _scalar(kind: str, token: str, text: str, end: int) -> str:
    if kind == "string":
        return json.dumps(_ESCAPE.sub(_unescaped, token[1:-1]))
    if _COLON.match(text, end):  # A key.
        return json.dumps(token)
    if kind == "word":
        return _WORDS.get(token, "null")  # The name of something that only the browser knows.
    return json.dumps(float(token)) if re.search(r"[.eE]", token) else str(int(token[:300]))


def _unescaped(escape: "re.Match[str]") -> str:
    code = str(escape[1])
    if code[0] in "ux" and len(code) > 1:
        return chr(int(code[1:], 16))
    return _ESCAPED.get(code, code)
