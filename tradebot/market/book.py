"""A price-aggregated order book kept from snapshots and deltas, with the texts the exchange's checksum needs."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import chain, islice
from math import inf
from zlib import crc32

Level = tuple[str, str]
"""Price and size exactly as received. Size zero deletes the level in a delta."""

CHECKSUM_LEVELS = 25
# how many entries of deleted prices are borne before a sweep: in all beyond the live ones, before the best price, and
# how many more entries than asked for are looked at first
SPARE_ENTRIES = 256
SPARE_HEAD = 64
SPARE_READ = 8


class BookSide:
    """One side: a dict from price text to size text, and the sorted float keys of those prices (bids negated).

    A delta is one ``dict.update``; only prices never seen before cost a conversion and a bisection. A deleted price
    stays as an entry of size zero until a sweep: market makers shift whole ladders to and fro, so most deleted prices
    come back. Two spellings of one price ("27001.0", "27001") are one level and the latest spelling is kept; one
    message is expected to use one spelling.
    """

    __slots__ = ("_deepest", "_first", "_keys", "_read", "_sign", "_sizes", "_spare", "_sweep_at", "_texts")

    def __init__(self, sign: float) -> None:
        self._sign = sign
        self._keys: list[float] = []
        self._texts: list[str] = []
        self._sizes: dict[str, str] = {}
        self._first = 0
        self._spare = SPARE_READ
        self._sweep_at = SPARE_ENTRIES
        self._deepest = 0
        self._read: tuple[tuple[float, ...], tuple[float, ...]] | None = None

    def replace(self, levels: Sequence[Level]) -> None:
        """Forget everything and take these levels, in any order."""
        self._keys, self._texts, self._sizes, self._first = [], [], {}, 0
        self._sweep_at = 2 * len(levels) + SPARE_ENTRIES
        self.apply(levels)

    def apply(self, levels: Sequence[Level]) -> None:
        """Insert, replace or (size zero) delete. Raises ValueError on a price that is no positive number."""
        sizes = self._sizes
        self._read = None
        before = len(sizes)
        sizes.update(levels)
        grown = len(sizes) - before
        if grown:
            # a dict keeps the order of insertion, so the prices never seen before are its last entries
            self._place(list(islice(reversed(sizes), grown)))
            if len(sizes) > self._sweep_at:
                self.sweep()
                return
        self._first = self._find_first()
        if self._first > SPARE_HEAD:
            self.sweep()

    def _place(self, new: list[str]) -> None:
        keys, texts, sizes, sign = self._keys, self._texts, self._sizes, self._sign
        for text in reversed(new):
            price = float(text)
            if not 0.0 < price < inf:
                raise ValueError(f"a book level has the price {text!r}")
            key = sign * price
            at = bisect_left(keys, key)
            if at < len(keys) and keys[at] == key:
                del sizes[texts[at]]
                texts[at] = text
            else:
                keys.insert(at, key)
                texts.insert(at, text)

    def _find_first(self) -> int:
        sizes = self._sizes
        at = 0
        for text in self._texts:
            size = sizes[text]
            if size[0] != "0" or float(size) != 0.0:
                break
            at += 1
        return at

    def sweep(self) -> None:
        """Remove the entries of deleted prices."""
        sizes, sign = self._sizes, self._sign
        self._texts = [text for text in self._texts if float(sizes[text]) != 0.0]
        self._sizes = {text: sizes[text] for text in self._texts}
        self._keys = [sign * float(text) for text in self._texts]
        self._first = 0
        self._spare = SPARE_READ
        self._sweep_at = 2 * len(self._texts) + SPARE_ENTRIES

    def top(self, n: int) -> list[Level]:
        """The best ``n`` levels as received, best first."""
        sizes, texts, first = self._sizes, self._texts, self._first
        end = first + n + self._spare
        while True:
            levels = [(text, size) for text in texts[first:end] if (size := sizes[text]) != "0"]
            if len(levels) >= n or end >= len(texts):
                return levels[:n]
            self._spare += SPARE_READ
            end += n

    def levels(self, n: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Prices and sizes of the best ``n`` levels, best first. Whoever asks, they are converted once for each state
        of the side: as many as were ever asked for."""
        if self._read is None or n > self._deepest:
            self._deepest = max(n, self._deepest)
            self._read = self._converted(self._deepest)
        prices, sizes = self._read
        return (prices, sizes) if n == self._deepest else (prices[:n], sizes[:n])

    def _converted(self, n: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        levels = self.top(n)
        sizes = tuple([float(size) for _, size in levels])
        if 0.0 in sizes:  # a deletion spelled "0.000"
            self.sweep()
            return self._converted(n)
        return tuple([float(price) for price, _ in levels]), sizes

    @property
    def best(self) -> float | None:
        """Best price, or None on an empty side."""
        return self._sign * self._keys[self._first] if self._first < len(self._keys) else None

    def __len__(self) -> int:
        self.sweep()
        return len(self._texts)


class OrderBook:
    """The book of one symbol. Prices in USDT, sizes in base coin.

    >>> book = OrderBook()
    >>> book.snapshot([("150.12", "12.5")], [("150.121", "7.1"), ("150.125", "20")])
    >>> book.apply([], [("150.121", "0")])
    >>> book.best()
    (150.12, 150.125)
    """

    __slots__ = ("asks", "bids")

    def __init__(self) -> None:
        self.bids = BookSide(-1.0)
        self.asks = BookSide(1.0)

    def snapshot(self, bids: Sequence[Level], asks: Sequence[Level]) -> None:
        """Replace everything; levels may come in any order. Raises ValueError on a price that is not positive."""
        self.bids.replace(bids)
        self.asks.replace(asks)

    def apply(self, bids: Sequence[Level], asks: Sequence[Level]) -> None:
        """Apply one delta: size zero deletes, anything else inserts or replaces.

        Raises ValueError on a price that is no positive number; the book is then unusable until the next snapshot.
        """
        if bids:
            self.bids.apply(bids)
        if asks:
            self.asks.apply(asks)

    def clear(self) -> None:
        """Forget all levels."""
        self.snapshot((), ())

    def best(self) -> tuple[float, float] | None:
        """Best bid and ask price, or None while a side is empty."""
        bid, ask = self.bids.best, self.asks.best
        return None if bid is None or ask is None else (bid, ask)

    def mid(self) -> float | None:
        """Middle of best bid and ask, or None while a side is empty."""
        best = self.best()
        return None if best is None else (best[0] + best[1]) * 0.5

    @property
    def crossed(self) -> bool:
        """True when the best bid is above the best ask: an impossible book. A locked book (equal) is legal."""
        best = self.best()
        return best is not None and best[0] > best[1]

    @property
    def locked(self) -> bool:
        """True when best bid and best ask are equal, as venues with aggregated price levels show at times."""
        best = self.best()
        return best is not None and best[0] == best[1]

    @property
    def depth(self) -> tuple[int, int]:
        """Number of bid and of ask levels."""
        return len(self.bids), len(self.asks)

    def levels(self, n: int) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
        """Bid prices, bid sizes, ask prices, ask sizes of the best ``n`` levels, best first; shorter on a thin side."""
        return (*self.bids.levels(n), *self.asks.levels(n))

    def checksum(self) -> int:
        """Signed CRC-32 of the best 25 levels, bid and ask interleaved, as protocol section 11 defines it."""
        bids, asks = self.bids.top(CHECKSUM_LEVELS), self.asks.top(CHECKSUM_LEVELS)
        parts = list(chain.from_iterable(chain.from_iterable(zip(bids, asks, strict=False))))
        if len(bids) != len(asks):
            parts += chain.from_iterable(bids[len(asks) :] or asks[len(bids) :])
        unsigned = crc32(":".join(parts).encode())
        return unsigned - (1 << 32) if unsigned & 0x80000000 else unsigned

    def matches(self, checksum: int) -> bool:
        """Whether the book has the checksum the exchange sent with the delta just applied."""
        if self.checksum() == checksum:
            return True
        self._sweep()  # a deletion spelled "0.000" is still among the entries
        return self.checksum() == checksum

    def _sweep(self) -> None:
        self.bids.sweep()
        self.asks.sweep()
