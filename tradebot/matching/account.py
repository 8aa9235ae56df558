"""One USDT account: cash, one-way positions, fees, realised profit, funding, margin and liquidation.

Accounting is exact: a position keeps its entry value (``cost``) instead of an average price, so what a round trip
realises is the difference of two sums, to the last digit. Only a partial close divides; its profit is rounded to
``1e-12`` USDT and the remainder stays in the position. Arithmetic of protocol section 7.11.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

import msgspec

from tradebot.market.instrument import ZERO, Instrument, Side
from tradebot.matching.margin import Tier, liquidation_price, tier_of
from tradebot.matching.orders import MarginMode, Order

QUANTUM = Decimal("1e-12")


def money(value: Decimal) -> Decimal:
    """USDT rounded half-even to 1e-12, so that sums of money stay exact."""
    exponent = value.as_tuple().exponent
    return value.quantize(QUANTUM, ROUND_HALF_EVEN) if isinstance(exponent, int) and exponent < -12 else value


class Position(msgspec.Struct, frozen=True, kw_only=True):
    """A position: ``side`` is ``buy`` for a long and ``sell`` for a short, and stays when it has been closed.

    ``qty`` is signed base coin; ``cost`` is the entry value of what is open, positive USDT.

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
    realised: Decimal = ZERO
    fees: Decimal = ZERO
    open_fees: Decimal = ZERO
    funding: Decimal | None = None
    opened_qty: Decimal = ZERO
    opened_value: Decimal = ZERO
    closed_qty: Decimal = ZERO
    closed_value: Decimal = ZERO

    @property
    def size(self) -> Decimal:
        """Base coin without sign."""
        return abs(self.qty)

    @property
    def entry_price(self) -> Decimal:
        """Average entry price of what is open."""
        return money(self.cost / self.size) if self.qty else ZERO

    @property
    def margin(self) -> Decimal:
        """Initial margin: entry value / leverage."""
        return money(self.cost / self.leverage)

    def value(self, mark: Decimal) -> Decimal:
        """Notional at mark."""
        return self.size * mark

    def unrealised(self, mark: Decimal) -> Decimal:
        """Profit at mark, before the fee to close."""
        return self.value(mark) - self.cost if self.qty > 0 else self.cost - self.value(mark)


@dataclass(slots=True)
class SymbolSettings:
    """What the account has set for a symbol."""

    leverage: int
    margin_mode: MarginMode


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
        self.positions: dict[str, Position] = {}
        self.marks: dict[str, Decimal] = {}
        self.settings = {s: SymbolSettings(min(leverage, i.max_leverage), margin_mode) for s, i in instruments.items()}
        self._instruments = instruments
        self._tiers = tiers
        self._cost_ratio = 1 + open_cost_up_ratio

    # --- changes ----------------------------------------------------------------------------------------------------

    def fill(
        self, symbol: str, side: Side, price: Decimal, qty: Decimal, fee: Decimal, ts_ms: int, position_id: str
    ) -> tuple[Decimal, Position | None]:
        """Book an execution: returns the realised profit and, when it closed a position, that position's last state.

        An execution larger than an opposite position closes it and opens the rest the other way; the fee is shared in
        proportion. ``position_id`` names a position that is opened here.
        """
        held = self.positions.get(symbol)
        realised = ZERO
        closed: Position | None = None
        rest = qty
        rest_fee = fee
        if held is not None and held.side != side:
            part = min(qty, held.size)
            part_fee = fee if part == qty else money(fee * part / qty)
            released = held.cost if part == held.size else money(held.cost * part / held.size)
            value = part * price
            realised = value - released if held.qty > 0 else released - value
            held = msgspec.structs.replace(
                held,
                qty=held.qty - part if held.qty > 0 else held.qty + part,
                cost=held.cost - released,
                realised=held.realised + realised,
                fees=held.fees + part_fee,
                closed_qty=held.closed_qty + part,
                closed_value=held.closed_value + value,
                updated_ms=ts_ms,
            )
            rest -= part
            rest_fee -= part_fee
            if held.qty == 0:
                closed = held
                held = None
                del self.positions[symbol]
            else:
                self.positions[symbol] = held
        if rest:
            if held is None:
                settings = self.settings[symbol]
                held = Position(
                    position_id=position_id,
                    symbol=symbol,
                    side=side,
                    qty=ZERO,
                    cost=ZERO,
                    margin_mode=settings.margin_mode,
                    leverage=settings.leverage,
                    opened_ms=ts_ms,
                    updated_ms=ts_ms,
                )
            self.positions[symbol] = msgspec.structs.replace(
                held,
                qty=held.qty + rest if side == "buy" else held.qty - rest,
                cost=held.cost + rest * price,
                fees=held.fees + rest_fee,
                open_fees=held.open_fees + rest_fee,
                opened_qty=held.opened_qty + rest,
                opened_value=held.opened_value + rest * price,
                updated_ms=ts_ms,
            )
        self.cash += realised + fee
        return realised, closed

    def settle_funding(self, symbol: str, rate: Decimal, ts_ms: int) -> Decimal:
        """Pay or receive funding on the position's value at mark; longs pay when the rate is positive.

        Returns the change of cash, zero when flat.
        """
        held = self.positions.get(symbol)
        if held is None:
            return ZERO
        amount = money(-held.qty * self.mark(symbol) * rate)
        self.cash += amount
        self.positions[symbol] = msgspec.structs.replace(
            held, funding=(held.funding or ZERO) + amount, updated_ms=ts_ms
        )
        return amount

    # --- measures ---------------------------------------------------------------------------------------------------

    def mark(self, symbol: str) -> Decimal:
        """Last mark price; before the first one, the position's entry price."""
        mark = self.marks.get(symbol)
        if mark is None:
            held = self.positions.get(symbol)
            return held.entry_price if held else ZERO
        return mark

    def signed_qty(self, symbol: str) -> Decimal:
        """Signed position in base coin, zero when flat."""
        held = self.positions.get(symbol)
        return held.qty if held else ZERO

    def unrealised(self, mode: MarginMode | None = None) -> Decimal:
        """Σ unrealised profit at mark, of one margin mode or of all."""
        return sum((p.unrealised(self.mark(p.symbol)) for p in self._of(mode)), ZERO)

    def margin(self, mode: MarginMode | None = None) -> Decimal:
        """Σ initial margin of positions."""
        return sum((p.margin for p in self._of(mode)), ZERO)

    def maintenance(self, position: Position) -> Decimal:
        """Margin below which the position is liquidated: value × (tier rate + taker fee to close)."""
        value = position.value(self.mark(position.symbol))
        rate = tier_of(self._tiers[position.symbol], value).maintenance_rate
        return value * (rate + self._instruments[position.symbol].taker_fee)

    def equity(self) -> Decimal:
        """Cash and unrealised profit."""
        return self.cash + self.unrealised()

    def locked(self, orders: Iterable[Order]) -> Decimal:
        """Margin reserved by open orders: for what they would open, after netting against the position.

        Orders of a side net in the order given (oldest first); the two sides do not net against each other.
        """
        room: dict[tuple[str, Side], Decimal] = {}
        total = ZERO
        for order in orders:
            if order.reduce_only or not order.open:
                continue
            key = (order.symbol, order.side)
            if key not in room:
                qty = self.signed_qty(order.symbol)
                room[key] = max(ZERO, -qty if order.side == "buy" else qty)
            closing = min(room[key], order.remaining)
            room[key] -= closing
            total += self.opening_cost(order.symbol, (order.remaining - closing) * order.margin_price)
        return total

    def opening_cost(self, symbol: str, value: Decimal) -> Decimal:
        """What must be free to open ``value``: value / leverage × (1 + openCostUpRatio) + taker fee (section 7.11)."""
        leverage = self.settings[symbol].leverage
        return money(value / leverage * self._cost_ratio + value * self._instruments[symbol].taker_fee)

    def free(self, locked: Decimal) -> Decimal:
        """What may be used to open: cash less margins and locks; crossed losses count, unrealised profits do not."""
        return self.cash - self.margin() - locked + min(ZERO, self.unrealised("crossed"))

    def crossed_equity(self) -> Decimal:
        """Equity that stands behind crossed positions: isolated margins are out of reach."""
        return self.cash - self.margin("isolated") + self.unrealised("crossed")

    def risk_rate(self) -> Decimal:
        """Maintenance / equity of the crossed positions; at 1 or more they are liquidated. Zero when there are none."""
        need = sum((self.maintenance(p) for p in self._of("crossed")), ZERO)
        if not need:
            return ZERO
        equity = self.crossed_equity()
        return need / equity if equity > 0 else Decimal("999")

    def margin_ratio(self, position: Position) -> Decimal:
        """Maintenance / margin of an isolated position; of a crossed one, the account's :meth:`risk_rate`."""
        if position.margin_mode == "crossed":
            return self.risk_rate()
        equity = position.margin + position.unrealised(self.mark(position.symbol))
        return self.maintenance(position) / equity if equity > 0 else Decimal("999")

    def liquidation_price(self, position: Position) -> Decimal | None:
        """Mark at which the position is liquidated, other marks unchanged, or None when no positive price does."""
        if position.margin_mode == "isolated":
            backing = position.margin
        else:
            others = [p for p in self._of("crossed") if p.symbol != position.symbol]
            backing = self.cash - self.margin("isolated")
            backing += sum((p.unrealised(self.mark(p.symbol)) - self.maintenance(p) for p in others), ZERO)
        instrument = self._instruments[position.symbol]
        tiers = self._tiers[position.symbol]
        price = liquidation_price(position.qty, position.cost, backing, tiers, instrument.taker_fee)
        return None if price is None else money(price)

    def _of(self, mode: MarginMode | None) -> list[Position]:
        return [p for p in self.positions.values() if mode is None or p.margin_mode == mode]
