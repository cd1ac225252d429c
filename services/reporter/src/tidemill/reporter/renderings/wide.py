"""How much room a text takes in a terminal, where some characters take two columns and some none."""

from unicodedata import combining, east_asian_width

JOINER = "\u200d"
SELECTORS = range(0xFE00, 0xFE10)


def width(text: str) -> int:
    return sum(map(_columns, text))


def padded(text: str, room: int, *, right: bool = False) -> str:
    """Cut to the room, visibly, and filled up to it."""
    if width(text) > room:
        while text and width(text) > room - 1:
            text = text[:-1]
        text += "…"
    blanks = " " * (room - width(text))
    return blanks + text if right else text + blanks


def _columns(character: str) -> int:
    if combining(character) or character == JOINER or ord(character) in SELECTORS:
        return 0
    return 2 if east_asian_width(character) in "WF" else 1
