"""Sequences of candles: gaps, joining of history and live rows, and longer intervals made from shorter ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import msgspec

from tradebot.market.candle import Candle, interval_start


class Gap(msgspec.Struct, frozen=True):
    """Missing candles: those with ``start_ms <= open_time_ms < end_ms``."""

    start_ms: int
    end_ms: int


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of ``join``: ascending candles, what is still missing between them, and what overlapped.

    ``duplicates`` counts rows seen twice with equal values, ``revisions`` those with different ones.
    """

    candles: tuple[Candle, ...]
    gaps: tuple[Gap, ...] = ()
    duplicates: int = 0
    revisions: int = 0


def find_gaps(candles: Sequence[Candle], interval_ms: int) -> tuple[Gap, ...]:
    """The gaps between ascending candles.

    >>> find_gaps([Candle(0, 1, 1, 1, 1, 0), Candle(900_000, 1, 1, 1, 1, 0)], 300_000)
    (Gap(start_ms=300000, end_ms=900000),)
    """
    return tuple(
        Gap(before.open_time_ms + interval_ms, after.open_time_ms)
        for before, after in itertools.pairwise(candles)
        if after.open_time_ms - before.open_time_ms > interval_ms
    )


def filled(candles: Sequence[Candle], interval_ms: int) -> list[Candle]:
    """Ascending candles with every gap filled flat: the last close, no volume.

    A candle that the exchange does not have means that it was down: live fills it, and training the parts of longer
    candles. A whole candle that is missing is a DataError of a training (``training.dataset``).

    >>> [c.close for c in filled([Candle(0, 1, 2, 1, 2, 5), Candle(900_000, 3, 3, 3, 3, 1)], 300_000)]
    [2, 2, 2, 3]
    """
    result: list[Candle] = []
    for candle in candles:
        while result and result[-1].open_time_ms + interval_ms < candle.open_time_ms:
            result.append(flat(result[-1].open_time_ms + interval_ms, result[-1].close))
        result.append(candle)
    return result


def flat(open_time_ms: int, price: float) -> Candle:
    """A candle in which nothing was traded."""
    return Candle(open_time_ms, price, price, price, price, 0.0)


def join(history: Iterable[Candle], live: Iterable[Candle], interval_ms: int) -> Joined:
    """Closed candles of both sources as one ascending sequence without duplicates.

    Either source may be unordered and may repeat itself. Where both have a candle with different values the live one
    stands, because it is the one decisions were made on. Gaps are reported, never filled: the caller fetches them.
    """
    rows: dict[int, Candle] = {}
    duplicates = revisions = 0
    for candle in (*history, *live):
        known = rows.get(candle.open_time_ms)
        if known is not None:
            duplicates += known == candle
            revisions += known != candle
        rows[candle.open_time_ms] = candle
    candles = tuple(rows[at] for at in sorted(rows))
    return Joined(candles=candles, gaps=find_gaps(candles, interval_ms), duplicates=duplicates, revisions=revisions)


class Aggregator:
    """Builds candles of a longer interval from closed ones of a shorter interval, one at a time.

    A longer candle appears when its last part closes, and only if all its parts were seen: the first, incomplete one
    after a start or a gap is left out. Volumes are added oldest first, so live and batch results are equal bit for bit.
    """

    def __init__(self, part_ms: int, whole_ms: int) -> None:
        if whole_ms % part_ms or whole_ms <= part_ms:
            raise ValueError(f"{whole_ms} ms is not a multiple of {part_ms} ms")
        self.part_ms = part_ms
        self.whole_ms = whole_ms
        self._parts: list[Candle] = []

    def push(self, candle: Candle) -> Candle | None:
        """Take the next closed part; the longer candle when this part completes it."""
        start = interval_start(candle.open_time_ms, self.whole_ms)
        parts = self._parts
        if parts and candle.open_time_ms != parts[-1].open_time_ms + self.part_ms:
            parts.clear()
        if not parts and candle.open_time_ms != start:
            return None
        parts.append(candle)
        if candle.open_time_ms + self.part_ms < start + self.whole_ms:
            return None
        volume = quote_volume = 0.0
        for part in parts:
            volume += part.volume
            quote_volume += part.quote_volume
        whole = Candle(
            start,
            parts[0].open,
            max(part.high for part in parts),
            min(part.low for part in parts),
            candle.close,
            volume,
            quote_volume,
        )
        parts.clear()
        return whole


def aggregate(candles: Iterable[Candle], part_ms: int, whole_ms: int) -> list[Candle]:
    """All complete candles of the longer interval, by the same steps as live."""
    aggregator = Aggregator(part_ms, whole_ms)
    return [whole for candle in candles if (whole := aggregator.push(candle)) is not None]
