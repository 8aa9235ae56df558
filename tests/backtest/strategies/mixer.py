"""Works with orders that rest for seconds, and tells how far the mark has been."""

from __future__ import annotations

from tradebot.trading.strategy import Intent, Strategy, View


class Mixer(Strategy):
    """Enters at every other close, now at market, now as a maker for three seconds, and holds for three candles."""

    def on_candle(self, view: View) -> Intent | None:
        candle, held = view.market.candle, view.holding
        if candle is None:
            return None
        if held.qty:
            if held.candles >= 3:
                return Intent("exit", "held", order="maker", wait_ms=3_000, fallback="market")
            return Intent("hold", f"best {held.best_bp}, worst {held.worst_bp}")
        number = candle.open_time_ms // view.interval_ms + sum(map(ord, view.market.symbol))
        return Intent(
            "enter_long" if number % 5 < 2 else "enter_short",
            "its turn",
            order="maker" if number % 2 else "market",
            wait_ms=3_000,
            fallback="market",
        )
