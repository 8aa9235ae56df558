"""What the engine knows of one symbol's market and settings."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from tradebot.events import AccountVerified, BookSampled, BookTop, ForecastReady, ModelRef, TickerUpdated
from tradebot.features import side
from tradebot.features.views import view
from tradebot.market.buffer import CandleWindow, RollingBuffer
from tradebot.market.candle import INTERVAL_MS, Candle, interval_start
from tradebot.market.instrument import ZERO, Instrument, exact
from tradebot.trading.beside import NAN, Beside, Leaders
from tradebot.trading.correlation import Returns
from tradebot.trading.rows import Side, Tape, ViewRows

STRATEGY_VIEW = "candles-5m"
"""The features that a strategy reads by name."""


class Asked:
    """The forecasts asked for at the last close: which are awaited (model by request id), came, or will not come
    (why, by model)."""

    def __init__(self) -> None:
        self.waiting: dict[str, str] = {}
        self.row_hashes: dict[str, str] = {}
        self.came: dict[str, ForecastReady] = {}
        self.missing: dict[str, str] = {}

    def give_up(self, why: str) -> None:
        """Wait no longer."""
        self.missing |= dict.fromkeys(self.waiting.values(), why)
        self.waiting.clear()


class Excursion:
    """Lowest and highest price (USDT) since a position was opened at ``opened_ms``."""

    __slots__ = ("high", "low", "opened_ms")

    def __init__(self) -> None:
        self.opened_ms = 0
        self.low = self.high = 0.0

    def see(self, opened_ms: int, low: float, high: float) -> None:
        """Prices while the position opened at ``opened_ms`` was held; another moment means another position."""
        if opened_ms != self.opened_ms:
            self.opened_ms, self.low, self.high = opened_ms, low, high
        else:
            self.low, self.high = min(self.low, low), max(self.high, high)

    def since(self, opened_ms: int, mark: float) -> tuple[float, float]:
        """Lowest and highest price of the position opened at ``opened_ms``, the present ``mark`` included."""
        return (min(self.low, mark), max(self.high, mark)) if opened_ms == self.opened_ms else (mark, mark)

    def see_candle(self, opened_ms: int, candle: Candle, close_ms: int) -> None:
        """A closed candle: of the one in which the position was opened, the close alone is known to come later."""
        if candle.open_time_ms >= opened_ms:
            self.see(opened_ms, candle.low, candle.high)
        elif close_ms > opened_ms:
            self.see(opened_ms, candle.close, candle.close)


class SymbolState:
    """Rolling market memory, feature state, served models and verified account settings of one symbol.

    ``lookback``: closed candles that the strategy wants to see. ``order``: names of the models in configured order;
    others follow as they come.
    """

    def __init__(self, name: str, interval: str, *, lookback: int = 0, order: tuple[str, ...] = ()) -> None:
        self.name = name
        self.interval_ms = INTERVAL_MS[interval]
        self.buffer = RollingBuffer(interval, candles={interval: lookback} if lookback else None)
        self.beside = Beside(self.interval_ms)
        self.held: deque[Candle] = deque()
        """Closed candles whose references' candles have not come yet, oldest first."""
        self.waits = False
        """Whether there is a timer for them."""
        self.passed_ms = 0
        """Open time of the last candle that went on without them."""
        self.instrument: Instrument | None = None
        self.account: AccountVerified | None = None
        self.feed_ok = False
        self.feed_reason = "not started"
        self.top: BookTop | None = None
        self.top_ms = 0
        self.book: BookSampled | None = None
        """The newest row of the book grid."""
        self.returns = Returns()
        self.candle: Candle | None = None
        self.last_close_ms = 0
        self.asked = Asked()
        self.forecasts: Mapping[str, ForecastReady] = MappingProxyType({})
        """Those that hold: of the last closed candle, once they are in, and of models whose own candle is not over."""
        self.models: Mapping[str, ModelRef] = MappingProxyType({})
        self.excursion = Excursion()
        self.funding_rate = 0.0
        self.next_funding_ms = 0
        self._order = order
        self._lookback = lookback
        self._views: dict[str, ViewRows] = {}
        self._tape: Tape | None = Tape()
        """While there may be models: one that comes later, also a version that replaces another, may look at a view
        that was not kept, or further back."""
        self._values: tuple[float, ...] | None = None
        self._mark = 0.0
        self._exact = (0.0, ZERO)

    @property
    def model(self) -> ModelRef | None:
        """The first model that serves."""
        return next(iter(self.models.values()), None)

    @property
    def unserved(self) -> tuple[str, ...]:
        """Configured models that do not serve."""
        return tuple(name for name in self._order if name not in self.models)

    def on_model(self, ref: ModelRef) -> None:
        """``ref`` serves from now on, instead of the version of its name that did."""
        known = {**self.models, ref.name: ref}
        names = [name for name in self._order if name in known] + [name for name in known if name not in self._order]
        self.models = MappingProxyType({name: known[name] for name in names})

    @property
    def leading(self) -> ForecastReady | None:
        """The forecast that a decision is put down to: the first of the last close, else the first that holds."""
        fresh = (f for f in self.forecasts.values() if f.as_of_ms == self.last_close_ms)
        return next(fresh, None) or next(iter(self.forecasts.values()), None)

    def on_history(self, candle: Candle) -> None:
        """A candle of before the run."""
        if self._remember(candle) and self._tape is not None:
            self._tape.append(candle, None)

    def on_candle(self, candle: Candle, leaders: Leaders) -> bool:
        """Take a closed candle; False for one that was taken before. Raises DataError for a gap."""
        self.catch_up(leaders)
        if not self._remember(candle):
            return False
        known = self._side(leaders, candle.open_time_ms, candle.close, *self.beside.market(self.last_close_ms))
        for rows in self._views.values():
            rows.take(candle, known)
        if not self._order:
            self._tape = None
        elif self._tape is not None:
            self._tape.append(candle, known)
        return True

    def _remember(self, candle: Candle) -> bool:
        close_ms = candle.open_time_ms + self.interval_ms
        if close_ms <= self.last_close_ms:
            return False
        self.last_close_ms = close_ms
        self.buffer.append_candle(candle)
        self.returns.append(close_ms, candle.close)
        self.candle, self._values = candle, None
        return True

    def catch_up(self, leaders: Leaders) -> None:
        """Have every view that is looked at, up to the last candle, and no other."""
        wanted = {STRATEGY_VIEW: 1}
        for ref in self.models.values():
            wanted[ref.view] = max(wanted.get(ref.view, 1), ref.steps)
        known, self._views = self._views, {}
        for name, steps in wanted.items():
            if name in known and known[name].steps >= steps:
                self._views[name] = known[name]
                continue
            rows = self._views[name] = ViewRows(view(name), self.interval_ms, steps)
            if self._tape is not None:
                self._tape.load(rows, lambda open_ms, close: self._side(leaders, open_ms, close))

    def _side(
        self, leaders: Leaders, open_ms: int, close: float, mark: float = NAN, index: float = NAN, interest: float = NAN
    ) -> Side:
        """What is known beside the candle that opened at ``open_ms``, at its close."""
        btc, eth = leaders.closes(self.name, open_ms, close)
        return side.beside(
            btc_close=btc,
            eth_close=eth,
            funding=self.beside.funding(open_ms + self.interval_ms),
            mark=mark,
            index=index,
            open_interest=interest,
        )

    def rows_of(self, ref: ModelRef) -> NDArray[np.float32] | None:
        """What ``ref`` looks at after the last candle: a row, or a window of them; None while its view warms up."""
        rows = self._views.get(ref.view)
        return rows.window(ref.steps) if rows is not None else None

    def is_due(self, interval: str) -> bool:
        """Whether the last candle ended one of ``interval``."""
        length = INTERVAL_MS[interval]
        return interval_start(self.last_close_ms, length) == self.last_close_ms

    def holding_forecasts(self) -> dict[str, ForecastReady]:
        """Forecasts of earlier closes that still hold: their model's own candle is not over."""
        return {
            name: forecast
            for name, forecast in self.forecasts.items()
            if name in self.models and not self.is_due(self.models[name].interval)
        }

    def window(self) -> CandleWindow | None:
        """The candles that the strategy wants to see; None when it wants none."""
        return self.buffer.candles() if self._lookback else None

    def values(self, leaders: Leaders) -> tuple[float, ...] | None:
        """The last closed candle's features in catalogue order, or None while they warm up."""
        if self._values is None:
            self.catch_up(leaders)
            row = self._views[STRATEGY_VIEW].row()
            self._values = None if row is None else tuple(row.tolist())
        return self._values

    def on_top(self, event: BookTop, ts_ms: int) -> None:
        self.top, self.top_ms = event, ts_ms

    def on_book(self, event: BookSampled) -> None:
        self.book = event
        self.buffer.append_book(event)

    def on_ticker(self, event: TickerUpdated, ts_ms: int) -> bool:
        """Take mark price and funding schedule; True when a funding settlement has just passed."""
        self.beside.on_ticker(ts_ms, event)
        self._mark, self.funding_rate = event.mark, event.funding_rate
        settled = 0 < self.next_funding_ms < event.next_funding_ms
        self.next_funding_ms = event.next_funding_ms or self.next_funding_ms
        return settled

    def mark_price(self) -> float:
        """Mark price (USDT), or the mid while the exchange has not sent one."""
        if self._mark > 0:
            return self._mark
        return (self.top.bid + self.top.ask) / 2 if self.top is not None else 0.0

    def mark_exactly(self) -> Decimal:
        """The same as money; zero while there is none."""
        price = self.mark_price()
        if price != self._exact[0]:
            self._exact = (price, exact(price) if price > 0 else ZERO)
        return self._exact[1]
