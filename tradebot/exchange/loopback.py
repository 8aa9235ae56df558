"""What is this machine: an embedded exchange, which has no limits to keep and is behind no proxy."""

from __future__ import annotations

from urllib.parse import urlsplit

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def on_loopback(url: str) -> bool:
    """Whether an address leads to this machine.

    >>> on_loopback("ws://127.0.0.1:7000/v2/ws/public"), on_loopback("https://api.bitget.com")
    (True, False)
    """
    return urlsplit(url).hostname in LOOPBACK
