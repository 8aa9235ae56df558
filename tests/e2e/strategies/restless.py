"""Trades at every candle: in when flat, out when not."""

from __future__ import annotations

from tradebot.events import ForecastReady
from tradebot.trading.strategy import Intent, Strategy, View


class Restless(Strategy):
    def on_forecast(self, view: View, forecast: ForecastReady) -> Intent:
        if view.holding.side != "flat":
            return Intent("exit", "was in")
        wants_long = forecast.as_of_ms // 300_000 % 2
        return Intent("enter_long" if wants_long else "enter_short", "was flat")
