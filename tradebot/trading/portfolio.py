"""Positions and money as our own executions add up to.

``tradebot.matching`` computes the same figures independently, for the exchange's side; the two must agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from tradebot.events import Filled, PositionState
from tradebot.market.instrument import ARITHMETIC, ZERO

CENTS = Decimal("1e-12")
"""What a share of an amount is rounded to (USDT): coarse enough that sums of money keep every digit."""


def proportion(amount: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """The share of ``amount`` (USDT) that falls on ``part`` of ``whole``; all of it when they are equal.

    >>> proportion(Decimal("-0.10"), Decimal(1), Decimal(3))
    Decimal('-0.033333333333')
    """
    if part == whole:
        return amount
    return (amount * part / whole).quantize(CENTS, ROUND_HALF_EVEN, ARITHMETIC) if part else ZERO


@dataclass(slots=True)
class Position:
    """A position of ours: signed size (base coin, long > 0), cost of the open part (USDT), moment it was opened."""

    symbol: str
    qty: Decimal = ZERO
    cost: Decimal = ZERO
    opened_ms: int = 0

    @property
    def entry_price(self) -> Decimal:
        """Average price of the open part; zero when flat."""
        return self.cost / self.qty if self.qty else ZERO

    def unrealised(self, mark: Decimal) -> Decimal:
        """Profit of the open part at ``mark``, before fees (USDT)."""
        return self.qty * mark - self.cost


class Portfolio:
    """Positions, realised profit, fees and funding from executions. All amounts in USDT, fees negative when paid."""

    def __init__(self, positions: Iterable[PositionState] = ()) -> None:
        self._positions: dict[str, Position] = {
            p.symbol: Position(p.symbol, p.qty, p.qty * p.entry_price if p.cost is None else p.cost, p.opened_ms)
            for p in positions
        }
        self.realised = ZERO
        self.fees = ZERO
        self.funding = ZERO

    def position(self, symbol: str) -> Position:
        return self._positions.setdefault(symbol, Position(symbol))

    def open_positions(self) -> list[Position]:
        return [p for p in self._positions.values() if p.qty]

    def apply(self, fill: Filled, ts_ms: int) -> Decimal:
        """Book one execution and return the profit it realised before fees (USDT).

        Closing takes cost out in proportion to size, so that a position that is flat again has realised what was paid
        and got to the last digit; a fill through zero closes the old side, then opens the new one.
        """
        position = self.position(fill.symbol)
        signed = fill.qty if fill.side == "buy" else -fill.qty
        realised = ZERO
        if position.qty and (position.qty > 0) != (signed > 0):
            closing = min(abs(signed), abs(position.qty))
            share = proportion(position.cost, closing, abs(position.qty))
            direction = 1 if position.qty > 0 else -1
            realised = direction * closing * fill.price - share
            position.qty -= direction * closing
            position.cost -= share
            signed += direction * closing
        if signed:
            if not position.qty:
                position.opened_ms = ts_ms
            position.qty += signed
            position.cost += signed * fill.price
        self.realised += realised
        self.fees += fill.fee
        return realised

    def adopt(self, state: PositionState, ts_ms: int) -> None:
        """Take over the exchange's view of a position that our executions do not explain."""
        self._positions[state.symbol] = Position(
            state.symbol, state.qty, state.qty * state.entry_price, state.opened_ms or ts_ms
        )

    def snapshot(self) -> tuple[PositionState, ...]:
        return tuple(
            PositionState(symbol=p.symbol, qty=p.qty, entry_price=p.entry_price, opened_ms=p.opened_ms, cost=p.cost)
            for p in self.open_positions()
        )
