"""A strategy whose news are some candles old: what is left of it says how much it owes to being quick."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from tradebot.events import ForecastReady
from tradebot.trading.strategy import HOLD, Intent, Strategy, View, hooks_of


class _News(msgspec.Struct, frozen=True):
    """What a close told: its view, and the forecast where there was one."""

    view: View
    forecast: ForecastReady | None


def late(strategy: type[Strategy], bars: int) -> type[Strategy]:
    """The strategy, acting ``bars`` candles late: at every close it is shown the forecasts, features and candles of the
    close that many candles before, with the market, position and account of now. 0: the strategy itself.

    What it does on fills, timers, book rows and lost connections stays prompt: those are no news to trade on, except
    for a strategy that trades on book rows, of which nothing is delayed.
    """
    if bars == 0:
        return strategy
    hooks = hooks_of(strategy)
    if not hooks & {"on_forecast", "on_candle"}:
        return strategy

    def __init__(self: Any, params: Any) -> None:
        strategy.__init__(self, params)
        self._late_news_of = {}

    def told(self: Any, view: View, forecast: ForecastReady | None) -> Intent | None:
        waiting: deque[_News] = self._late_news_of.setdefault(view.market.symbol, deque())
        waiting.append(_News(_kept(view), forecast))
        if len(waiting) <= bars:
            return HOLD
        news = waiting.popleft()
        shown = _as_of(view, news.view)
        if news.forecast is not None:
            return strategy.on_forecast(self, shown, news.forecast)
        return strategy.on_candle(self, shown)

    def on_forecast(self: Any, view: View, forecast: ForecastReady) -> Intent:
        return told(self, view, forecast) or HOLD

    def on_candle(self: Any, view: View) -> Intent | None:
        return told(self, view, None)

    own: dict[str, Any] = {"__init__": __init__, "on_candle": on_candle, "__module__": strategy.__module__}
    if "on_forecast" in hooks:
        own["on_forecast"] = on_forecast
    return type(strategy.__name__, (strategy,), own)


def _kept(view: View) -> View:
    """The view with candles of its own: the window's arrays are true until the next close only."""
    window = view.market.candles
    if window is None:
        return view
    copied = window._replace(**{name: column.copy() for name, column in window._asdict().items()})
    return msgspec.structs.replace(view, market=msgspec.structs.replace(view.market, candles=copied))


def _as_of(now: View, then: View) -> View:
    market = msgspec.structs.replace(now.market, candle=then.market.candle, candles=then.market.candles)
    return msgspec.structs.replace(
        now, market=market, forecasts=then.forecasts, models=then.models, features=then.features
    )
