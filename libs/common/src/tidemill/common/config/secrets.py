"""Passwords stay out of everything that is printed."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, WithJsonSchema

MASK = "**********"
"""What pydantic prints for a SecretStr, here for every secret."""

_SCHEME = r"(?P<before>[a-zA-Z][a-zA-Z0-9+.-]*://"
# A port with a path (`http://host:80/@name`) is no password; a password may hold `/` and `@`, as SQLAlchemy allows.
_PASSWORD = re.compile(rf"{_SCHEME}[^\s:/?#@]*:)(?!\d+[/,])[^\s@]*@(?:[^\s@/]*@)*")
_TOKEN = re.compile(r"(?P<before>\b(?:nats|tls|wss?)://)[^\s:/?#@]+@")
_PARAMETER = re.compile(
    r"(?P<before>[?&][a-z_-]*(?:password|passwd|secret|token|signature|access_key)[a-z_-]*=)[^&\s#]+", re.IGNORECASE
)

_PORT = re.compile(r"(?:://|@)(?:\[[^\]]*\]|[^\s/:?#@]*):(\d+)(?=[/?#]|$)")
HIGHEST_PORT = 65535

_SHORTEST = 6
"""Shorter ones cannot be found in a text without finding everything."""
_fetched: set[str] = set()
"""Secrets that were fetched by this process; a value that was replaced meanwhile stays secret."""


def remember_secret(value: str) -> None:
    """Mask this value wherever this process prints something."""
    if len(value) >= _SHORTEST:
        _fetched.add(value)


def masked(text: str) -> str:
    """The text with the passwords of all URLs in it, and all fetched secrets, replaced; harmless for any log line."""
    for value in _fetched:
        if value in text:
            text = text.replace(value, MASK)
    text = _PASSWORD.sub(rf"\g<before>{MASK}@", text)
    text = _TOKEN.sub(rf"\g<before>{MASK}@", text)
    return _PARAMETER.sub(rf"\g<before>{MASK}", text)


class Url(str):
    """An address that may carry a password: whole as text, masked in repr (and so in the repr of its settings)."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(masked(str(self)))


class TakesSecrets:
    """Mark of a text setting that may hold references (`${env:NAME}` …): its user follows them with `resolved`."""


def _url(value: str) -> Url:
    if not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://|\$\{", value):
        raise ValueError("is not a URL; it starts with its scheme, for instance nats://host:4222 or file:///folder")
    return Url(value)


ServerUrl = Annotated[str, AfterValidator(_url), TakesSecrets(), WithJsonSchema({"type": "string", "format": "uri"})]
"""A setting that is the address of a server; validated into `Url`. It may name secrets: connect to `resolved(url)`."""


def Schemes(*known: str) -> AfterValidator:  # noqa: N802 - read as a type's property
    """Which servers an address may be of. One that begins with a reference (`${…}`) is judged by who follows it."""

    def check(value: Url) -> Url:
        for each in value.split(","):
            scheme, colon, _ = each.strip().partition("://")
            if colon and "$" not in scheme and scheme.lower() not in known:
                raise ValueError(f"begins with {scheme}://; valid: {', '.join(f'{name}://' for name in known)}")
            if (port := _PORT.search(each.strip())) and int(port[1]) > HIGHEST_PORT:
                raise ValueError(f"has port {port[1]}; the highest is {HIGHEST_PORT}")
        return value

    return AfterValidator(check)


def printable(value: Any) -> Any:
    """JSON values of settings for people: secrets masked, units in their written form."""
    if isinstance(value, BaseModel):
        return printable(value.model_dump(mode="json"))
    if isinstance(value, dict):
        return {key: printable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [printable(item) for item in value]
    return masked(value) if isinstance(value, str) else value
