"""Signatures of webhooks, as https://www.standardwebhooks.com has them."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime

PREFIX = "whsec_"
SHORTEST = 24


class WeakSecret(ValueError):
    """A secret that can be guessed or is not written as it says."""


def signed_headers(key: str, at: datetime, body: bytes, secrets: Sequence[str]) -> dict[str, str]:
    """`webhook-id` is the same on every attempt; the time is the attempt's, so that a receiver can refuse old ones.
    With several secrets any one of the signatures will do. Raises WeakSecret."""
    moment = str(int(at.timestamp()))
    signatures = " ".join(f"v1,{signature(key, moment, body, secret)}" for secret in secrets)
    return {
        "webhook-id": key,
        "webhook-timestamp": moment,
        "webhook-signature": signatures,
        "Idempotency-Key": key,
    }


def signature(key: str, moment: str, body: bytes, secret: str) -> str:
    """HMAC-SHA256 over `id.timestamp.body`, in base64."""
    signed = f"{key}.{moment}.".encode() + body
    return base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest()).decode()


def _key(secret: str) -> bytes:
    if secret.startswith(PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except (binascii.Error, ValueError):
            raise WeakSecret(f"a secret that begins with {PREFIX} goes on in base64") from None
    else:
        key = secret.encode()
    if len(key) < SHORTEST:
        raise WeakSecret(f"the secret has {len(key)} bytes, and {SHORTEST} are the least; make one: openssl rand 32")
    return key
