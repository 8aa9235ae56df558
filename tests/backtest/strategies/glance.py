"""Looks at the market between candles."""

from __future__ import annotations

from tradebot.trading.strategy import Intent, Strategy, View


class Glance(Strategy):
    """Asks for a look half a minute after every close, and wants nothing."""

    def on_candle(self, view: View) -> Intent | None:
        return Intent("hold", "later", timer=("look", 30_000))

    def on_timer(self, view: View, name: str) -> Intent | None:
        return None
