"""What is known beside a candle at its close: leading coins, funding, mark and index price, open interest."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable

from tradebot.events import REFERENCES, TickerUpdated
from tradebot.market.candle import Candle

NAN = math.nan
_NONE: dict[int, float] = {}
KEPT_CLOSES = 5_000
"""More than any history has."""
KEPT_SETTLEMENTS = 200


class Leaders:
    """Closes of ``names`` (those of ``REFERENCES`` that are heard) by the open time of their candle.

    One counts as heard from its first candle on. What does not come in time is not known, and stays so for the candles
    that were decided on without it.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(name for name in REFERENCES if name in set(names))
        self.missed = dict.fromkeys(self.names, 0)
        """Candles that closed without the reference's, by reference."""
        self._closes: dict[str, dict[int, float]] = {name: {} for name in self.names}
        self._silent: set[str] = set()
        """Those that came too late the last time."""
        self._needed = dict.fromkeys(self.names, (0, 0))
        """The newest candle that another one needed beside it: its open time, and when it would be too late (ms)."""

    def see(self, name: str, candle: Candle, now_ms: int) -> None:
        """A candle of ``name`` has closed. One that comes too late for those that needed it (it was read back, say)
        is known from now on, but its reference stays silent."""
        closes = self._closes.get(name)
        if closes is not None and 0 < candle.close < math.inf:
            closes[candle.open_time_ms] = candle.close
            needed_ms, late_ms = self._needed[name]
            if candle.open_time_ms > needed_ms or (candle.open_time_ms == needed_ms and now_ms < late_ms):
                self._silent.discard(name)
            if len(closes) > KEPT_CLOSES:
                del closes[next(iter(closes))]

    def lacking(self, symbol: str, open_ms: int) -> tuple[str, ...]:
        """The references heard before whose candle of ``open_ms`` is not there beside that of ``symbol``."""
        return tuple(
            name for name, closes in self._closes.items() if name != symbol and closes and open_ms not in closes
        )

    def need(self, symbol: str, open_ms: int, late_ms: int) -> None:
        """The candle of ``symbol`` that opened at ``open_ms`` has closed; references beside it are late at
        ``late_ms``."""
        for name in self.lacking(symbol, open_ms):
            if open_ms > self._needed[name][0]:
                self._needed[name] = open_ms, late_ms

    def awaited(self, symbol: str, open_ms: int) -> tuple[str, ...]:
        """Those of them that must come first: one that came too late the last time holds nothing up again before it
        came in time."""
        return tuple(name for name in self.lacking(symbol, open_ms) if name not in self._silent)

    def miss(self, names: Iterable[str]) -> None:
        """A candle is looked at without those of ``names``."""
        for name in names:
            self.missed[name] += 1

    def fall_silent(self, names: Iterable[str]) -> None:
        """Those of ``names`` did not come in time."""
        self._silent.update(names)

    def closes(self, symbol: str, open_ms: int, close: float) -> tuple[float, float]:
        """Closes of BTC and ETH beside the candle of ``symbol`` that opened at ``open_ms`` and closed at ``close``
        (USDT); NaN where one is not known. A leader leads itself."""
        known = self._closes
        btc, eth = (close if name == symbol else known.get(name, _NONE).get(open_ms, NAN) for name in REFERENCES)
        return btc, eth


class Beside:
    """Funding, mark and index price and open interest of one symbol as they were known at its closes.

    A ticker belongs to the first close at or after the moment it was heard. The rate of a settlement is the one that
    was told last before it; what settled before the run began comes from the exchange's history.
    """

    def __init__(self, interval_ms: int) -> None:
        self._interval_ms = interval_ms
        self._told: dict[int, tuple[float, float, float]] = {}
        """Mark, index and open interest told last before each close."""
        self._settled_ms: list[int] = []
        self._rates: list[float] = []
        self._next = (0, 0.0)
        """The settlement that comes next (ms), and the rate told last for it."""

    def on_ticker(self, ts_ms: int, event: TickerUpdated) -> None:
        """A ticker, heard at ``ts_ms``."""
        at = -(-ts_ms // self._interval_ms) * self._interval_ms
        self._told[at] = _known(event.mark), _known(event.index), _known(event.open_interest)
        next_ms, _ = self._next
        if event.next_funding_ms > next_ms:
            self._settle()
            self._next = event.next_funding_ms, event.funding_rate
        elif event.next_funding_ms == next_ms and ts_ms <= next_ms:
            self._next = next_ms, event.funding_rate

    def on_settlements(self, settlements: Iterable[tuple[int, float]]) -> None:
        """Settlements that were: moment (ms) and rate, oldest first."""
        for at_ms, rate in settlements:
            if not self._settled_ms or at_ms > self._settled_ms[-1]:
                self._settled_ms.append(at_ms)
                self._rates.append(rate)

    def funding(self, close_ms: int) -> float:
        """Rate of the last settlement at or before ``close_ms``; NaN: not known."""
        next_ms, rate = self._next
        if 0 < next_ms <= close_ms:
            return rate
        place = bisect_right(self._settled_ms, close_ms)
        return self._rates[place - 1] if place else NAN

    def market(self, close_ms: int) -> tuple[float, float, float]:
        """Mark, index (USDT) and open interest (base coin) told last at or before ``close_ms``; NaN: not known.

        Closes are asked for in their order: what belongs to earlier ones is forgotten."""
        over = [at for at in self._told if at <= close_ms]
        for at in over[:-1]:
            del self._told[at]
        return self._told[over[-1]] if over else (NAN, NAN, NAN)

    def _settle(self) -> None:
        at_ms, rate = self._next
        if at_ms:
            self.on_settlements([(at_ms, rate)])
            if len(self._settled_ms) > KEPT_SETTLEMENTS:
                del self._settled_ms[0], self._rates[0]


def _known(value: float) -> float:
    return value if value > 0 else NAN
