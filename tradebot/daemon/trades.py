"""Round trips of a run and what they earned, for the demo's closing account."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal

from tradebot.events import Filled, FundingPaid, Record
from tradebot.market.instrument import ZERO
from tradebot.trading.portfolio import Portfolio


@dataclass(slots=True)
class _Trip:
    """A position from its first fill on: what was entered and what it brought so far (USDT, fees negative)."""

    entered: Decimal = ZERO
    earned: Decimal = ZERO


class Trades:
    """An observer of the sequencer. A *trade* is a position from flat to flat; a fill through zero ends one.

    Executions are told apart by their id: one that is reported twice counts once.
    """

    def __init__(self) -> None:
        self.closed = 0
        self._entered = ZERO
        self._earned = ZERO
        self._portfolio = Portfolio()
        self._open: defaultdict[str, _Trip] = defaultdict(_Trip)
        self._seen: set[str] = set()

    def __call__(self, seq: int, ts_ms: int, record: Record) -> None:
        if isinstance(record, Filled) and record.trade_id not in self._seen:
            self._seen.add(record.trade_id)
            self._fill(record, ts_ms)
        elif isinstance(record, FundingPaid) and record.bill_id not in self._seen:
            self._seen.add(record.bill_id)
            if self._portfolio.position(record.symbol).qty:
                self._open[record.symbol].earned += record.amount

    def _fill(self, fill: Filled, ts_ms: int) -> None:
        position = self._portfolio.position(fill.symbol)
        before = position.qty
        earned = self._portfolio.apply(fill, ts_ms) + fill.fee
        after = position.qty
        ended = bool(before) and before * after <= 0
        trip = self._open[fill.symbol]
        trip.earned += earned
        if ended:
            self.closed += 1
            self._entered += trip.entered
            self._earned += trip.earned
            trip = self._open[fill.symbol] = _Trip()
        opened = abs(after) if ended else abs(after) - abs(before)
        trip.entered += max(opened, ZERO) * fill.price

    def net_bp(self) -> float | None:
        """What closed trades earned after fees and funding, in bp of the notional they entered with; None: no trade."""
        return float(self._earned / self._entered) * 1e4 if self._entered else None
