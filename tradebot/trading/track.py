"""How trading went, as far as limits depend on it: peak of the profit, losing streak, result of each model version."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from tradebot.events import TrackState, TradeBooked
from tradebot.market.instrument import ZERO

KEEP_MODELS = 500
"""Model versions whose result is remembered; the ones that traded last."""


def model_key(symbol: str, name: str, version: str) -> str:
    """What a model version is remembered by; empty when none is named."""
    return f"{symbol} {name} {version}" if name else ""


class TrackRecord:
    """Updated by :class:`tradebot.trading.state.TradingState` alone, so that folding the journal gives it again.

    Trades are those of :mod:`tradebot.trading.trades`; one whose end was adopted counts for nothing, because what it
    came to is not known.
    """

    def __init__(self, durable: TrackState | None = None) -> None:
        d = durable or TrackState()
        self.peak_profit = d.peak_profit
        self.losses = d.losses
        self._models = dict(d.models)

    def snapshot(self) -> TrackState:
        """All of it as one record."""
        return TrackState(
            peak_profit=self.peak_profit,
            losses=self.losses,
            models=dict(self._models),
        )

    def model_result(self, model: str) -> Decimal:
        """What the closed trades of ``model`` came to (USDT)."""
        return self._models.get(model, ZERO)

    def on_booked(self, booked: Iterable[TradeBooked]) -> None:
        """Something was booked on trades: those that ended with it count, and what comes after the end is added."""
        for one in booked:
            trade = one.trade
            if not trade.closed_ms or trade.end == "adopted":
                continue
            if one.kind == "fill":
                self._on_result(trade.net)
            key = model_key(trade.symbol, trade.model, trade.version)
            if key:
                result = trade.net if one.kind == "fill" else one.realised + one.fee + one.funding
                self._models[key] = self._models.pop(key, ZERO) + result
                if len(self._models) > KEEP_MODELS:
                    del self._models[next(iter(self._models))]

    def on_profit(self, profit: Decimal) -> None:
        """Profit since the beginning, with that of open positions, as the books and the exchange agree on it."""
        if self.peak_profit is None or profit > self.peak_profit:
            self.peak_profit = profit

    def _on_result(self, result: Decimal) -> None:
        if result < 0:
            self.losses += 1
        elif result > 0:
            self.losses = 0
