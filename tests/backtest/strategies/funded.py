"""Follows the funding rate."""

from __future__ import annotations

from tradebot.trading.strategy import Intent, Strategy, View


class Funded(Strategy):
    """Long while the rate is above 1 bp."""

    def on_candle(self, view: View) -> Intent | None:
        if view.holding.side != "flat":
            return Intent("exit", "held") if view.holding.candles >= 2 else None
        return Intent("enter_long", "paid") if view.market.funding_rate > 1e-4 else None
