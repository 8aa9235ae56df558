"""One symbol's book, kept sound (protocol section 11)."""

from __future__ import annotations

from typing import Literal

from tradebot.exchange.bitget.messages import BooksRow
from tradebot.market.book import OrderBook

Kind = Literal["gap", "reset", "checksum", "crossed", "unreadable", "silent", "missed"]
"""Why a book needs a fresh snapshot, as it is counted."""

ORPHANS = 8
"""Updates in a row without the snapshot that must come before them. Some are on their way when one is asked for."""


class BookKeeper:
    """Keeps a book and refuses one that cannot be right.

    1. *empty* – no snapshot yet; updates are ignored.
    2. *sound* – every update continues the sequence chain (``pseq`` equals the last ``seq``) and has the checksum that
       was sent with it. Either proof may be absent: the exchange replaced the one by the other in 2026. What is not
       newer than the book (a repeated or late frame) is passed over.
    3. *broken* – a gap, a wrong checksum, a numbering reset or a crossed book; ``kind`` says which. Updates are ignored
       until a snapshot; when they keep coming without one, it was missed.
    """

    __slots__ = ("_after_snapshot", "_orphans", "_seq", "book", "kind", "sound")

    def __init__(self) -> None:
        self.book = OrderBook()
        self.sound = False
        self.kind: Kind = "gap"
        self._seq = 0
        self._orphans = 0
        self._after_snapshot = False

    def snapshot(self, row: BooksRow) -> str:
        """Replace the book. Returns why it is not sound, or an empty text."""
        self.sound = False
        self._orphans = 0
        self.book.snapshot(row.bids, row.asks)
        if self.book.crossed:
            return self._break("crossed", "crossed book in the snapshot")
        self._seq = row.seq
        self._after_snapshot = True
        self.sound = True
        return ""

    def update(self, row: BooksRow) -> str | None:
        """Apply a delta to a sound book. Returns why it broke, an empty text if it did not, None if it was not new."""
        seq, pseq = row.seq, row.pseq
        if seq:
            if pseq == 0:
                return self._break("reset", "sequence numbering was reset")
            if seq <= self._seq:
                return None
            if self._after_snapshot:
                if pseq > self._seq and self._seq:
                    return self._break("gap", f"gap after the snapshot: sequence {self._seq}, then {pseq}")
            elif pseq != self._seq:
                return self._break("gap", f"gap: sequence {self._seq}, then {pseq}")
            self._seq = seq
        self._after_snapshot = False
        book = self.book
        book.apply(row.bids, row.asks)
        if row.checksum and not book.matches(row.checksum):
            return self._break("checksum", "checksum mismatch")
        if book.crossed:
            return self._break("crossed", "crossed book")
        return ""

    def missed(self) -> bool:
        """An update came and there is no snapshot for it; whether that has been so for too long, each time anew."""
        self._orphans = (self._orphans + 1) % ORPHANS
        return not self._orphans

    def lose(self) -> None:
        """The connection is gone, or a frame was: nothing is known until the next snapshot."""
        self.sound = False

    def _break(self, kind: Kind, reason: str) -> str:
        self.sound = False
        self.kind = kind
        return reason
