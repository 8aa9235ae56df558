"""Trades often and without a model: against every candle that moved far enough, for a few candles."""

from __future__ import annotations

import msgspec

from tradebot.trading.strategy import HOLD, Intent, Strategy, View


class Params(msgspec.Struct, frozen=True):
    move_bp: float = 12.0
    candles: int = 3
    maker: bool = False
    take_profit_bp: float | None = None


class Pendulum(Strategy):
    Params = Params

    def on_candle(self, view: View) -> Intent:
        params: Params = self.params
        candle, holding = view.market.candle, view.holding
        if holding.qty:
            return Intent("exit", "its time is over") if holding.candles >= params.candles else HOLD
        if candle is None:
            return HOLD
        moved_bp = (candle.close / candle.open - 1) * 1e4
        if abs(moved_bp) < params.move_bp:
            return Intent("hold", f"moved {moved_bp:.6f} bp, book {view.market.book}, mark {view.market.mark}")
        return Intent(
            "enter_short" if moved_bp > 0 else "enter_long",
            f"moved {moved_bp:.2f} bp, {view.market.bid_size} {view.market.ask_size} {view.market.book_age_ms}",
            order="maker" if params.maker else "market",
            wait_ms=40_000,
            fallback="cancel",
            take_profit_bp=params.take_profit_bp,
        )
