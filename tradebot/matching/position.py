"""One position. It keeps its entry value (``cost``) instead of an average price, so that sums stay exact."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from tradebot.market.instrument import ZERO, Side
from tradebot.matching.arithmetic import money, quotient
from tradebot.matching.orders import MarginMode, PosSide

Slot = tuple[str, PosSide]
"""Where a position is kept: symbol and position side."""


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """A position: ``side`` is ``buy`` for a long and ``sell`` for a short, and stays when it has been closed.

    ``qty`` is signed base coin; ``cost`` is the entry value of what is open, positive USDT. ``extra_margin`` is what
    was added to an isolated position beyond its initial margin.

    ``realised`` excludes ``fees`` (negative when paid) and ``funding`` (negative when paid). ``opened_*`` and
    ``closed_*`` add up everything since the position left zero.
    """

    position_id: str
    symbol: str
    side: Side
    qty: Decimal
    cost: Decimal
    margin_mode: MarginMode
    leverage: int
    opened_ms: int
    updated_ms: int
    pos_side: PosSide = "net"
    extra_margin: Decimal = ZERO
    realised: Decimal = ZERO
    fees: Decimal = ZERO
    open_fees: Decimal = ZERO
    funding: Decimal | None = None
    opened_qty: Decimal = ZERO
    opened_value: Decimal = ZERO
    closed_qty: Decimal = ZERO
    closed_value: Decimal = ZERO

    @property
    def slot(self) -> Slot:
        """Where it is kept."""
        return self.symbol, self.pos_side

    @property
    def size(self) -> Decimal:
        """Base coin without sign."""
        return abs(self.qty)

    @property
    def entry_price(self) -> Decimal:
        """Average entry price of what is open."""
        return money(quotient(self.cost, self.size)) if self.qty else ZERO

    @property
    def initial_margin(self) -> Decimal:
        """Entry value / leverage."""
        return money(quotient(self.cost, Decimal(self.leverage)))

    @property
    def margin(self) -> Decimal:
        """Initial margin and what was added to it."""
        return self.initial_margin + self.extra_margin

    def value(self, mark: Decimal) -> Decimal:
        """Notional at mark."""
        return self.size * mark

    def unrealised(self, mark: Decimal) -> Decimal:
        """Profit at mark, before the fee to close."""
        return self.value(mark) - self.cost if self.qty > 0 else self.cost - self.value(mark)

    def closed_by(self, part: Decimal, price: Decimal, fee: Decimal, ts_ms: int) -> tuple[Decimal, Position]:
        """Realised profit and position after ``part`` of it was closed at ``price``.

        Only a partial close divides; its profit is rounded to 1e-12 USDT and the remainder stays in the position.
        """
        whole = part == self.size
        released = self.cost if whole else money(self.cost * part / self.size)
        freed = self.extra_margin if whole else money(self.extra_margin * part / self.size)
        value = part * price
        realised = value - released if self.qty > 0 else released - value
        return realised, msgspec.structs.replace(
            self,
            qty=self.qty - part if self.qty > 0 else self.qty + part,
            cost=self.cost - released,
            extra_margin=self.extra_margin - freed,
            realised=self.realised + realised,
            fees=self.fees + fee,
            closed_qty=self.closed_qty + part,
            closed_value=self.closed_value + value,
            updated_ms=ts_ms,
        )

    def grown_by(self, qty: Decimal, price: Decimal, fee: Decimal, ts_ms: int) -> Position:
        """The position after ``qty`` more was opened at ``price``."""
        value = qty * price
        return msgspec.structs.replace(
            self,
            qty=self.qty + qty if self.side == "buy" else self.qty - qty,
            cost=self.cost + value,
            fees=self.fees + fee,
            open_fees=self.open_fees + fee,
            opened_qty=self.opened_qty + qty,
            opened_value=self.opened_value + value,
            updated_ms=ts_ms,
        )
