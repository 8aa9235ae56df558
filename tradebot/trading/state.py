"""Everything about orders, positions, stops and permissions that must survive a crash.

The engine changes this state only through :meth:`TradingState.apply`, with the events it consumed and the commands it
emitted. Folding the same records from the journal therefore rebuilds the same state after a crash.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from decimal import Decimal

import msgspec

from tradebot.events import (
    AccountUpdated,
    CancelStop,
    ClosePosition,
    CommandOutcome,
    DurableState,
    Filled,
    FundingPaid,
    OperatorActed,
    OrderUpdated,
    PlaceOrder,
    PlaceStop,
    PositionsReported,
    PositionState,
    Reconciled,
    Record,
    Restored,
    StopState,
    StopUpdated,
    Tradability,
    TradabilityChanged,
)
from tradebot.market.candle import DAY_MS
from tradebot.market.instrument import ZERO
from tradebot.trading.orders import Orders, parse_client_oid
from tradebot.trading.portfolio import Portfolio

KEEP_TRADE_IDS = 5_000
FOLDED: tuple[type[Record], ...] = (
    AccountUpdated, CancelStop, ClosePosition, CommandOutcome, Filled, FundingPaid, OperatorActed, OrderUpdated,
    PlaceOrder, PlaceStop, PositionsReported, Reconciled, Restored, StopUpdated, TradabilityChanged,
)  # fmt: skip
"""The records that :meth:`TradingState.apply` and :func:`recover` look at; all others change nothing."""
_FOLDED = frozenset(FOLDED)

POSITION_STOPS = frozenset({"pos_loss", "psl"})
PRESET_STOPS = frozenset({"loss_plan", "sl"})
STOP_GONE = frozenset({"cancelled", "canceled", "executed", "fail_execute"})


class TradingState:
    """Orders, portfolio, stops, halts, cool-downs and the day's starting equity."""

    def __init__(self, durable: DurableState | None = None, *, cooldown_ms: int = 0) -> None:
        d = durable or DurableState()
        self.cooldown_ms = cooldown_ms
        self.orders = Orders(d.orders)
        self.portfolio = Portfolio(d.positions)
        self.portfolio.realised, self.portfolio.fees, self.portfolio.funding = d.realised_pnl, d.fees, d.funding
        self.stops: dict[str, StopState] = {s.symbol: s for s in d.stops}
        self.presets: dict[str, set[str]] = {}
        """Order ids of preset stops seen live, by symbol."""
        self.tradability: Tradability = d.tradability
        self.halt_reason = d.halt_reason
        self.paused: set[str] = set(d.paused_symbols)
        self.ignored: set[str] = set(d.ignored_symbols)
        self.foreign: dict[str, str] = {}
        """Positions and executions that are not ours, by symbol: entries stop until someone adopts or ignores."""
        self.reported: dict[str, PositionState] = {}
        """Positions as the exchange last reported them, by symbol."""
        self.cooldown_until: dict[str, int] = dict(d.cooldown_until)
        self.day_start_ms = d.day_start_ms
        self.day_start_equity = d.day_start_equity
        self._trade_ids: OrderedDict[str, None] = OrderedDict.fromkeys(d.seen_trade_ids)

    def snapshot(self) -> DurableState:
        """The state as one record; ``TradingState(snapshot)`` continues from it."""
        return DurableState(
            positions=self.portfolio.snapshot(),
            orders=tuple(self.orders),
            stops=tuple(self.stops.values()),
            tradability=self.tradability,
            halt_reason=self.halt_reason,
            paused_symbols=tuple(sorted(self.paused)),
            ignored_symbols=tuple(sorted(self.ignored)),
            seen_trade_ids=tuple(self._trade_ids),
            cooldown_until=dict(self.cooldown_until),
            day_start_ms=self.day_start_ms,
            day_start_equity=self.day_start_equity,
            realised_pnl=self.portfolio.realised,
            fees=self.portfolio.fees,
            funding=self.portfolio.funding,
        )

    def apply(self, ts_ms: int, record: Record) -> Decimal | None:
        """Take one record into account. Returns the realised profit of a new execution, None for anything else.

        Records that concern other things are ignored, so a whole journal can be folded.
        """
        if type(record) not in _FOLDED:
            return None
        match record:
            case PlaceOrder():
                self.orders.intend(record, ts_ms)
            case ClosePosition():
                position = self.portfolio.position(record.symbol)
                self.orders.intend(
                    PlaceOrder(
                        client_oid=record.client_oid,
                        symbol=record.symbol,
                        side="sell" if position.qty > 0 else "buy",
                        order_type="market",
                        qty=abs(position.qty),
                        purpose="close",
                        decision_id="",
                        reduce_only=True,
                    ),
                    ts_ms,
                )
            case PlaceStop():
                self.stops[record.symbol] = StopState(
                    symbol=record.symbol, client_oid=record.client_oid, trigger_price=record.trigger_price
                )
            case CancelStop():
                self.presets.get(record.symbol, set()).discard(record.order_id)
            case CommandOutcome():
                self._on_outcome(record)
            case OrderUpdated():
                self.orders.on_update(record)
            case Filled():
                return self._on_fill(ts_ms, record)
            case AccountUpdated():
                day = ts_ms // DAY_MS * DAY_MS
                if day > self.day_start_ms:
                    self.day_start_ms, self.day_start_equity = day, record.equity
            case FundingPaid():
                if self._first_time(f"bill-{record.bill_id}"):
                    self.portfolio.funding += record.amount
            case StopUpdated():
                self._on_stop(record)
            case PositionsReported():
                self.reported = {p.symbol: p for p in record.positions}
            case Reconciled():
                self._on_reconciled(record)
            case TradabilityChanged():
                if record.symbol:
                    (self.paused.discard if record.state == "active" else self.paused.add)(record.symbol)
                else:
                    self.tradability, self.halt_reason = record.state, record.reason
            case OperatorActed():
                self._on_operator(ts_ms, record)
            case _:
                pass
        return None

    def is_ours(self, oid: str) -> bool:
        return self.orders.get(oid) is not None or parse_client_oid(oid) is not None

    def _first_time(self, trade_id: str) -> bool:
        if trade_id in self._trade_ids:
            return False
        self._trade_ids[trade_id] = None
        if len(self._trade_ids) > KEEP_TRADE_IDS:
            self._trade_ids.popitem(last=False)
        return True

    def _on_fill(self, ts_ms: int, fill: Filled) -> Decimal | None:
        if not self._first_time(fill.trade_id):
            return None
        position = self.portfolio.position(fill.symbol)
        reduces = position.qty != 0 and (position.qty > 0) != (fill.side == "buy") and fill.qty <= abs(position.qty)
        # The exchange gives its own id to the order that a stop of ours sends: an execution that only reduces a
        # position we protect is that stop's.
        by_stop = reduces and (fill.symbol in self.stops or bool(self.presets.get(fill.symbol)))
        if not self.is_ours(fill.client_oid) and not by_stop:
            self.foreign[fill.symbol] = f"execution {fill.trade_id} of order {fill.client_oid or fill.order_id}"
            return None
        self.orders.on_fill(fill)
        realised = self.portfolio.apply(fill, ts_ms)
        if not position.qty:
            self.stops.pop(fill.symbol, None)
            self.presets.pop(fill.symbol, None)
        if realised + fill.fee < ZERO and reduces:
            self.cooldown_until[fill.symbol] = ts_ms + self.cooldown_ms
        return realised

    def _on_outcome(self, event: CommandOutcome) -> None:
        self.orders.on_outcome(event)
        stop = self.stops.get(event.symbol)
        if stop is not None and stop.client_oid == event.client_oid and event.order_id:
            self.stops[event.symbol] = msgspec.structs.replace(stop, order_id=event.order_id)

    def _on_stop(self, event: StopUpdated) -> None:
        gone = event.status in STOP_GONE
        stop = self.stops.get(event.symbol)
        if event.plan in PRESET_STOPS:
            ids = self.presets.setdefault(event.symbol, set())
            (ids.discard if gone else ids.add)(event.order_id)
        elif stop is not None and event.client_oid == stop.client_oid:
            if gone and event.status != "executed":
                del self.stops[event.symbol]
            elif not gone:
                self.stops[event.symbol] = msgspec.structs.replace(
                    stop, order_id=event.order_id, confirmed=True, trigger_price=event.trigger_price
                )
        elif event.plan in POSITION_STOPS and not gone and self.portfolio.position(event.symbol).qty:
            self.stops[event.symbol] = StopState(
                symbol=event.symbol,
                client_oid=event.client_oid,
                trigger_price=event.trigger_price,
                order_id=event.order_id,
                confirmed=True,
            )

    def _on_reconciled(self, event: Reconciled) -> None:
        """The exchange's list of trigger orders is complete: a stop that is not on it does not exist."""
        self.reported = {p.symbol: p for p in event.positions}
        listed = {s.client_oid for s in event.stops}
        self.stops = {name: stop for name, stop in self.stops.items() if stop.client_oid in listed}
        self.presets.clear()
        for stop in event.stops:
            self._on_stop(stop)

    def _on_operator(self, ts_ms: int, event: OperatorActed) -> None:
        why = f"{event.actor}: {event.reason}" if event.reason else event.actor
        match event.action:
            case "halt" | "flatten":
                self.tradability, self.halt_reason = "halted", why
            case "pause" if event.symbol:
                self.paused.add(event.symbol)
            case "pause":
                self.tradability, self.halt_reason = "paused", why
            case "resume" if event.symbol:
                self.paused.discard(event.symbol)
            case "resume":
                self.tradability, self.halt_reason = "active", ""
            case "ignore":
                self.ignored.add(event.symbol)
                self.foreign.pop(event.symbol, None)
            case "adopt":
                self.ignored.discard(event.symbol)
                self.foreign.pop(event.symbol, None)
                flat = PositionState(symbol=event.symbol, qty=ZERO, entry_price=ZERO)
                self.portfolio.adopt(self.reported.get(event.symbol, flat), ts_ms)
            case "close":
                pass


def recover(records: Iterable[tuple[int, Record]], *, cooldown_ms: int) -> TradingState:
    """The state at the end of a journal: ``(ts_ms, record)`` of inputs and outputs in the order they were written."""
    state = TradingState(cooldown_ms=cooldown_ms)
    for ts_ms, record in records:
        if isinstance(record, Restored):
            state = TradingState(record.state, cooldown_ms=cooldown_ms)
        else:
            state.apply(ts_ms, record)
    return state
