"""One USDT account: cash, positions, fees, realised profit, funding, margin.

Accounting is exact: what a round trip realises is the difference of two sums, to the last digit. Margins are not moved
out of the cash, they only bind it. Arithmetic of protocol section 7.11.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from msgspec.structs import replace

from tradebot.market.instrument import ZERO, Instrument, Side
from tradebot.matching.arithmetic import money
from tradebot.matching.margin import Leg, Tier, liquidation_price, tier_of
from tradebot.matching.orders import MarginMode, Order, PositionMode, PosSide
from tradebot.matching.position import Position, Slot
from tradebot.matching.settings import SymbolSettings

RUINED = Decimal(999)
"""A margin ratio where there is no margin left."""


class Account:
    """Cash and positions of one account. All money is USDT.

    ``open_cost_up_ratio`` is the contract's safety margin on opening cost (protocol section 6.2).
    """

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        tiers: Mapping[str, tuple[Tier, ...]],
        cash: Decimal,
        *,
        leverage: int,
        margin_mode: MarginMode,
        open_cost_up_ratio: Decimal,
    ) -> None:
        self.cash = cash
        self.position_mode: PositionMode = "one_way_mode"
        self.positions: dict[Slot, Position] = {}
        self.marks: dict[str, Decimal] = {}
        self._margins: dict[Slot, tuple[Position, Decimal]] = {}
        self.settings = {
            s: SymbolSettings.uniform(margin_mode, min(leverage, i.max_leverage)) for s, i in instruments.items()
        }
        self._instruments = instruments
        self._tiers = tiers
        self._cost_ratio = 1 + open_cost_up_ratio

    # --- positions --------------------------------------------------------------------------------------------------

    def of(self, symbol: str) -> list[Position]:
        """Open positions of a symbol: at most one, two in hedge mode."""
        if self.position_mode == "one_way_mode":
            held = self.positions.get((symbol, "net"))
            return [] if held is None else [held]
        return [p for p in self.positions.values() if p.symbol == symbol]

    def held(self, symbol: str, pos_side: PosSide = "net") -> Position | None:
        """An open position, None when it is flat."""
        return self.positions.get((symbol, pos_side))

    def signed_qty(self, symbol: str, pos_side: PosSide = "net") -> Decimal:
        """Signed position in base coin, zero when flat."""
        held = self.positions.get((symbol, pos_side))
        return held.qty if held else ZERO

    def closable(self, symbol: str, pos_side: PosSide, side: Side) -> Decimal:
        """Base coin that an order of ``side`` could close: the position's size when it is the other way, else zero."""
        qty = self.signed_qty(symbol, pos_side)
        return max(ZERO, -qty if side == "buy" else qty)

    # --- changes ----------------------------------------------------------------------------------------------------

    def fill(
        self, order: Order, price: Decimal, qty: Decimal, fee: Decimal, ts_ms: int, position_id: str
    ) -> tuple[Decimal, Position | None]:
        """Book an execution: returns the realised profit and, when it closed a position, that position's last state.

        An execution larger than an opposite position closes it and opens the rest the other way; the fee is shared in
        proportion. ``position_id`` names a position that is opened here.
        """
        slot = (order.symbol, order.pos_side)
        held = self.positions.get(slot)
        realised = ZERO
        closed: Position | None = None
        rest = qty
        rest_fee = fee
        if held is not None and held.side != order.side:
            part = min(qty, held.size)
            part_fee = fee if part == qty else money(fee * part / qty)
            realised, held = held.closed_by(part, price, part_fee, ts_ms)
            rest -= part
            rest_fee -= part_fee
            if held.qty == 0:
                closed, held = held, None
                del self.positions[slot]
            else:
                self.positions[slot] = held
        if rest:
            if held is None:
                held = Position(
                    position_id=position_id,
                    symbol=order.symbol,
                    side=order.side,
                    pos_side=order.pos_side,
                    qty=ZERO,
                    cost=ZERO,
                    margin_mode=order.margin_mode,
                    leverage=order.leverage,
                    opened_ms=ts_ms,
                    updated_ms=ts_ms,
                )
            self.positions[slot] = held.grown_by(rest, price, rest_fee, ts_ms)
        self.cash += realised + fee
        return realised, closed

    def settle_funding(self, held: Position, rate: Decimal, ts_ms: int) -> Decimal:
        """Pay or receive funding on the position's value at mark; longs pay when the rate is positive.

        Returns the change of cash.
        """
        amount = money(-held.qty * self.mark(held.symbol) * rate)
        self.cash += amount
        self.positions[held.slot] = replace(held, funding=(held.funding or ZERO) + amount, updated_ms=ts_ms)
        return amount

    # --- measures ---------------------------------------------------------------------------------------------------

    def mark(self, symbol: str) -> Decimal:
        """Last mark price; before the first one, the entry price of a position, zero when flat."""
        mark = self.marks.get(symbol)
        if mark is None:
            return next((p.entry_price for p in self.of(symbol)), ZERO)
        return mark

    def unrealised(self, mode: MarginMode | None = None) -> Decimal:
        """Σ unrealised profit at mark, of one margin mode or of all."""
        return sum((p.unrealised(self.mark(p.symbol)) for p in self._of_mode(mode)), ZERO)

    def margin(self, mode: MarginMode | None = None) -> Decimal:
        """Σ margin of positions."""
        return sum((self._margin_of(p) for p in self._of_mode(mode)), ZERO)

    def tier(self, position: Position) -> Tier:
        """The tier that holds the position's value at mark."""
        return tier_of(self._tiers[position.symbol], position.value(self.mark(position.symbol)))

    def maintenance(self, position: Position) -> Decimal:
        """Margin below which the position is liquidated: value × (tier rate + taker fee to close)."""
        rate = self.tier(position).maintenance_rate + self._instruments[position.symbol].taker_fee
        return position.value(self.mark(position.symbol)) * rate

    def equity(self) -> Decimal:
        """Cash and unrealised profit."""
        return self.cash + self.unrealised()

    def locked(self, orders: Iterable[Order]) -> Decimal:
        """Margin reserved by open orders: for what they would open, after netting against a one-way position.

        Orders of a side net in the order given (oldest first); the two sides do not net against each other.
        """
        room: dict[tuple[str, Side], Decimal] = {}
        total = ZERO
        for order in orders:
            if order.reduce_only or not order.open:
                continue
            opening = order.remaining
            if order.pos_side == "net":
                key = (order.symbol, order.side)
                free = room[key] if key in room else self.closable(order.symbol, "net", order.side)
                closing = min(free, opening)
                room[key] = free - closing
                opening -= closing
            total += self.opening_cost(order.symbol, order.leverage, opening * order.margin_price)
        return total

    def opening_cost(self, symbol: str, leverage: int, value: Decimal) -> Decimal:
        """What must be free to open ``value``: value / leverage × (1 + openCostUpRatio) + taker fee (section 7.11)."""
        return money(value / leverage * self._cost_ratio + value * self._instruments[symbol].taker_fee)

    def free(self, locked: Decimal) -> Decimal:
        """What may be used to open: cash less margins and locks; crossed losses count, unrealised profits do not."""
        return self.cash - self.margin() - locked + min(ZERO, self.unrealised("crossed"))

    def crossed_equity(self) -> Decimal:
        """Equity that stands behind crossed positions: isolated margins are out of reach."""
        return self.cash - self.margin("isolated") + self.unrealised("crossed")

    def risk_rate(self) -> Decimal:
        """Maintenance / equity of the crossed positions; at 1 or more they are liquidated. Zero when there are none."""
        need = sum((self.maintenance(p) for p in self._of_mode("crossed")), ZERO)
        if not need:
            return ZERO
        equity = self.crossed_equity()
        return need / equity if equity > 0 else RUINED

    def margin_ratio(self, position: Position) -> Decimal:
        """Maintenance / margin of an isolated position; of a crossed one, the account's :meth:`risk_rate`."""
        if position.margin_mode == "crossed":
            return self.risk_rate()
        equity = position.margin + position.unrealised(self.mark(position.symbol))
        return self.maintenance(position) / equity if equity > 0 else RUINED

    def liquidation_price(self, position: Position) -> Decimal | None:
        """Mark at which the position is liquidated on the losing way from now, other marks unchanged, or None."""
        together = [position]
        backing = position.margin
        if position.margin_mode == "crossed":
            crossed = self._of_mode("crossed")
            together = [p for p in crossed if p.symbol == position.symbol]
            others = [p for p in crossed if p.symbol != position.symbol]
            backing = self.cash - self.margin("isolated")
            backing += sum((p.unrealised(self.mark(p.symbol)) - self.maintenance(p) for p in others), ZERO)
        fee = self._instruments[position.symbol].taker_fee
        tiers = self._tiers[position.symbol]
        legs = [Leg(p.qty, p.cost, tiers, fee) for p in together]
        price = liquidation_price(legs, backing, self.mark(position.symbol))
        return None if price is None else money(price)

    def _margin_of(self, position: Position) -> Decimal:
        slot = position.slot
        known = self._margins.get(slot)
        if known is None or known[0] is not position:
            known = self._margins[slot] = (position, position.margin)
        return known[1]

    def _of_mode(self, mode: MarginMode | None) -> list[Position]:
        return [p for p in self.positions.values() if mode is None or p.margin_mode == mode]
