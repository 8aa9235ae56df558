"""Signatures of REST requests as the exchange asks for them (protocol section 3), to compare ours with."""

from __future__ import annotations

from tradebot.exchange.bitget.signing import Credentials, signature


def signed_headers(
    credentials: Credentials, timestamp_ms: int, method: str, path: str, query: str = "", body: bytes = b""
) -> dict[str, str]:
    """Headers that authenticate one REST request.

    ``query`` is the query string before percent-encoding, without the question mark; ``body`` the exact bytes sent.
    """
    target = f"{path}?{query}" if query else path
    prehash = f"{timestamp_ms}{method}{target}".encode() + body
    return {
        "ACCESS-KEY": credentials.key,
        "ACCESS-SIGN": signature(credentials.secret, prehash),
        "ACCESS-TIMESTAMP": str(timestamp_ms),
        "ACCESS-PASSPHRASE": credentials.passphrase,
    }
