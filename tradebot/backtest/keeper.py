"""What is remembered of a back-test while it runs: the account over time, trades and decisions."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from tradebot.backtest.run import STEP_MS, TRADE_COLUMNS, DecisionFile, EquityCurve, Floats, Trades
from tradebot.events import Decision, TradeBooked, TradeState
from tradebot.market.instrument import ZERO
from tradebot.trading.engine import Engine

NAN = float("nan")
_TEXTS = frozenset({"symbol", "side", "end", "strategy", "model", "version", "entry_decision", "exit_decision"})
_TIMES = frozenset({"opened_ms", "closed_ms"})


class Keeper:
    """Keeps trades and, every five minutes, the account; decisions too where ``folder`` is given.

    ``next_ms``: when the account is to be looked at next.
    """

    def __init__(self, symbols: Sequence[str], folder: Path | None = None) -> None:
        self.next_ms = 0
        self._symbols = tuple(symbols)
        self._times = array("q")
        self._account = tuple(array("d") for _ in range(4))
        self._mids = tuple(array("d") for _ in symbols)
        self._trades: dict[str, TradeState] = {}
        self._decisions = DecisionFile(folder) if folder is not None else None

    def decided(self, decision: Decision) -> None:
        """The engine decided."""
        if self._decisions is not None:
            self._decisions.add(decision)

    def booked(self, booked: TradeBooked) -> None:
        """Something was booked on a trade."""
        self._trades[booked.trade.trade_id] = booked.trade

    def sample(self, now_ms: int, engine: Engine) -> None:
        """Look at the account. A moment that was looked at already is looked at anew."""
        self.next_ms = now_ms // STEP_MS * STEP_MS + STEP_MS
        if self._times and self._times[-1] == now_ms:
            self._times.pop()
            for column in (*self._account, *self._mids):
                column.pop()
        equity = engine.live_equity()
        gross = net = ZERO
        for position in engine.state.portfolio.open_positions():
            notional = position.qty * engine.mark(position.symbol, position.entry_price)
            gross, net = gross + abs(notional), net + notional
        self._times.append(now_ms)
        values: tuple[Decimal | None, ...] = (equity, engine.state.balance, gross, net)
        for column, value in zip(self._account, values, strict=True):
            column.append(NAN if value is None else float(value))
        for mids, name in zip(self._mids, self._symbols, strict=True):
            top = engine.symbols[name].top
            mids.append(NAN if top is None else (top.bid + top.ask) / 2)

    def close(self) -> None:
        """Write what is left of the decisions."""
        if self._decisions is not None:
            self._decisions.close()

    def curve(self) -> EquityCurve:
        """The account over time."""
        equity, balance, gross, net = (np.array(column, dtype=np.float64) for column in self._account)
        return EquityCurve(np.array(self._times, dtype=np.int64), equity, balance, gross, net)

    def prices(self) -> dict[str, Floats]:
        """The mid of each symbol at the times of :meth:`curve`."""
        return {name: np.array(mids, dtype=np.float64) for name, mids in zip(self._symbols, self._mids, strict=True)}

    def trades(self) -> Trades:
        """Those that ended, in the order in which they did, then those that are open."""
        known = sorted(self._trades.values(), key=lambda trade: (not trade.closed_ms, trade.closed_ms, trade.opened_ms))
        rows = [_row(trade) for trade in known]
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(TRADE_COLUMNS)
        arrays: dict[str, Any] = {
            name: np.array(column, dtype=np.str_ if name in _TEXTS else np.int64 if name in _TIMES else np.float64)
            for name, column in zip(TRADE_COLUMNS, columns, strict=True)
        }
        return Trades(**arrays)


def _row(trade: TradeState) -> tuple[str | int | float, ...]:
    """The values of one trade in the order of ``TRADE_COLUMNS``."""
    return (
        trade.symbol,
        trade.side,
        trade.opened_ms,
        trade.closed_ms,
        float(trade.entered_qty),
        float(trade.entry_price),
        NAN if trade.exit_price is None else float(trade.exit_price),
        float(trade.entered_value),
        float(trade.realised),
        float(trade.fees),
        float(trade.funding),
        float(trade.net),
        trade.net_bp,
        NAN if trade.best_bp is None else trade.best_bp,
        NAN if trade.worst_bp is None else trade.worst_bp,
        trade.end,
        trade.strategy,
        trade.model,
        trade.version,
        trade.entry_decision,
        trade.exit_decision,
    )
