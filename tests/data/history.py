"""A source of candles that is exact, for tests: what it has, what it gets wrong, and what it was asked."""

from __future__ import annotations

from collections.abc import Callable

from tests.eventually import turns
from tradebot.errors import ExchangeError
from tradebot.market.candle import INTERVAL_MS, Candle

MONDAY = 1_767_571_200_000  # 2026-01-05 00:00 UTC


def candle(at: int, interval_ms: int = 300_000) -> Candle:
    """The candle of a moment, different for each."""
    tenths = 1_000 + at // interval_ms % 997
    return Candle(
        at, tenths / 10, (tenths + 20) / 10, (tenths - 10) / 10, (tenths + 10) / 10, 5.0 + at // interval_ms % 7, 500.0
    )


class ListedCandles:
    """Serves :func:`candle` for every interval except those in ``lacking``, in pages of ``page`` rows at most.

    ``trouble(asked)`` may give an error for the how-manieth request, ``change(candle, asked)`` another candle.
    ``inclusive``: whether ``endTime`` itself is served.
    """

    exchange = "bitget"

    def __init__(
        self,
        now_ms: int,
        *,
        listed_ms: int = 0,
        page: int = 200,
        inclusive: bool = True,
        lacking: frozenset[int] = frozenset(),
        trouble: Callable[[int], ExchangeError | None] = lambda asked: None,
        change: Callable[[Candle, int], Candle] = lambda row, asked: row,
    ) -> None:
        self.now, self.listed, self.page, self.inclusive = now_ms, listed_ms, page, inclusive
        self.lacking, self.trouble, self.change = lacking, trouble, change
        self.asked: list[tuple[int, int]] = []
        self.flying = self.most_flying = 0

    async def now_ms(self) -> int:
        return self.now

    def page_rows(self, interval: str) -> int:
        return self.page

    def per_second(self, channel: str) -> float:
        return 16.0

    async def candles(self, symbol: str, interval: str, start_ms: int, end_ms: int, *, mark: bool) -> list[Candle]:
        step = INTERVAL_MS[interval]
        self.asked.append((start_ms, end_ms))
        number = len(self.asked)
        self.flying += 1
        self.most_flying = max(self.most_flying, self.flying)
        await turns(1)
        self.flying -= 1
        error = self.trouble(number)
        if error is not None:
            raise error
        last = end_ms if self.inclusive else end_ms - 1
        times = range(-(-max(start_ms, self.listed) // step) * step, min(last + 1, self.now - step + 1), step)
        rows = [self.change(candle(at, step), number) for at in times if at not in self.lacking]
        return rows[-self.page :]
