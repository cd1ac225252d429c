"""Secrets that the configuration names and does not hold: `${env:NAME}`, `${file:/path}`, `${age:path}`.

A reference stays what is written; the value is fetched where it is used, and no one keeps it.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, SecretStr

from tidemill.common.config.secrets import MASK, remember_secret

IDENTITY = "TIDEMILL_AGE_IDENTITY"
"""Environment variable: an age secret key, or the file that holds some."""
FORMS = "${env:NAME}, ${file:/path} or ${age:path}"

_REFERENCE = re.compile(r"\$\{(?P<kind>env|file|age):(?P<where>[^{}\s][^{}]*)\}")


class UnresolvedReference(Exception):
    """A secret that is referred to cannot be had. Names the reference, never a value."""

    def __init__(self, reference: str, why: str) -> None:
        super().__init__(f"{reference}: {why}")


class Secret(SecretStr):
    """A setting that is a secret, or names one: masked wherever it is printed, fetched where it is used."""

    def fetch(self) -> str:
        """Raises UnresolvedReference."""
        return resolved(self.get_secret_value())


def resolved(text: str) -> str:
    """The text with every reference replaced by its value; in a URL the value is quoted. Raises UnresolvedReference.

    From now on the values are masked wherever something is printed by this process.
    """
    inside_url = re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", text) is not None

    def fetch(match: re.Match[str]) -> str:
        value = _FETCH[match["kind"]](match["where"].strip(), match[0])
        remember_secret(value)
        if not inside_url:
            return value
        quoted = quote(value, safe="")
        remember_secret(quoted)
        return quoted

    return _REFERENCE.sub(fetch, text)


def fetch_all(settings: BaseModel) -> None:
    """Fetch every secret that these settings name. Raises UnresolvedReference for the first that cannot be had."""
    for value in _texts(settings):
        resolved(value)


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case SecretStr():
            yield value.get_secret_value()
        case BaseModel():
            for name in type(value).model_fields:
                yield from _texts(getattr(value, name))
        case Mapping():
            for item in value.values():
                yield from _texts(item)
        case list() | tuple():
            for item in value:
                yield from _texts(item)


def refers(text: str) -> bool:
    """Whether there is a reference in this text."""
    return _REFERENCE.search(text) is not None


def without_references(text: str) -> str:
    """The text with a mask in the place of every reference."""
    return _REFERENCE.sub(MASK, text)


def _from_environment(name: str, reference: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise UnresolvedReference(reference, "this environment variable is not set")
    return value


def _from_file(path: str, reference: str) -> str:
    return _text(_bytes(Path(path), reference), reference)


def _from_age_file(path: str, reference: str) -> str:
    import pyrage

    content = _bytes(Path(path), reference)
    try:
        return _text(pyrage.decrypt(content, list(identities(reference))), reference)
    except pyrage.DecryptError as refused:
        raise UnresolvedReference(reference, f"cannot be decrypted with the key in {IDENTITY}: {refused}") from None


def identities(reference: str) -> Iterable[Any]:
    """The age keys of this process, for what `reference` names: from the variable itself, or from the file it names: a
    key a line, as age-keygen writes them. Raises UnresolvedReference."""
    import pyrage

    given = os.environ.get(IDENTITY, "").strip()
    if not given:
        raise UnresolvedReference(reference, f"needs the age key, or the file that holds it, in {IDENTITY}")
    listed = given if given.upper().startswith("AGE-SECRET-KEY-") else _text(_bytes(Path(given), IDENTITY), IDENTITY)
    keys = [line.strip() for line in listed.splitlines() if line.strip() and not line.startswith("#")]
    try:
        return [pyrage.x25519.Identity.from_str(key) for key in keys]
    except pyrage.IdentityError:
        raise UnresolvedReference(reference, f"what {IDENTITY} gives is no age secret key") from None


def _bytes(path: Path, reference: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnresolvedReference(reference, f"cannot be read: {error.strerror}") from None


def _text(content: bytes, reference: str) -> str:
    """Without the line end that editors and `echo` leave."""
    try:
        value = content.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        raise UnresolvedReference(reference, "is not UTF-8") from None
    if not value:
        raise UnresolvedReference(reference, "is empty")
    return value


_FETCH: dict[str, Callable[[str, str], str]] = {
    "env": _from_environment,
    "file": _from_file,
    "age": _from_age_file,
}
