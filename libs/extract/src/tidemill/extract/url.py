"""One form for each address, so that a page is known again however it is linked."""

import re
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

import idna

from tidemill.extract.errors import InvalidUrl
from tidemill.extract.model import Model, Text

TRACKING = tuple(
    (
        "utm_* mtm_* pk_* hsa_* ga_* gclid gclsrc dclid gbraid wbraid fbclid msclkid yclid twclid ttclid igshid mc_cid "
        "mc_eid _ga _gl _hsenc _hsmi mkt_tok s_cid oly_enc_id oly_anon_id vero_id wickedid phpsessid "
        "jsessionid sessionid"
    ).split()
)
"""Parameters that say how somebody came to a page, never which page it is."""


class UrlRules(Model):
    """Which parts of an address say which page it is."""

    keep: tuple[Text, ...] | None = None
    """The only parameters that count: `[id]`. Without it all do, but for those of `drop` and well-known tracking."""
    drop: tuple[Text, ...] = ()
    """Parameters that do not count, with `*` for any ending: `[ref, from_*]`."""
    fragment: bool = False
    """Whether what follows `#` counts, as on sites that only JavaScript fills."""
    trailing_slash: bool = False
    """Whether `/a/` and `/a` are two pages."""
    scheme: bool = False
    """Whether `http` and `https` are two pages; else the address is written with `https`."""
    www: bool = True
    """Whether `www.example.org` and `example.org` are two places; else `www.` is left out."""


_PORTS = {"http": 80, "https": 443}
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_IN_PATH = _UNRESERVED | frozenset(b"/!$&'()*+,;=:@")
_IN_QUERY = _UNRESERVED | frozenset(b"/?!$'()*,:@[]")
_SPACES = re.compile(r"[\t\r\n]")
_SESSION = re.compile(r";(?:jsessionid|phpsessid|sid)=[^/;]*", re.IGNORECASE)
LONGEST = 8_000


def canonical(url: str, rules: UrlRules | None = None) -> str:
    """The identity of an address: for comparing, not for fetching. Doing it twice changes nothing. Raises InvalidUrl
    for what is no `http` or `https` address.

    Host in lower case and ASCII, no default port, no dot segments, percent signs only where they must be and in
    capitals, parameters in order of name and then as they come, no tracking.
    """
    rules = rules or DEFAULT
    parts = _split(url)
    scheme = parts.scheme.lower() if rules.scheme else "https"
    host = _host(parts, url)
    if not rules.www:
        host = host.removeprefix("www.")
    path = _path(parts.path, rules)
    query = _query(parts.query, rules)
    fragment = _escaped(parts.fragment, _IN_PATH | {ord("?")}) if rules.fragment else ""
    place = f"{scheme}://{host}{_port(parts, scheme, url)}{path}"
    return f"{place}{'?' if query else ''}{query}{'#' if fragment else ''}{fragment}"


DEFAULT = UrlRules()


def _split(url: str) -> SplitResult:
    url = _SPACES.sub("", url.strip())
    if len(url) > LONGEST:
        raise InvalidUrl(f"{url[:80]}… is longer than {LONGEST} characters")
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InvalidUrl(f"{url[:200]} is no address: {error}") from None
    if parts.scheme.lower() not in _PORTS or not parts.hostname:
        raise InvalidUrl(f"{url[:200] or 'nothing'} is no address on the web; it begins with http:// or https://")
    return parts


def _host(parts: SplitResult, url: str) -> str:
    host = (parts.hostname or "").rstrip(".")
    if ":" in host:
        return f"[{host}]"
    if host.isascii() and re.fullmatch(r"[a-z0-9._-]+", host):
        return host
    try:
        return idna.encode(host, uts46=True).decode("ascii").lower()
    except (idna.IDNAError, UnicodeError):
        raise InvalidUrl(f"{url[:200]} has no host that can be") from None


def _port(parts: SplitResult, scheme: str, url: str) -> str:
    try:
        port = parts.port
    except ValueError:
        raise InvalidUrl(f"{url[:200]} has no port that can be") from None
    return "" if port in (None, _PORTS[parts.scheme.lower()], _PORTS[scheme]) else f":{port}"


def _path(path: str, rules: UrlRules) -> str:
    segments: list[str] = []
    parts = _escaped(_SESSION.sub("", path), _IN_PATH).split("/")[1:]
    for segment in parts:
        if segment == "..":
            del segments[-1:]
        elif segment != ".":
            segments.append(segment)
    if parts[-1:] in ([".."], ["."]):
        segments.append("")
    path = "/" + "/".join(segments)
    return path if rules.trailing_slash else path.rstrip("/") or "/"


def _query(query: str, rules: UrlRules) -> str:
    pairs = []
    for pair in query.split("&"):
        name, sign, value = pair.partition("=")
        name, value = (_escaped(text.replace("+", "%20"), _IN_QUERY) for text in (name, value))
        if (name or value) and _counts(name, rules):
            pairs.append((name, sign, value))
    # A stable sort: a name that comes twice keeps its order, which may matter.
    return "&".join(f"{name}{sign}{value}" for name, sign, value in sorted(pairs, key=lambda pair: pair[0]))


def _counts(name: str, rules: UrlRules) -> bool:
    if rules.keep is not None:
        return _any(rules.keep).fullmatch(name) is not None
    return _any((*TRACKING, *rules.drop)).fullmatch(name) is None


@lru_cache(maxsize=256)
def _any(names: tuple[str, ...]) -> "re.Pattern[str]":
    return re.compile("|".join(re.escape(name).replace(r"\*", ".*") for name in names) or r"(?!)", re.IGNORECASE)


def _escaped(text: str, allowed: frozenset[int]) -> str:
    """With exactly those bytes in percent signs that must be."""
    if text.isascii() and "%" not in text and all(char in allowed for char in text.encode()):
        return text
    written = []
    position = 0
    for escape in _ESCAPE.finditer(text):
        written.append(_quoted(text[position : escape.start()], allowed))
        byte = int(escape[1], 16)
        # A reserved character means something else when it is escaped, so it stays so.
        written.append(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}")
        position = escape.end()
    written.append(_quoted(text[position:], allowed))
    return "".join(written)


def _quoted(text: str, allowed: frozenset[int]) -> str:
    return "".join(chr(byte) if byte in allowed else f"%{byte:02X}" for byte in text.encode("utf-8", "replace"))
