"""Depends on where it began: it counts the candles since."""

from __future__ import annotations

from tradebot.trading.strategy import Intent, Strategy, View


class Counter(Strategy):
    """Enters at every fifth candle since its start and leaves at the next but one."""

    def __init__(self, params: object) -> None:
        super().__init__(params)
        self._seen = 0

    def on_candle(self, view: View) -> Intent | None:
        self._seen += 1
        if view.holding.side != "flat":
            return Intent("exit", "held") if view.holding.candles >= 2 else None
        return Intent("enter_long", "counted") if self._seen % 5 == 0 else None
