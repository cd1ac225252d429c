"""Pure: which files an index page links to, the newest first."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit

from selectolax.lexbor import LexborHTMLParser

from tidemill.common.config.downloading import Index
from tidemill.common.config.patterns import matching
from tidemill.downloader.policy import Wanted, canonical

_NUMBERS = re.compile(r"[0-9]+")
_ORDER = ("year", "month", "day", "issue")


def find_files(page: bytes, address: str, index: Index) -> list[Wanted]:
    """The files that the page at this address links to, each once, the newest first; one at most where only the newest
    is wanted."""
    found: dict[str, tuple[int, ...]] = {}
    for url in links(page, address):
        if matching([index.links], urlsplit(url).path.lstrip("/")) is None:
            continue
        age = _age(url, index.order)
        if age is not None:
            found.setdefault(url, age)
    # A stable sort: of equal ones the first on the page stays the first.
    newest_first = sorted(found, key=lambda url: found[url], reverse=True)
    return [Wanted(url) for url in newest_first[: 1 if index.newest else None]]


def links(page: bytes, address: str) -> Iterator[str]:
    """Absolute addresses, in the order of the page."""
    tree = LexborHTMLParser(page)
    base_node = tree.css_first("base[href]")
    base = _joined(address, (base_node.attributes.get("href") if base_node else None) or "") or address
    for node in tree.css("a[href], area[href], link[href]"):
        url = _joined(base, node.attributes.get("href") or "")
        if url:
            yield url


def _joined(base: str, href: str) -> str | None:
    """None for what is no address on the web."""
    try:
        url = canonical(urljoin(base, href.strip()))
        return url if urlsplit(url).scheme in ("http", "https") and urlsplit(url).hostname else None
    except ValueError:
        return None


def _age(url: str, order: str) -> tuple[int, ...] | None:
    """Greater is newer; None when the order does not know it."""
    if not order:
        return tuple(int(digits[:18]) for digits in _NUMBERS.findall(unquote(PurePosixPath(urlsplit(url).path).name)))
    found = re.search(order, url)
    if found is None:
        return None
    groups = found.groupdict()
    values = [groups.get(name) or "0" for name in _ORDER]
    return tuple(int(value) if value.isascii() and value.isdigit() else 0 for value in values)
