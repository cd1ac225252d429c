"""Texts of strangers, so that people see what is there: no character acts on the page that shows it."""

import re

ACTING = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufff9-\ufffb\ufdd0-\ufdef\ufffe\uffff]"
)
"""Controls, those that turn the direction of writing, and what is no character."""
BLANKS = re.compile("[\t\n\r\x85\u2028\u2029]+")
CONTROL_PICTURES = 0x2400


def visible(text: str) -> str:
    """On one line; a control character as its picture (␀), one that turns the direction of writing as �."""
    return ACTING.sub(_picture, BLANKS.sub(" ", text))


def shortened(text: str, most: int) -> str:
    """At most so many characters; what was cut is shown as …"""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(CONTROL_PICTURES + code)
    return "␡" if code == 0x7F else "�"
