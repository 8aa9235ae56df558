"""Binance's books from changes and a snapshot, spot and USDT perpetuals.

The stream sends changes; a snapshot comes over REST, and changes that arrive meanwhile are kept. Ids tell what belongs
together (L: ``lastUpdateId`` of the snapshot; the last change applied is "last"):

=====================  ====================================  ====================================
rule                   spot                                  perpetual
=====================  ====================================  ====================================
in the snapshot        ``u <= L``                            ``u <= L``
first to apply         ``U <= L + 1 <= u``                   ``pu <= L < u``
every later one        ``U == last.u + 1``                   ``pu == last.u``
=====================  ====================================  ====================================

For perpetuals the venue writes ``U <= L <= u`` for the first one: it need not exist when the snapshot ends with a
change; then the next one follows it (``pu == L``), and applying the one with ``u == L`` again would change nothing.
(developers.binance.com: Spot › WebSocket Streams › How to manage a local order book correctly; USDⓈ-M Futures › How to
manage a local order book correctly.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from tradebot.errors import DataError
from tradebot.market.book import Level, OrderBook

Market = Literal["spot", "perp"]

MOST_KEPT = 10_000
"""Changes kept while a snapshot is on its way: more than a minute of any symbol."""
SNAPSHOT_LEVELS = 1_000


class Change(msgspec.Struct, gc=False):
    """A ``depthUpdate``: first and last id in it, the previous change's last id (perpetuals), new sizes by price."""

    s: str = ""
    U: int = 0
    u: int = 0
    pu: int = 0
    b: list[Level] = []
    a: list[Level] = []


class Push(msgspec.Struct, gc=False):
    """One message of a combined stream. Replies to commands have no ``stream``."""

    stream: str = ""
    data: Change | None = None


class Snapshot(msgspec.Struct, gc=False):
    """The answer of ``depth``."""

    lastUpdateId: int
    bids: list[Level]
    asks: list[Level]


_PUSH = msgspec.json.Decoder(Push)
_SNAPSHOT = msgspec.json.Decoder(Snapshot)


def decode_push(frame: bytes) -> Change | None:
    """The change in a frame, or None when it is something else. Raises DataError when it cannot be read."""
    try:
        push = _PUSH.decode(frame)
    except msgspec.MsgspecError as error:
        raise DataError(f"unreadable stream message ({error}): {frame[:120].decode('utf-8', 'replace')}") from error
    return push.data if push.data is not None and "@depth" in push.stream else None


def decode_snapshot(body: bytes) -> Snapshot:
    """A snapshot. Raises DataError when it cannot be read."""
    try:
        return _SNAPSHOT.decode(body)
    except msgspec.MsgspecError as error:
        raise DataError(f"unreadable snapshot ({error}): {body[:120].decode('utf-8', 'replace')}") from error


def stream_url(base: str, symbols: Sequence[str]) -> str:
    """The combined stream of the symbols' changes, ten a second.

    >>> stream_url("wss://fstream.binance.com", ["BTCUSDT"])
    'wss://fstream.binance.com/stream?streams=btcusdt@depth@100ms'
    """
    return f"{base.rstrip('/')}/stream?streams=" + "/".join(f"{symbol.lower()}@depth@100ms" for symbol in symbols)


def commands(symbol: str, number: int) -> list[str]:
    """Messages that take one symbol's changes off the stream and put them on it again."""
    stream = f"{symbol.lower()}@depth@100ms"
    return [
        msgspec.json.encode({"method": method, "params": [stream], "id": number}).decode()
        for method in ("UNSUBSCRIBE", "SUBSCRIBE")
    ]


def snapshot_path(market: Market, symbol: str) -> str:
    """Where a snapshot is asked for.

    >>> snapshot_path("spot", "BTCUSDT")
    '/api/v3/depth?symbol=BTCUSDT&limit=1000'
    """
    root = "/api/v3/depth" if market == "spot" else "/fapi/v1/depth"
    return f"{root}?symbol={symbol}&limit={SNAPSHOT_LEVELS}"


def _zeros(levels: list[Level]) -> list[Level]:
    """Deletions spelled as the book expects them: one it does not know by sight costs it a sweep at the next read."""
    return [(price, size if float(size) else "0") for price, size in levels]


class BinanceKeeper:
    """One symbol's book.

    1. *waiting* – for a snapshot; changes are kept.
    2. *joining* – the snapshot is there, the change that continues it has not come yet. The book is the snapshot's.
    3. *sound* – every change continues the one before.

    A change that does not continue leads back to *waiting*.
    """

    __slots__ = ("_joined", "_kept", "_last", "_spot", "book", "sound")

    def __init__(self, market: Market) -> None:
        self.book = OrderBook()
        self.sound = False
        self._spot = market == "spot"
        self._kept: list[Change] = []
        self._last = 0
        self._joined = False

    def snapshot(self, row: Snapshot) -> str:
        """Begin with a snapshot and what came after it. Returns why it cannot be used, or an empty text."""
        try:
            self.book.snapshot(row.bids, row.asks)
        except (ValueError, IndexError) as error:
            return f"unreadable level in the snapshot: {error}"
        if self.book.crossed:
            return "crossed book in the snapshot"
        kept, self._kept = self._kept, []
        self._last, self._joined, self.sound = row.lastUpdateId, False, True
        for at, change in enumerate(kept):
            reason = self.update(change)
            if reason:
                self._kept = kept[at:]  # a newer snapshot may join them
                return reason
        return ""

    def update(self, row: Change) -> str | None:
        """Apply a change. Returns why the book broke, an empty text if it is sound, None if nothing changed."""
        if not self.sound:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept.append(row)
            return None
        last, continues = self._last, row.U - 1 if self._spot else row.pu
        if not self._joined:
            if row.u <= last:
                return None
            if continues > last:
                return self._break(row, f"gap: the snapshot ends at {last}, the next change continues {continues}")
            self._joined = True
        elif continues != last:
            return self._break(row, f"gap: {last}, then a change that continues {continues}")
        self._last = row.u
        try:
            self.book.apply(_zeros(row.b), _zeros(row.a))
        except (ValueError, IndexError) as error:
            return self._break(row, f"unreadable level: {error}")
        if self.book.crossed:
            return self._break(row, "crossed book")
        return ""

    def lose(self) -> None:
        """The connection is gone: what comes next continues nothing."""
        self.sound = False
        self._kept = []

    def _break(self, row: Change, reason: str) -> str:
        self.sound = False
        self._kept = [row]
        return reason
