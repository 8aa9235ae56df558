"""Bybit's spot books from snapshots and deltas (bybit-exchange.github.io/docs/v5/websocket/public/orderbook).

A subscription begins with a snapshot; every delta's ``u`` is one more than that of the message before it. A new
snapshot at any time replaces the book; so does a message with ``u`` 1, which follows a restart of the service.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tradebot.errors import DataError
from tradebot.market.book import Level, OrderBook

DEPTH = 50
"""Levels kept by the venue's deltas; those of 50 come every 20 ms."""
PING = '{"op":"ping"}'
ARGUMENTS_PER_REQUEST = 10


class Rows(msgspec.Struct, gc=False):
    """Levels that changed (or all of them), and the number of this message in its topic."""

    s: str = ""
    b: list[Level] = []
    a: list[Level] = []
    u: int = 0


class Push(msgspec.Struct, gc=False):
    """One message. Replies to commands have no ``topic``, but ``op`` and, when they failed, ``success`` false."""

    topic: str = ""
    type: str = ""
    data: Rows | None = None
    op: str = ""
    success: bool = True
    ret_msg: str = ""


_PUSH = msgspec.json.Decoder(Push)


def decode_push(frame: bytes) -> Push:
    """A message. Raises DataError when it cannot be read."""
    try:
        return _PUSH.decode(frame)
    except msgspec.MsgspecError as error:
        raise DataError(f"unreadable stream message ({error}): {frame[:120].decode('utf-8', 'replace')}") from error


def commands(op: str, symbols: Sequence[str]) -> list[str]:
    """Messages that subscribe (or unsubscribe) the symbols' books, at most ten in one.

    >>> commands("subscribe", ["BTCUSDT"])
    ['{"op":"subscribe","args":["orderbook.50.BTCUSDT"]}']
    """
    topics = [f"orderbook.{DEPTH}.{symbol}" for symbol in symbols]
    return [
        msgspec.json.encode({"op": op, "args": topics[at : at + ARGUMENTS_PER_REQUEST]}).decode()
        for at in range(0, len(topics), ARGUMENTS_PER_REQUEST)
    ]


class BybitKeeper:
    """One symbol's book: *sound* from a snapshot on, until a delta's number does not follow."""

    __slots__ = ("_last", "book", "sound")

    def __init__(self) -> None:
        self.book = OrderBook()
        self.sound = False
        self._last = 0

    def take(self, kind: str, row: Rows) -> str | None:
        """Apply a message. Returns why the book broke, an empty text if it is sound, None if nothing changed."""
        try:
            if kind == "snapshot" or row.u == 1:
                self.book.snapshot(row.b, row.a)
                self.sound = True
            elif not self.sound:
                return None
            elif row.u != self._last + 1:
                return self._break(f"gap: {self._last} was followed by {row.u}")
            else:
                self.book.apply(row.b, row.a)
        except (ValueError, IndexError) as error:
            return self._break(f"unreadable level: {error}")
        self._last = row.u
        return self._break("crossed book") if self.book.crossed else ""

    def lose(self) -> None:
        """The connection is gone: nothing is known until the next snapshot."""
        self.sound = False

    def _break(self, reason: str) -> str:
        self.sound = False
        return reason
