"""Everything about orders, positions, stops and permissions that must survive a crash.

The engine changes this state only through :meth:`TradingState.apply`, with the events it consumed and the commands it
emitted. Folding the same records from the journal therefore rebuilds the same state after a crash.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from decimal import Decimal, localcontext

from tradebot.events import (
    AccountUpdated,
    Alert,
    Booted,
    CancelStop,
    ClosePosition,
    CommandOutcome,
    Decision,
    Difference,
    Dispute,
    DurableState,
    Filled,
    FundingPaid,
    OperatorActed,
    OrderState,
    OrderUpdated,
    PlaceOrder,
    PlaceStop,
    PositionsReported,
    PositionState,
    Purpose,
    Reconciled,
    Record,
    Restored,
    StopState,
    StopUpdated,
    Tradability,
    TradabilityChanged,
    TradeBooked,
    Transferred,
)
from tradebot.events.trades import TradeEnd
from tradebot.market.candle import DAY_MS
from tradebot.market.instrument import ARITHMETIC, ZERO
from tradebot.trading.orders import Orders, parse_client_oid
from tradebot.trading.permission import Permission
from tradebot.trading.portfolio import Portfolio
from tradebot.trading.stops import TriggerOrders
from tradebot.trading.track import TrackRecord
from tradebot.trading.trades import TradeBook

FOREIGN = "foreign"
"""Code of the alert that says that something in a symbol is not ours: entries stop until ``adopt`` or ``ignore``."""
EVERYTHING = "*"
"""In ``closing``: every symbol."""
BALANCE_SLACK = Decimal("0.01")
"""How far (USDT) the balance may be from what executions, funding and transfers add up to: the exchange rounds."""
ENDED_BY: dict[Purpose, TradeEnd] = {"entry": "reversal", "exit": "exit", "stop": "stop"}
"""How a trade ended that an order of this purpose closed."""
KEEP_TRADE_IDS = 5_000
FOLDED: tuple[type[Record], ...] = (
    AccountUpdated, Alert, Booted, CancelStop, ClosePosition, CommandOutcome, Decision, Difference,
    Filled, FundingPaid, OperatorActed, OrderUpdated, PlaceOrder, PlaceStop, PositionsReported, Reconciled, Restored,
    StopUpdated, TradabilityChanged, TradeBooked, Transferred,
)  # fmt: skip
"""The records that :meth:`TradingState.apply` and :func:`recover` look at; all others change nothing."""
_FOLDED = frozenset(FOLDED)


class TradingState:
    """Orders, portfolio, stops, halts, cool-downs and the day's starting equity."""

    def __init__(self, durable: DurableState | None = None, *, cooldown_ms: int = 0) -> None:
        d = durable or DurableState()
        self.cooldown_ms = cooldown_ms
        self.orders = Orders(d.orders)
        self.portfolio = Portfolio(d.positions)
        self.portfolio.realised, self.portfolio.fees, self.portfolio.funding = d.realised_pnl, d.fees, d.funding
        self.trades = TradeBook(d.trades, d.untold, d.positions)
        self.triggers = TriggerOrders(d.stops)
        self.stop_distances: dict[str, Decimal] = dict(d.stop_distances)
        self.permission = Permission(d.tradability, d.halt_reason, d.cause, d.restricted_ms)
        self.paused: set[str] = set(d.paused_symbols)
        self.ignored: set[str] = set(d.ignored_symbols)
        self.closing: set[str] = set(d.closing)
        """Symbols that someone asked to close, until they are flat; EVERYTHING until someone resumes."""
        self._foreign_ids: dict[str, set[str]] = {}
        """Executions that are not ours, by symbol: adopting the position settles them."""
        self.shard, self.epoch = 0, 0
        self.foreign: dict[str, str] = dict(d.foreign)
        """Positions and executions that are not ours, by symbol: entries stop until someone adopts or ignores."""
        self.disputes: dict[str, Dispute] = dict(d.disputes)
        """What is on record of ``foreign``, by symbol."""
        self.reported: dict[str, PositionState] = {}
        """Positions as the exchange last reported them, by symbol."""
        self._reported_ms = 0
        self.adopted_ms: dict[str, int] = dict(d.adopted_ms)
        """When the position that was adopted had been reported, by symbol: what was executed before is in it."""
        self.known_ms = d.known_ms
        self.cooldown_until: dict[str, int] = dict(d.cooldown_until)
        self.day_start_ms = d.day_start_ms
        self.day_start_equity = d.day_start_equity
        self.day_seen_ms = max(d.day_seen_ms, d.day_start_ms)
        """When ``day_start_equity`` was told: what was moved on that day before is in it."""
        self.balance: Decimal | None = None
        """The account's balance as last reported (USDT), without unrealised profit."""
        self.transferred = d.transferred
        self.unexplained = d.unexplained
        self.track = TrackRecord(d.track)
        self._trade_ids: OrderedDict[str, None] = OrderedDict.fromkeys(d.seen_trade_ids)

    def restored(self, durable: DurableState) -> TradingState:
        """A state that continues from ``durable``, for the same daemon."""
        state = TradingState(durable, cooldown_ms=self.cooldown_ms)
        state.triggers.resume(p.symbol for p in state.portfolio.open_positions())
        state.shard, state.epoch, state.balance = self.shard, self.epoch, self.balance
        return state

    def snapshot(self) -> DurableState:
        """The state as one record; ``TradingState(snapshot)`` continues from it."""
        return DurableState(
            positions=self.portfolio.snapshot(),
            orders=tuple(self.orders),
            stops=tuple(self.stops.values()),
            stop_distances=dict(self.stop_distances),
            trades=self.trades.snapshot(),
            untold=tuple(self.trades.untold),
            tradability=self.permission.state,
            halt_reason=self.permission.reason,
            cause=self.permission.cause,
            restricted_ms=self.permission.since_ms,
            paused_symbols=tuple(sorted(self.paused)),
            ignored_symbols=tuple(sorted(self.ignored)),
            foreign=dict(self.foreign),
            disputes=dict(self.disputes),
            closing=tuple(sorted(self.closing)),
            adopted_ms=dict(self.adopted_ms),
            known_ms=self.known_ms,
            seen_trade_ids=tuple(self._trade_ids),
            cooldown_until=dict(self.cooldown_until),
            day_start_ms=self.day_start_ms,
            day_start_equity=self.day_start_equity,
            day_seen_ms=self.day_seen_ms,
            realised_pnl=self.portfolio.realised,
            fees=self.portfolio.fees,
            funding=self.portfolio.funding,
            transferred=self.transferred,
            unexplained=self.unexplained,
            track=self.track.snapshot(),
        )

    def apply(self, ts_ms: int, record: Record) -> Decimal | None:
        """Take one record into account. Returns the realised profit of a new execution, None for anything else.

        Records that concern other things are ignored, so a whole journal can be folded.
        """
        if type(record) not in _FOLDED:
            return None
        match record:
            case Booted():
                self.shard, self.epoch = record.config.shard, record.epoch
            case PlaceOrder():
                self.orders.intend(record, ts_ms)
                if record.purpose == "entry" and not self.portfolio.position(record.symbol).qty:
                    self._keep_distance(record)
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
                        decision_id=record.decision_id,
                        reduce_only=True,
                    ),
                    ts_ms,
                )
            case PlaceStop():
                self.triggers.on_place(ts_ms, record)
            case CancelStop():
                self.triggers.on_cancel(record)
            case CommandOutcome():
                self.orders.on_outcome(record)
                self.triggers.on_outcome(record)
                self._settle_closing(record.symbol)
            case OrderUpdated():
                self.orders.on_update(record)
                if record.forced:
                    self.trades.on_forced(record.symbol, record.order_id)
                self._settle_closing(record.symbol)
            case Filled():
                return self._on_fill(ts_ms, record)
            case AccountUpdated():
                self.balance = record.balance
                day = ts_ms // DAY_MS * DAY_MS
                if day > self.day_start_ms:
                    self.day_start_ms, self.day_start_equity, self.day_seen_ms = day, record.equity, ts_ms
                if self.books_agree() and not (self.foreign or self.ignored):
                    self.track.on_profit(self.profit() + record.equity - record.balance)
            case Decision() if record.client_oid and record.action in ("enter_long", "enter_short"):
                self.orders.on_decision(record)
            case FundingPaid():
                if self._first_time(f"bill-{record.bill_id}"):
                    self.portfolio.funding += record.amount
                    self.track.on_booked(self.trades.on_funding(record, ts_ms))
            case Transferred():
                # the day's result is measured from what the day began with, net of what was moved since
                new = self._first_time(f"bill-{record.bill_id}")
                self.transferred += record.amount if new else ZERO
                if new and self.day_start_equity is not None and record.ts_exchange_ms >= self.day_seen_ms:
                    self.day_start_equity += record.amount
            case StopUpdated():
                if self.triggers.on_update(ts_ms, record, self._holds):
                    self.trades.on_fired(record.symbol, record.plan)
            case PositionsReported():
                self.reported, self._reported_ms = {p.symbol: p for p in record.positions}, ts_ms
            case Reconciled():
                self.known_ms = max(self.known_ms, min(record.asked_ms, ts_ms))
                self._on_reconciled(ts_ms, record)
            case TradabilityChanged():
                self.closing.update(record.close)
                if record.symbol:
                    self.paused.add(record.symbol)
                elif record.state == "active":
                    self.permission.lift(record.cause)
                else:
                    self.permission.restrict(ts_ms, record.state, record.reason, record.cause)
            case Alert() if record.code == FOREIGN:
                self.foreign[record.symbol] = record.message
                self.triggers.claimed.pop(record.symbol, None)
            case Difference():
                self._on_difference(ts_ms, record)
            case TradeBooked():
                self.trades.on_record(record)
            case OperatorActed():
                self._on_operator(ts_ms, record)
            case _:
                pass
        return None

    @property
    def stops(self) -> dict[str, StopState]:
        """The stop of each position as far as we know, by symbol."""
        return self.triggers.stops

    @property
    def tradability(self) -> Tradability:
        """Whether the bot as a whole may make entries."""
        return self.permission.state

    @property
    def halt_reason(self) -> str:
        """Why it may not, in words."""
        return self.permission.reason

    def profit(self) -> Decimal:
        """What executions and funding came to since the beginning of the records, without open positions (USDT)."""
        return self.portfolio.realised + self.portfolio.fees + self.portfolio.funding

    def explained(self) -> Decimal:
        """What executions, funding and transfers changed the balance by, since the beginning of the records (USDT)."""
        return self.profit() + self.transferred

    def off_balance(self) -> Decimal | None:
        """How much more (USDT) the balance is than executions, funding and transfers add up to; None: not known."""
        if self.balance is None or self.unexplained is None:
            return None
        return self.balance - self.explained() - self.unexplained

    def books_agree(self) -> bool:
        """Whether the balance that was reported last is what we know of: it is no moment between an execution, or a
        transfer, and its booking."""
        off = self.off_balance()
        return off is not None and abs(off) <= BALANCE_SLACK

    def is_ours(self, client_oid: str, order_id: str = "") -> bool:
        """Whether a report speaks of an order of this daemon: one we know, or of this shard and an earlier moment."""
        if self.orders.find(client_oid, order_id) is not None:
            return True
        shard, epoch = parse_client_oid(client_oid) or (-1, 0)
        return shard == self.shard and 0 < epoch <= self.epoch

    def reported_qty(self, name: str) -> Decimal:
        """Signed size (base coin) of the position that the exchange reported last in ``name``."""
        reported = self.reported.get(name)
        return reported.qty if reported is not None else ZERO

    def _holds(self, name: str) -> bool:
        return bool(self.portfolio.position(name).qty)

    def _disputed(self, name: str) -> bool:
        """Whether there is anything in ``name`` that a person could adopt."""
        noted = name in self.foreign or name in self.disputes or name in self.ignored
        return noted or self.reported_qty(name) != self.portfolio.position(name).qty

    def _keep_distance(self, entry: PlaceOrder) -> None:
        self.stop_distances.pop(entry.symbol, None)
        if entry.stop_distance is not None:
            self.stop_distances[entry.symbol] = entry.stop_distance

    def _first_time(self, trade_id: str) -> bool:
        if trade_id in self._trade_ids:
            return False
        self._trade_ids[trade_id] = None
        if len(self._trade_ids) > KEEP_TRADE_IDS:
            self._trade_ids.popitem(last=False)
        return True

    def _on_fill(self, ts_ms: int, fill: Filled) -> Decimal | None:
        symbol = fill.symbol
        if fill.trade_id in self._trade_ids:
            return None
        adopted_ms = self.adopted_ms.get(symbol, 0)
        ours = self.orders.find(fill.client_oid, fill.order_id) if adopted_ms else None
        if 0 < fill.ts_exchange_ms <= adopted_ms and (ours is None or ours.created_ms <= adopted_ms):
            self._first_time(fill.trade_id)
            self.orders.on_fill(fill)
            return None
        if fill.trade_id in self._foreign_ids.get(symbol, ()) and not self.is_ours(fill.client_oid, fill.order_id):
            return None
        position = self.portfolio.position(symbol)
        before = position.qty
        reduces = before != 0 and (before > 0) != (fill.side == "buy") and fill.qty <= abs(before)
        order, ended = self.orders.find(fill.client_oid, fill.order_id), self._ended_by(fill)
        if not self.is_ours(fill.client_oid, fill.order_id):
            if symbol in self.ignored and not reduces:
                return None
            # The exchange gives its own id to what a stop of ours, or a flash close, sends. An execution that only
            # reduces a position we protect is booked as that; the stop's own report must confirm it.
            flash = any(o.purpose == "close" and not o.order_id for o in self.orders.open(symbol))
            if not reduces or not (flash or self.triggers.may_act(symbol)):
                self.foreign[symbol] = f"execution {fill.trade_id} of order {fill.client_oid or fill.order_id}"
                self._foreign_ids.setdefault(symbol, set()).add(fill.trade_id)
                return None
            ended = self._asked_to_close(symbol, self.orders.open(symbol)) if flash else "stop"
            if not flash:
                self.triggers.claim(symbol, fill.trade_id)
        self._first_time(fill.trade_id)
        self.orders.on_fill(fill)
        realised = self.portfolio.apply(fill, ts_ms)
        self.track.on_booked(self.trades.on_fill(fill, order, before, realised, ts_ms, ended))
        if not position.qty:
            self.closing.discard(symbol)
        if not position.qty or (before and (position.qty > 0) != (before > 0)):
            self.triggers.on_closed(symbol, flat=not position.qty)
        if realised + fill.fee < ZERO and reduces:
            self.cooldown_until[symbol] = ts_ms + self.cooldown_ms
        return realised

    def _ended_by(self, fill: Filled) -> TradeEnd:
        """How a trade ends that ``fill`` closes, by the order of ours that it belongs to."""
        order = self.orders.find(fill.client_oid, fill.order_id)
        if order is None:
            return "unknown"
        return self._asked_to_close(fill.symbol, (order,)) if order.purpose == "close" else ENDED_BY[order.purpose]

    def _asked_to_close(self, symbol: str, orders: Iterable[OrderState]) -> TradeEnd:
        """Who had it closed by one of ``orders``: the strategy, a person, or the bot itself."""
        if any(o.purpose == "close" and o.decision_id for o in orders):
            return "exit"
        return "operator" if symbol in self.closing or EVERYTHING in self.closing else "protection"

    def _on_reconciled(self, ts_ms: int, event: Reconciled) -> None:
        """The exchange's whole view. An order on its list that is not ours is foreign."""
        # executions while it was being asked for may be missing from it; one counted twice shows as a difference
        self.reported, self._reported_ms = {p.symbol: p for p in event.positions}, event.asked_ms or ts_ms
        for fired in self.triggers.on_list(ts_ms, event, self._holds):
            self.trades.on_fired(fired.symbol, fired.plan)
        # what is not ours moves the balance as it likes
        if self.balance is not None and (self.unexplained is None or self.foreign or self.ignored):
            self.unexplained = self.balance - self.explained()
        for order in event.open_orders:
            self.orders.on_update(order)
            if not self.is_ours(order.client_oid, order.order_id) and order.symbol not in self.ignored:
                self.foreign[order.symbol] = f"resting order {order.client_oid or order.order_id}"

    def _settle_closing(self, symbol: str) -> None:
        """A close that was asked for is over when nothing is held and nothing works that could open."""
        if symbol in self.closing and not self.portfolio.position(symbol).qty and not self.orders.open(symbol):
            self.closing.discard(symbol)

    def _on_difference(self, ts_ms: int, event: Difference) -> None:
        if event.kind == "balance" and self.balance is not None:
            self.unexplained = self.balance - self.explained()
        elif event.kind in ("position", "foreign"):
            before = self.disputes.get(event.symbol)
            since_ms = before.since_ms if before is not None else ts_ms
            self.disputes[event.symbol] = Dispute(
                kind=event.kind, ours=event.ours, theirs=event.theirs, since_ms=since_ms
            )

    def _resume(self) -> None:
        """A person lets entries in again; the limit that stopped them counts anew."""
        if self.permission.cause == "drawdown":
            self.track.peak_profit = None
        elif self.permission.cause == "losses_in_a_row":
            self.track.losses = 0
        self.permission.resume()
        self.closing.discard(EVERYTHING)

    def _on_operator(self, ts_ms: int, event: OperatorActed) -> None:
        why = f"{event.actor}: {event.reason}" if event.reason else event.actor
        match event.action:
            case "halt":
                self.permission.restrict(ts_ms, "halted", why)
            case "flatten":
                self.permission.restrict(ts_ms, "halted", why)
                self.closing.add(EVERYTHING)
            case "close":
                if self.portfolio.position(event.symbol).qty or self.orders.open(event.symbol):
                    self.closing.add(event.symbol)
            case "pause" if event.symbol:
                self.paused.add(event.symbol)
            case "pause":
                self.permission.restrict(ts_ms, "reducing", why)
            case "resume" if event.symbol:
                self.paused.discard(event.symbol)
                self.closing.discard(event.symbol)
            case "resume":
                self._resume()
            case "ignore":
                self.ignored.add(event.symbol)
                self.foreign.pop(event.symbol, None)
                self.disputes.pop(event.symbol, None)
            case "adopt" if self._disputed(event.symbol):
                self.ignored.discard(event.symbol)
                self.foreign.pop(event.symbol, None)
                self.disputes.pop(event.symbol, None)
                flat = PositionState(symbol=event.symbol, qty=ZERO, entry_price=ZERO)
                adopted = self.reported.get(event.symbol, flat)
                if not self.portfolio.position(event.symbol).qty:
                    self.stop_distances.pop(event.symbol, None)  # an earlier trade's: nobody asked for it here
                self.portfolio.adopt(adopted, ts_ms)
                self.trades.on_adopted(adopted, ts_ms)
                self.adopted_ms[event.symbol] = self._reported_ms
                self.unexplained = None
                for trade_id in sorted(self._foreign_ids.pop(event.symbol, ())):
                    self._first_time(trade_id)


def recover(records: Iterable[tuple[int, Record]], *, cooldown_ms: int) -> TradingState:
    """The state at the end of a journal: ``(ts_ms, record)`` of inputs and outputs in the order they were written."""
    state = TradingState(cooldown_ms=cooldown_ms)
    with localcontext(ARITHMETIC):
        for ts_ms, record in records:
            if isinstance(record, Restored):
                state = state.restored(record.state)
            else:
                state.apply(ts_ms, record)
    return state
