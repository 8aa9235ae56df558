"""Follows or fades the last move, holds a few candles; needs no model."""

from __future__ import annotations

import msgspec

from tradebot.trading.strategy import Intent, Strategy, View


class DriftParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``entry_bp``: least move of the last candle; ``fade``: against it; ``hold``: candles."""

    entry_bp: float = 10.0
    fade: bool = False
    hold: int = 2


class Drift(Strategy):
    """One position per symbol."""

    Params = DriftParams
    params: DriftParams
    lookback = 3

    def on_candle(self, view: View) -> Intent | None:
        candles = view.market.candles
        if view.holding.side != "flat":
            return Intent("exit", "held") if view.holding.candles >= self.params.hold else None
        if candles is None or len(candles.close) < 2:
            return None
        moved = (candles.close[-1] / candles.close[-2] - 1) * 1e4
        if abs(moved) < self.params.entry_bp:
            return None
        up = (moved > 0) != self.params.fade
        return Intent("enter_long" if up else "enter_short", f"moved {moved:+.1f} bp")
