"""How a NATS address is dialled: all its servers, the user's password, the certificates."""

import ssl
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from tidemill.common.config.references import resolved

CA, CERTIFICATE, KEY = "tls_ca", "tls_cert", "tls_key"
KNOWN = (CA, CERTIFICATE, KEY)


class WrongAddress(Exception):
    """The address cannot be dialled as it is written."""


def dialled(url: str) -> dict[str, Any]:
    """What nats-py takes to connect to `nats://user:password@one:4222,nats://two:4222?tls_ca=/file`. It tries a list
    in one text as a single host, and passwords as they are quoted. Raises WrongAddress, UnresolvedReference."""
    parts = [urlsplit(each if "//" in each else f"nats://{each}") for each in map(str.strip, resolved(url).split(","))]
    options: dict[str, Any] = {}
    files: dict[str, str] = {}
    servers = []
    for part in parts:
        netloc = part.netloc
        if part.password is not None:
            options |= {"user": unquote(part.username or ""), "password": unquote(part.password)}
            netloc = netloc.rpartition("@")[2]
        given = parse_qs(part.query)
        if unknown := sorted(given.keys() - set(KNOWN)):
            raise WrongAddress(f"unknown parameter {', '.join(unknown)} in a NATS address; valid: {', '.join(KNOWN)}")
        files |= {name: values[-1] for name, values in given.items()}
        servers.append(urlunsplit((part.scheme, netloc, part.path, "", "")))
    if files:
        options["tls"] = _context(files)
    return {"servers": servers, **options}


def _context(files: dict[str, str]) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=files.get(CA))
        if CERTIFICATE in files:
            context.load_cert_chain(files[CERTIFICATE], files.get(KEY))
    except (OSError, ssl.SSLError) as refused:
        raise WrongAddress(f"a certificate of the NATS address cannot be read: {refused}") from None
    return context
