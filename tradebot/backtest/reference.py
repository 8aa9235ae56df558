"""Symbols that lead others, in a back-test: their recorded candles are heard, and nothing is traded in them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from pathlib import Path

from tradebot.data.files import read_candles, split_argument, symbol_of
from tradebot.errors import DataError
from tradebot.events import CandleClosed, CandleHistory, Event
from tradebot.features.epoch import epoch_of
from tradebot.market.candle import INTERVAL_MS, Candle
from tradebot.market.series import aggregate, filled
from tradebot.shell.history import CHUNK, WINDOW_MS

Put = Callable[[Event], None]


class Reference:
    """Closed candles of ``symbol``, told when they close and before anything else that happens then."""

    def __init__(self, symbol: str, interval: str, candles: list[Candle]) -> None:
        self.symbol = symbol
        self._interval, self._interval_ms = interval, INTERVAL_MS[interval]
        self._candles = candles
        self._closes = [candle.open_time_ms + self._interval_ms for candle in candles]
        self._next = 0

    def start(self, now_ms: int, put: Put) -> None:
        """Tell the candles that closed by ``now_ms``, as many as a start needs."""
        self._next = bisect_right(self._closes, now_ms)
        first_ms = epoch_of(now_ms - self._interval_ms - WINDOW_MS)
        told = [candle for candle in self._candles[: self._next] if candle.open_time_ms >= first_ms]
        for at in range(0, len(told), CHUNK):
            rows = tuple(told[at : at + CHUNK])
            put(CandleHistory(symbol=self.symbol, interval=self._interval, candles=rows))

    def step(self, now_ms: int, put: Put) -> None:
        """Tell what has closed by ``now_ms``."""
        while self._next < len(self._candles) and self._closes[self._next] <= now_ms:
            candle, self._next = self._candles[self._next], self._next + 1
            put(CandleClosed(symbol=self.symbol, interval=self._interval, candle=candle))


def read_reference(argument: str, interval: str) -> Reference:
    """The reference of a candle file, named as ``PATH`` or ``SYMBOL=PATH``; candles that are too short are joined.

    Raises DataError for a file that cannot be read and for candles longer than ``interval``.
    """
    symbol, path = symbol_of(argument)
    table = read_candles(path)
    wanted_ms = INTERVAL_MS[interval]
    if table.interval_ms > wanted_ms:
        raise DataError(f"{path}: its candles are longer than the {interval} candles that are decided on")
    columns = (table.open_time, table.open, table.high, table.low, table.close, table.volume)
    candles = filled([Candle(*row) for row in zip(*(c.tolist() for c in columns), strict=True)], table.interval_ms)
    if table.interval_ms < wanted_ms:
        candles = aggregate(candles, table.interval_ms, wanted_ms)
    return Reference(symbol, interval, candles)


def beside(data: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    """Files of the symbols ``names`` that lie beside the files ``data`` under the same name but for the symbol."""
    found: dict[str, str] = {}
    for argument in data:
        path = split_argument(argument)[1]
        if path.is_dir():
            continue
        try:
            own = symbol_of(argument)[0]
        except DataError:
            continue  # funding tells no symbol
        for name in names:
            twin = path.with_name(path.name.replace(own, name))
            if name != own and own in path.name and twin.is_file():
                found.setdefault(name, str(Path(twin)))
    return tuple(f"{name}={path}" for name, path in found.items())
