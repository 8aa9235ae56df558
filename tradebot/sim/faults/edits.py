"""Changes to one message: pure functions from bytes to bytes (protocol sections 10 and 11)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from tradebot.sim.wire import decode, encode


class Said(msgspec.Struct):
    """What a frame says of itself: enough to choose it without reading it whole."""

    channel: str = ""
    symbol: str = ""
    action: str = ""


class _Arg(msgspec.Struct):
    channel: str = ""
    instId: str = ""


class _Head(msgspec.Struct):
    arg: _Arg | None = None
    action: str = ""
    event: str = ""


_head = msgspec.json.Decoder(_Head).decode


def payload_of(frame: bytes) -> bytes:
    """The text in an unmasked WebSocket frame (RFC 6455 section 5.2)."""
    size = frame[1] & 0x7F
    return frame[2 if size < 126 else 4 if size == 126 else 10 :]


def said_in(payload: bytes) -> Said:
    """Channel, symbol and action of a push. Acks, errors and logins are channel ``reply``, a pong is ``pong``."""
    if not payload.startswith(b"{"):
        return Said(channel="pong")
    head = _head(payload)
    if head.event or head.arg is None:
        return Said(channel="reply")
    return Said(channel=head.arg.channel, symbol=head.arg.instId, action=head.action)


def symbols_in(payload: bytes) -> set[str]:
    """The symbols that the rows of a push speak of."""
    rows = decode(payload).get("data") or []
    return {str(row.get("instId") or row.get("symbol") or "") for row in rows if isinstance(row, dict)}


def corrupted(payload: bytes) -> bytes:
    """The same length, and no JSON: the closing bracket is another letter."""
    return payload[:-1] + b"#"


def truncated(payload: bytes) -> bytes:
    """The first half."""
    return payload[: max(1, len(payload) // 2)]


def sequence_gap(payload: bytes, gap: int) -> bytes | None:
    """A book update whose numbers lie ``gap`` further; None when it has no numbers."""

    def shift(row: dict[str, Any]) -> bool:
        if not row.get("pseq"):
            return False
        row["seq"] += gap
        row["pseq"] += gap
        return True

    return _book_update(payload, shift)


def sequence_reset(payload: bytes) -> bytes | None:
    """A book update that starts a new numbering; None when it has no numbers."""

    def reset(row: dict[str, Any]) -> bool:
        if not row.get("pseq"):
            return False
        row["pseq"] = 0
        return True

    return _book_update(payload, reset)


def wrong_checksum(payload: bytes) -> bytes | None:
    """A book update with another checksum; None when it has none."""

    def change(row: dict[str, Any]) -> bool:
        if not row.get("checksum"):
            return False
        row["checksum"] ^= 1 if row["checksum"] != 1 else 2
        return True

    return _book_update(payload, change)


def without_candles(payload: bytes, gone: Callable[[int], bool]) -> tuple[bytes | None, int]:
    """A push or answer without the candle rows whose start is ``gone``: None when none is left; how many went.

    An answer keeps its (then empty) list.
    """
    message = decode(payload)
    rows = message.get("data") or []
    kept = [row for row in rows if not gone(int(row[0]))]
    if len(kept) == len(rows):
        return payload, 0
    message["data"] = kept
    return (None if not kept and "action" in message else encode(message)), len(rows) - len(kept)


def doubled_candles(payload: bytes) -> bytes | None:
    """A push or answer with each candle row twice; None when there is no row."""
    message = decode(payload)
    rows: Iterable[Any] = message.get("data") or []
    message["data"] = [row for row in rows for _ in range(2)]
    return encode(message) if message["data"] else None


def _book_update(payload: bytes, edit: Callable[[dict[str, Any]], bool]) -> bytes | None:
    message = decode(payload)
    if message.get("action") != "update":
        return None
    changed = [edit(row) for row in message["data"]]
    return encode(message) if any(changed) else None
