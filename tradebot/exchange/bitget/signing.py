"""Keys, and signatures of stream logins (protocol section 10.2)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """An API key. Its text shows no secret.

    >>> Credentials("bg_0123456789", "s3cret", "pass")
    Credentials(key='bg_0…', secret='…', passphrase='…')
    """

    key: str
    secret: str
    passphrase: str

    def __repr__(self) -> str:
        return f"Credentials(key='{self.key[:4]}…', secret='…', passphrase='…')"


def signature(secret: str, prehash: bytes) -> str:
    """base64(HMAC-SHA256(secret, prehash))."""
    return base64.b64encode(hmac.new(secret.encode(), prehash, hashlib.sha256).digest()).decode()


def login_argument(credentials: Credentials, timestamp_s: int) -> dict[str, str]:
    """The argument of the stream's ``login`` operation; its timestamp is in seconds."""
    return {
        "apiKey": credentials.key,
        "passphrase": credentials.passphrase,
        "timestamp": str(timestamp_s),
        "sign": signature(credentials.secret, f"{timestamp_s}GET/user/verify".encode()),
    }
