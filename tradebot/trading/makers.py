"""Orders that rest at the touch for a while, and what becomes of the rest of them.

::

    sent, post-only ──> filled
        ├─ would have taken: the exchange cancels it ──────────────┐
        ├─ an exit that the exchange refuses ──────────────────────┤
        └─ its time is over ──> cancellation sent ──> cancelled ───┴─> fallback: market order, or nothing

The fallback waits until the exchange says that the order is gone, so nothing is ever sent twice. A fill that wins the
race against the cancellation leaves the less. A cancellation that nobody confirms is asked about, and sent again
while the order is still there.

What rests from an earlier run is cancelled: it was decided by an instance of the strategy that is no more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING

import msgspec

from tradebot.events import CancelOrder, RequestReconcile, SetTimer
from tradebot.market.instrument import Instrument, Side, exact, to_multiple
from tradebot.trading.orders import FINAL
from tradebot.trading.strategy import Intent

if TYPE_CHECKING:
    from tradebot.trading.engine import Engine

CONFIRM_MS = 2_000
"""How long a cancellation may stay unconfirmed before the whole view is asked for."""


@dataclass(frozen=True, slots=True)
class Resting:
    """A maker order of ours; ``cancelled_ms``: when its cancellation was last sent, 0 while it was not."""

    symbol: str
    entry: bool
    intent: Intent
    cancelled_ms: int = 0


def maker_price(instrument: Instrument, bid: float, ask: float, side: Side, offset_ticks: int) -> Decimal:
    """``offset_ticks`` behind the touch (USDT), on the tick and never better than the touch."""
    away = offset_ticks * instrument.tick
    if side == "buy":
        return max(to_multiple(exact(bid), instrument.tick, ROUND_FLOOR) - away, instrument.tick)
    return to_multiple(exact(ask), instrument.tick, ROUND_CEILING) + away


class Makers:
    """Every maker order of this run that may still rest."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._resting: dict[str, Resting] = {}

    def on_placed(self, oid: str, symbol: str, intent: Intent, *, entry: bool) -> None:
        """The order ``oid`` that ``intent`` asked for was sent."""
        self._resting[oid] = Resting(symbol, entry, intent)
        self._engine.emit(SetTimer(name=f"maker:{oid}", due_ms=self._engine.now_ms + intent.wait_ms))

    def rests(self, symbol: str, *, entry: bool) -> bool:
        """Whether a maker order of that kind may rest in ``symbol``."""
        return any(order.symbol == symbol and order.entry == entry for order in self._resting.values())

    def on_timer(self, oid: str) -> None:
        """Its time is over, or its cancellation is late."""
        order = self._resting.get(oid)
        if order is None:
            return
        if order.cancelled_ms:
            self._engine.emit(RequestReconcile(reason=f"the cancellation of {oid} is not confirmed"))
        else:
            self._cancel(oid, order)

    def hurry(self, symbol: str, intent: Intent) -> None:
        """The exit that rests in ``symbol`` is to go at market now."""
        for oid, order in list(self._resting.items()):
            if order.symbol == symbol and not order.entry:
                self._cancel(oid, replace(order, intent=msgspec.structs.replace(intent, fallback="market")))

    def withdraw(self, symbol: str | None = None, *, entry: bool) -> list[str]:
        """Cancel the maker orders of that kind in ``symbol`` (None: in all), without a fallback. Returns their ids."""
        found = [oid for oid, o in self._resting.items() if symbol in (None, o.symbol) and o.entry == entry]
        for oid in found:
            order = self._resting[oid]
            self._cancel(oid, replace(order, intent=msgspec.structs.replace(order.intent, fallback="cancel")))
        return found

    def on_order(self, client_oid: str, order_id: str) -> None:
        """Something was heard of an order: if it is over, what is left of it falls back."""
        if not self._resting:
            return
        state = self._engine.state.orders.find(client_oid, order_id)
        order = self._resting.get(state.client_oid) if state is not None else None
        if state is None or order is None or state.status not in FINAL:
            return
        del self._resting[state.client_oid]
        self._engine.emit(SetTimer(name=f"maker:{state.client_oid}", due_ms=0))
        left = state.qty - max(state.filled_qty, state.executed_qty or state.filled_qty)
        gone = state.status == "canceled" or (state.status == "rejected" and not order.entry)
        if gone and left > 0 and order.intent.fallback == "market":
            self._engine.decisions.fall_back(order.symbol, order.intent, float(left / state.qty))

    def on_reconciled(self) -> None:
        """Cancel what rests from an earlier run, and again what still rests though its cancellation was sent: that may
        have been lost or refused."""
        for order in self._engine.state.orders.open():
            if order.order_type != "limit" or order.status == "intended":
                continue
            ours = self._resting.get(order.client_oid)
            if ours is None:
                self._engine.emit(CancelOrder(client_oid=order.client_oid, symbol=order.symbol))
            elif ours.cancelled_ms:
                self._cancel(order.client_oid, ours)

    def _cancel(self, oid: str, order: Resting) -> None:
        """Send the cancellation, unless the last one may still be confirmed."""
        now = self._engine.now_ms
        if not order.cancelled_ms or now - order.cancelled_ms >= CONFIRM_MS:
            self._engine.emit(CancelOrder(client_oid=oid, symbol=order.symbol))
            self._engine.emit(SetTimer(name=f"maker:{oid}", due_ms=now + CONFIRM_MS))
            order = replace(order, cancelled_ms=now)
        self._resting[oid] = order
