"""How trading went, as far as limits depend on it: peak of the profit, losing streak, result of each model version."""

from __future__ import annotations

from decimal import Decimal

from tradebot.events import TrackState
from tradebot.market.instrument import ZERO

KEEP_MODELS = 500
"""Model versions whose result is remembered; the ones that traded last."""


class TrackRecord:
    """Updated by :class:`tradebot.trading.state.TradingState` alone, so that folding the journal gives it again.

    A trade goes from flat to flat; what it comes to is its executions, their fees and the funding paid meanwhile.
    """

    def __init__(self, durable: TrackState | None = None) -> None:
        d = durable or TrackState()
        self.peak_profit = d.peak_profit
        self.losses = d.losses
        self._asked_by = dict(d.asked_by)
        self._opened_by = dict(d.opened_by)
        self._running = dict(d.running)
        self._models = dict(d.models)

    def snapshot(self) -> TrackState:
        """All of it as one record."""
        return TrackState(
            peak_profit=self.peak_profit,
            losses=self.losses,
            asked_by=dict(self._asked_by),
            opened_by=dict(self._opened_by),
            running=dict(self._running),
            models=dict(self._models),
        )

    def model_result(self, model: str) -> Decimal:
        """What the closed trades of ``model`` came to (USDT)."""
        return self._models.get(model, ZERO)

    def on_entry(self, symbol: str, model: str) -> None:
        """An entry was asked for because of a forecast of ``model``."""
        self._asked_by[symbol] = model

    def on_fill(self, symbol: str, before: Decimal, after: Decimal, result: Decimal) -> None:
        """An execution took the position from ``before`` to ``after`` and came to ``result``, its fee included.

        One that goes through zero ends a trade and begins another; its whole result counts to the one that ended.
        """
        if not before:
            self._opened_by[symbol] = self._asked_by.get(symbol, "")
        self._running[symbol] = self._running.get(symbol, ZERO) + result
        if before and (not after or (after > 0) != (before > 0)):
            self._on_closed(symbol)
            if after:
                self._opened_by[symbol] = self._asked_by.get(symbol, "")

    def on_funding(self, symbol: str, amount: Decimal) -> None:
        """Funding was settled."""
        if symbol in self._opened_by:
            self._running[symbol] = self._running.get(symbol, ZERO) + amount

    def on_adopted(self, symbol: str) -> None:
        """The books were set to what the exchange shows: what the trade comes to is not known."""
        for part in (self._running, self._opened_by):
            part.pop(symbol, None)

    def on_profit(self, profit: Decimal) -> None:
        """Profit since the beginning, with that of open positions, as the books and the exchange agree on it."""
        if self.peak_profit is None or profit > self.peak_profit:
            self.peak_profit = profit

    def _on_closed(self, symbol: str) -> None:
        result = self._running.pop(symbol)
        if result < 0:
            self.losses += 1
        elif result > 0:
            self.losses = 0
        model = self._opened_by.pop(symbol, "")
        if model:
            self._models[model] = self._models.pop(model, ZERO) + result
            if len(self._models) > KEEP_MODELS:
                del self._models[next(iter(self._models))]
