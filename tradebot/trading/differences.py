"""What looking at the exchange brings to light that we had otherwise, and what is done about it.

Every difference becomes one record. None of them is corrected silently; those that a person must settle also raise the
alarm of :mod:`tradebot.trading.discrepancies`.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from tradebot.events import (
    AccountVerified,
    Alert,
    CancelOrder,
    CommandOutcome,
    Difference,
    DifferenceKind,
    Filled,
    InstrumentUpdated,
    OrderState,
    OrderUpdated,
    Reconciled,
    SetTimer,
    StopState,
)
from tradebot.market.candle import DAY_MS
from tradebot.market.instrument import Instrument
from tradebot.trading.orders import lacks_executions
from tradebot.trading.state import BALANCE_SLACK

if TYPE_CHECKING:
    from tradebot.trading.engine import Engine

LOOK_AGAIN_MS = 2_000
"""How long after an execution or a first suspicion the whole is compared (protocol section 14.5)."""


class Differences:
    """Compares what a query told with what we had before it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._balance_off: Decimal | None = None
        """What the last view of the balance was off by; a second view must show the same."""
        self._orders: dict[str, OrderState] = {}
        self._stops: dict[str, StopState] = {}
        self._replacing: dict[str, str] = {}
        """Stops that are being placed again, by symbol: what became of that is told as well."""

    def remember(self, event: OrderUpdated | CommandOutcome | Reconciled) -> None:
        """``event`` comes next: keep what is had of what it tells."""
        state = self._engine.state
        told = event.open_orders if isinstance(event, Reconciled) else (event,)
        found = (state.orders.find(report.client_oid, report.order_id) for report in told)
        self._orders = {order.client_oid: order for order in found if order is not None}
        self._stops = dict(state.stops) if isinstance(event, Reconciled) else {}

    @property
    def suspected(self) -> bool:
        """Whether something is known to be off that the next view will show or settle."""
        return self._balance_off is not None or bool(self._engine.state.orders.unexecuted())

    # --- orders and executions --------------------------------------------------------------------------------------

    def on_order(self, event: OrderUpdated | CommandOutcome) -> None:
        """A report about an order came."""
        after = self._engine.state.orders.find(event.client_oid, event.order_id)
        before = self._orders.get(after.client_oid) if after is not None else None
        if after is None or before is None:
            return
        if lacks_executions(after):
            self.look_again()
        queried = event.queried if isinstance(event, OrderUpdated) else bool(event.asked_as)
        if not queried or (before.status, before.filled_qty) == (after.status, after.filled_qty):
            return
        ours = f"{before.client_oid} {before.status}, {before.filled_qty} of {before.qty} filled"
        if isinstance(event, CommandOutcome):
            done = "taken for cancelled" if after.status == "canceled" else "taken for never placed"
            self._say("order", event.symbol, ours, event.message, done)
        else:
            theirs = f"{event.order_id} {event.status}, {event.filled_qty} of {event.qty} filled"
            self._say("order", event.symbol, ours, theirs, "theirs is taken over")

    def on_fill(self, event: Filled, booked: bool) -> None:
        """An execution came; ``booked`` is whether it was taken for ours and was new."""
        if not booked:
            return
        self.look_again()
        if event.queried:
            order = event.client_oid or event.order_id
            theirs = f"{event.trade_id} of order {order}: {event.side} {event.qty} at {event.price}"
            self._say("fill", event.symbol, "not heard of", theirs, "booked")

    def look_again(self) -> None:
        self._engine.emit(SetTimer(name="positions", due_ms=self._engine.now_ms + LOOK_AGAIN_MS))

    # --- the whole view ---------------------------------------------------------------------------------------------

    def on_reconciled(self, event: Reconciled) -> None:
        """The whole view came."""
        for order in event.open_orders:
            self.on_order(order)
        now = self._engine.state.stops
        for name in sorted(self._stops.keys() | now.keys()):
            self._compare_stop(name, self._stops.get(name), now.get(name))
        self._compare_balance()

    def on_stop(self, name: str) -> None:
        """The exchange reported the stop of ``name``: one that was being placed again may stand now."""
        now = self._engine.state.stops.get(name)
        if now is None or not now.confirmed:
            return
        gone = self._replacing.pop(name, None)
        if gone is not None:
            self._say("stop", name, gone, f"{now.client_oid or now.order_id} at {now.trigger_price}", "placed again")

    def on_outcome(self, event: CommandOutcome) -> None:
        """A command was answered: a stop that was being placed again may have been refused."""
        stop = self._engine.state.stops.get(event.symbol)
        if stop is None or not stop.refused or stop.client_oid != event.client_oid:
            return
        gone = self._replacing.pop(event.symbol, None)
        if gone is not None:
            theirs = f"refused: {event.code} {event.message}".rstrip()
            self._say("stop", event.symbol, gone, theirs, "there is no stop: not placed again")

    def _compare_stop(self, name: str, before: StopState | None, now: StopState | None) -> None:
        if before is not None and before.refused:
            before = None  # it never was on the exchange
        if before is None and now is not None:
            self._say("stop", name, "none", f"{now.client_oid or now.order_id} at {now.trigger_price}", "taken over")
        elif before is not None and now is None:
            ours = f"{before.client_oid} at {before.trigger_price}"
            self._say("stop", name, ours, "none", self._on_missing(name, ours))
        elif before is not None and now is not None and before.trigger_price != now.trigger_price:
            theirs = f"{now.client_oid or now.order_id} at {now.trigger_price}"
            self._say("stop", name, f"{before.client_oid} at {before.trigger_price}", theirs, "theirs is taken over")
        elif before is not None and now is not None and now.confirmed and not before.confirmed:
            self._replacing.pop(name, None)
            self._say("stop", name, f"{before.client_oid} unconfirmed", f"{now.order_id} live", "confirmed")

    def _on_missing(self, name: str, ours: str) -> str:
        """What is done about a stop that the exchange does not have."""
        if not self._engine.state.portfolio.position(name).qty:
            return "forgotten: nothing is held"
        if self._engine.discrepancies.nothing_there(name):
            return "not placed again: the exchange says that nothing is held"
        self._replacing[name] = ours
        return "is being placed again"

    def _compare_balance(self) -> None:
        """The balance must be what it was, plus executions, funding and transfers. A view can fall between an execution
        and its booking, so a difference counts when a second view shows the same one."""
        state = self._engine.state
        off = state.off_balance()
        if state.balance is None or off is None:
            return
        before, self._balance_off = self._balance_off, None
        if abs(off) <= BALANCE_SLACK:
            return
        if before is None or abs(off - before) > BALANCE_SLACK:
            self._balance_off = off
            self.look_again()
            return
        ours = f"{(state.balance - off).normalize():f} by executions, funding and transfers"
        self._say("balance", "", ours, f"{state.balance.normalize():f}", f"theirs is taken over ({off:+f} USDT)")

    # --- settings and terms -----------------------------------------------------------------------------------------

    def on_account(self, event: AccountVerified, before: AccountVerified | None) -> None:
        """Settings of a symbol were reported: ``before`` is how they were reported last."""
        config = self._engine.config
        if event.symbol not in config.symbols:
            return
        told: tuple[tuple[DifferenceKind, str, str, str], ...] = (
            ("position_mode", "one_way_mode", event.position_mode, before.position_mode if before else "one_way_mode"),
            (
                "margin_mode",
                config.margin_mode,
                event.margin_mode,
                before.margin_mode if before else config.margin_mode,
            ),
            (
                "leverage",
                str(config.leverage),
                str(event.leverage),
                str(before.leverage if before else config.leverage),
            ),
        )
        for kind, ours, theirs, last in told:
            if theirs == last:
                continue
            if theirs != ours:
                done = "entries are blocked until it is set back, which is done when nothing is held or open"
                self._say(kind, event.symbol, ours, theirs, done)
            else:
                self._say(kind, event.symbol, ours, theirs, f"set back from {last}: entries are possible again")

    def on_contract(self, event: InstrumentUpdated, before: Instrument | None) -> None:
        """Terms of a contract were reported: ``before`` is how we knew them."""
        new = event.instrument
        if before is None or before == new:
            return
        changed = [name for name in new.__struct_fields__ if getattr(before, name) != getattr(new, name)]
        ours = ", ".join(f"{name} {getattr(before, name)}" for name in changed)
        theirs = ", ".join(f"{name} {getattr(new, name)}" for name in changed)
        done = "taken over"
        if before.tick != new.tick or before.lot != new.lot:
            resting = [o for o in self._engine.state.orders.open(new.symbol) if o.purpose == "entry"]
            for order in resting:
                self._engine.emit(CancelOrder(client_oid=order.client_oid, symbol=order.symbol))
            done += f"; {len(resting)} open entries cancelled" if resting else ""
        self._say("contract", new.symbol, ours, theirs, done)
        self._warn(new)

    def _warn(self, instrument: Instrument) -> None:
        """Entries stop by their own checks; what is held needs somebody who knows."""
        ends = instrument.off_time_ms
        delisted = instrument.status == "off" or (ends is not None and ends - self._engine.now_ms <= DAY_MS)
        if delisted and self._engine.state.portfolio.position(instrument.symbol).qty:
            why = f"{instrument.symbol} is delisted while a position is open: close it"
            self._engine.emit(Alert(severity="critical", code="delisting", message=why, symbol=instrument.symbol))
        elif instrument.status != "normal":
            why = f"{instrument.symbol} is in state {instrument.status}: no entries"
            self._engine.emit(Alert(severity="warning", code="contract_status", message=why, symbol=instrument.symbol))

    def say_foreign(self, kind: DifferenceKind, symbol: str, ours: str, theirs: str) -> None:
        """Something is not ours: the alarm is raised elsewhere, this is what the record keeps of it."""
        self._say(kind, symbol, ours, theirs, "entries stop until a person adopts or ignores it")

    def _say(self, kind: DifferenceKind, symbol: str, ours: str, theirs: str, done: str) -> None:
        self._engine.emit(Difference(kind=kind, symbol=symbol, ours=ours, theirs=theirs, done=done))
