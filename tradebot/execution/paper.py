"""The paper broker: the matching venue on the real public books, for commands of the engine.

It walks the real book, pays real fees, waits in real queues and settles funding, but its orders are seen by nobody. It
has no clock, task or file of its own: a shell gives it market data and time, asks for outcomes and drains events.

* A command acts a latency after it was accepted, drawn from its kind and client order id. In one millisecond the market
  moves first, then what is due happens: as at the embedded exchange.
* Without a book (before the first one, after a gap) nothing acts, fires or is liquidated: it waits for the next book.
* A book is put into the venue only when it can matter: while an order is open or what our orders took has not come
  back, and before anything that would meet it (a trade, a mark, an order that acts). The others cost nothing.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from operator import attrgetter
from typing import Literal

import msgspec

from tradebot.errors import DataError
from tradebot.events import (
    AccountUpdated,
    AccountVerified,
    CancelOrder,
    CancelStop,
    ClosePosition,
    CommandOutcome,
    Event,
    OrderState,
    PlaceOrder,
    PlaceStop,
    PositionsReported,
    PositionState,
    Reconciled,
)
from tradebot.execution import paper_events as translate
from tradebot.execution.broker import OrderCommand, outcome
from tradebot.execution.latency import Latency
from tradebot.execution.steps import Steps
from tradebot.market.instrument import ZERO, Instrument, Side, exact
from tradebot.matching.orders import MarginMode, OrderRefused, OrderRequest, Presets
from tradebot.matching.plans import PlanRequest
from tradebot.matching.reports import PositionChanged, PositionReport
from tradebot.matching.settings import SymbolSettings
from tradebot.matching.state import VenueState
from tradebot.matching.venue import Venue, next_funding_ms

RawLevels = Sequence[tuple[float | str, float | str]]
"""Price (USDT) and size (base coin), best first, as the stream has them."""

Deed = Literal["order", "cancel", "plan", "cancel_plan"]

STATE_VERSION = 2
NEVER_MS = 2**63
MEMORY = 2_000
"""Final orders, executions and bills that are remembered, each: an hour of a busy market, in a few MiB."""


class Pending(msgspec.Struct, frozen=True, order=True):
    """An accepted command on its way to the book."""

    due_ms: int
    order_id: str
    deed: Deed
    symbol: str


class Funding(msgspec.Struct, frozen=True):
    """Next settlement of a symbol and the rate last announced for it."""

    due_ms: int
    rate: Decimal


class PaperState(msgspec.Struct, frozen=True, kw_only=True):
    """What a restarted paper daemon needs to find its positions, orders and cash again."""

    version: int
    venue: VenueState
    pending: tuple[Pending, ...] = ()
    funding: dict[str, Funding] = {}

    def encode(self) -> bytes:
        """As JSON for a file."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, raw: bytes, source: str) -> PaperState:
        """Read what :meth:`encode` wrote. Raises DataError that names ``source``."""
        try:
            state = msgspec.json.decode(raw, type=cls)
        except msgspec.DecodeError as error:
            raise DataError(f"{source}: not a paper account ({error}); move it away to start a new one") from None
        if state.version != STATE_VERSION:
            raise DataError(
                f"{source}: paper account of version {state.version}, this program reads {STATE_VERSION};"
                " move it away to start a new one"
            )
        return state


class PaperBroker:
    """A paper account of ``cash`` USDT on ``instruments``.

    ``latency`` tells the time from command to book by ``Kind:client order id`` (of what has none: the id of the stop
    that is cancelled); ``clock`` gives the bot's time in ms. A command's answer and all events carry times of that
    clock.
    """

    def __init__(
        self,
        instruments: Iterable[Instrument],
        cash: Decimal,
        leverage: int,
        margin_mode: MarginMode,
        latency: Latency,
        clock: Callable[[], int],
    ) -> None:
        self.venue = Venue(instruments, cash, leverage=leverage, margin_mode=margin_mode, memory=MEMORY)
        self._steps = {symbol: Steps(instrument) for symbol, instrument in self.venue.instruments.items()}
        self._leverage = leverage
        self._margin_mode = margin_mode
        self._latency = latency
        self._clock = clock
        self._now = clock()
        self._books: dict[str, tuple[RawLevels, RawLevels]] = {}
        self._unread: set[str] = set()  # symbols whose newest book the venue has not seen
        self._marks: dict[str, Decimal] = {}  # marks that wait for a book
        self._pending: list[Pending] = []
        self._stalled: dict[str, list[Pending]] = {}  # due, but without a book
        self._funding = {
            symbol: Funding(next_funding_ms(instrument.funding_hours, self._now), ZERO)
            for symbol, instrument in self.venue.instruments.items()
        }
        self._roll_ms = self._first_funding_ms()  # no settlement is due before
        self._states: dict[str, tuple[PositionReport, PositionState]] = {}
        self._told: tuple[PositionState, ...] | None = None

    # --- the market -------------------------------------------------------------------------------------------------

    def on_book(self, symbol: str, bids: RawLevels, asks: RawLevels, ts_ms: int) -> None:
        """A new state of the book, best levels first. A crossed one is left out: the stream's check deals with it."""
        self._before(ts_ms)
        if bids and asks and float(bids[0][0]) > float(asks[0][0]):
            return
        self._books[symbol] = (bids, asks)
        self._unread.add(symbol)
        if self.venue.open_orders(symbol) or self.venue.took(symbol):
            self._read_book(symbol)
        if symbol in self._stalled or symbol in self._marks:
            self._resume(symbol)

    def on_gap(self, symbol: str, ts_ms: int) -> None:
        """The book can no longer be trusted: nothing trades on it until the next :meth:`on_book`."""
        self._before(ts_ms)
        if self._books.pop(symbol, None) is not None:
            self._unread.discard(symbol)
            self.venue.set_book(symbol, (), (), self._now)

    def on_trade(self, symbol: str, price: float | str, qty: float | str, side: Side, ts_ms: int) -> None:
        """A public trade; ``side`` is the taker's."""
        self._before(ts_ms)
        if symbol in self._books and self._matters(symbol):
            steps = self._steps[symbol]
            self._read_book(symbol)
            ticks = steps.tick.count(price, ROUND_HALF_EVEN)
            self.venue.trade(symbol, ticks, steps.lot.count(qty, ROUND_FLOOR), side, self._now)

    def on_mark(
        self, symbol: str, mark: float | str, ts_ms: int, funding_rate: float = 0.0, next_funding_ms: int = 0
    ) -> None:
        """A new mark price, with the funding rate and settlement time announced for the symbol (0: unknown)."""
        self._before(ts_ms)
        due = self._funding[symbol].due_ms
        if next_funding_ms > self._now:
            due = next_funding_ms
        self._funding[symbol] = Funding(due, exact(funding_rate))
        self._roll_ms = min(self._roll_ms, due)
        self._marks[symbol] = exact(mark)
        if symbol in self._books:
            if self._matters(symbol):
                self._read_book(symbol)
            self._resume(symbol)

    def on_instrument(self, instrument: Instrument) -> None:
        """New terms of a contract. Raises DataError when a position does not fit its new lot."""
        before = self.venue.instruments[instrument.symbol]
        self.venue.set_instrument(instrument, self._now)
        self._steps[instrument.symbol] = Steps(instrument)
        if (before.tick, before.lot) != (instrument.tick, instrument.lot) and instrument.symbol in self._books:
            self._unread.add(instrument.symbol)

    def on_time(self, ts_ms: int) -> None:
        """Act on commands whose latency has passed and settle funding that is due, each at its own time."""
        while (due := self.next_due_ms()) is not None and due <= ts_ms:
            self._now = max(self._now, due)
            self._settle_funding()
            while self._pending and self._pending[0].due_ms <= due:
                pending = heapq.heappop(self._pending)
                if pending.symbol in self._books:
                    self._read_book(pending.symbol)
                    self._act(pending)
                else:
                    self._stalled.setdefault(pending.symbol, []).append(pending)
        self._now = max(self._now, ts_ms)
        if self._now >= self._roll_ms:
            self._settle_funding()  # only flat symbols are left: their settlement passes without them

    def _before(self, ts_ms: int) -> None:
        """Everything before the market moves at ``ts_ms``; what is due in that very millisecond happens after it."""
        self.on_time(ts_ms - 1)
        self._now = max(self._now, ts_ms)

    def next_due_ms(self) -> int | None:
        """When :meth:`on_time` has something to do next, or None."""
        acts = self._pending[0].due_ms if self._pending else None
        if not self.venue.account.positions:
            return acts
        return self._roll_ms if acts is None else min(acts, self._roll_ms)

    # --- commands ---------------------------------------------------------------------------------------------------

    def execute(self, command: OrderCommand) -> CommandOutcome:
        """Accept or refuse a command now; accepted ones act a latency later.

        What is already as the command wants it (nothing to cancel, nothing to close, stop exists) counts as accepted
        with an empty order id, as with the exchange broker.
        """
        self.on_time(self._clock())
        if command.symbol in self._books:
            self._read_book(command.symbol)
        try:
            order_id, deed = self._check(command)
        except OrderRefused as refused:
            if refused.code in _DONE.get(type(command), ()):
                return outcome(command, "accepted")
            if refused.code == "40786" and isinstance(command, PlaceOrder):
                known = self.venue.order(client_oid=command.client_oid)
                price = command.price if command.order_type == "limit" else None
                theirs = (known.symbol, known.side, known.order_type, known.qty, known.price)
                if theirs == (command.symbol, command.side, command.order_type, command.qty, price):
                    return outcome(command, "accepted", order_id=known.order_id)
            return outcome(command, "rejected", code=refused.code, message=str(refused))
        heapq.heappush(self._pending, Pending(self._now + self._delay(command), order_id, deed, command.symbol))
        return outcome(command, "accepted", order_id=order_id)

    def drain(self) -> list[Event]:
        """Events since the last call, in order, as the exchange's private channels would have them; positions that are
        as they were told last are not told again."""
        events: list[Event] = []
        for seen in self.venue.drain():
            if isinstance(seen, PositionChanged):
                states = self._positions(seen.positions)
                if states != self._told:
                    self._told = states
                    events.append(PositionsReported(positions=states))
            elif (event := translate.event(seen)) is not None:
                events.append(event)
        return events

    # --- the account as a whole -------------------------------------------------------------------------------------

    def snapshot(self, asked_ms: int = 0) -> Reconciled:
        """The whole view of the account: positions, open orders and stops."""
        return Reconciled(
            positions=self._positions(self.venue.positions()),
            open_orders=tuple(translate.order(o) for o in self.venue.open_orders()),
            stops=tuple(translate.stop(p) for p in self.venue.live_plans() if p.protects),
            asked_ms=asked_ms,
        )

    def account(self) -> AccountUpdated:
        """Equity, balance and what is free to open with."""
        return translate.account(self.venue.summary())

    def settings(self) -> list[AccountVerified]:
        """Position mode, margin mode and leverage of every symbol."""
        return [
            AccountVerified(
                symbol=symbol,
                position_mode=self.venue.position_mode,
                margin_mode=settings.margin_mode,
                leverage=settings.leverage("buy"),
            )
            for symbol, settings in self.venue.account.settings.items()
        ]

    def reconcile(self, orders: Sequence[OrderState], since_ms: int, asked_ms: int) -> list[Event]:
        """Fates of ``orders`` that are not final, executions and funding since ``since_ms``, account, whole view."""
        events: list[Event] = []
        for ours in orders:
            if ours.status in ("filled", "canceled", "rejected"):
                continue
            try:
                events.append(translate.order(self.venue.order(client_oid=ours.client_oid)))
            except OrderRefused as refused:
                events.append(
                    CommandOutcome(
                        client_oid=ours.client_oid,
                        symbol=ours.symbol,
                        command="place",
                        outcome="rejected",
                        code=refused.code,
                        message="the paper broker does not know this order",
                    )
                )
        events += [translate.fill(e) for e in self.venue.executions() if e.ts_ms >= since_ms]
        events += [translate.funding(b) for b in self.venue.bills() if translate.is_funding(b) and b.ts_ms >= since_ms]
        return [*events, *self.settings(), self.account(), self.snapshot(asked_ms)]

    def state(self) -> PaperState:
        """State to save."""
        waiting = [p for stalled in self._stalled.values() for p in stalled]
        return PaperState(
            version=STATE_VERSION,
            venue=self.venue.dump(),
            pending=tuple(sorted(self._pending + waiting)),
            funding=dict(self._funding),
        )

    def load(self, state: PaperState) -> None:
        """Continue from a saved state: cash is the saved one, settings the given ones where a symbol is idle.

        Stops did not watch the market and funding was not settled in between: funding that fell due is settled at the
        rate last announced, stops look at the first mark. Raises DataError when the state holds another symbol.
        """
        self.venue.load(state.venue)
        self._pending = sorted(state.pending)
        self._funding |= {s: f for s, f in state.funding.items() if s in self.venue.instruments}
        self._roll_ms = self._first_funding_ms()
        for symbol, instrument in self.venue.instruments.items():
            if not self._matters(symbol):
                leverage = min(self._leverage, instrument.max_leverage)
                self.venue.account.settings[symbol] = SymbolSettings.uniform(self._margin_mode, leverage)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _check(self, command: OrderCommand) -> tuple[str, Deed]:
        """Id of the order or plan a command is about, and what is to be done with it. Raises OrderRefused."""
        venue, now = self.venue, self._now
        match command:
            case PlaceOrder():
                return venue.check(_request(command), now).order_id, "order"
            case CancelOrder():
                return venue.check_cancel(client_oid=command.client_oid).order_id, "cancel"
            case ClosePosition():
                return venue.check_close(command.symbol, now, command.client_oid).order_id, "order"
            case PlaceStop():
                hold: Side = "buy" if command.position_side == "long" else "sell"
                request = PlanRequest(
                    symbol=command.symbol,
                    plan="pos_loss",
                    trigger_price=command.trigger_price,
                    hold_side=hold,
                    client_oid=command.client_oid,
                )
                return venue.check_plan(request, now).order_id, "plan"
            case CancelStop():
                client_oid = "" if command.order_id else command.client_oid
                plan = venue.check_cancel_plan(order_id=command.order_id, client_oid=client_oid)
                return plan.order_id, "cancel_plan"

    def _act(self, pending: Pending) -> None:
        match pending.deed:
            case "order":
                self.venue.act(pending.order_id, self._now)
            case "cancel":
                self.venue.act_cancel(pending.order_id, self._now)
            case "plan":
                self.venue.act_plan(pending.order_id, self._now)
            case "cancel_plan":
                self.venue.act_cancel_plan(pending.order_id, self._now)

    def _delay(self, command: OrderCommand) -> int:
        return self._latency(f"{type(command).__name__}:{command.client_oid or getattr(command, 'order_id', '')}")

    def _matters(self, symbol: str) -> bool:
        """Whether a book or trade of the symbol can change the account."""
        return self.venue.holds(symbol) or bool(self.venue.open_orders(symbol))

    def _read_book(self, symbol: str) -> None:
        """Show the newest book to the venue unless it has seen it."""
        if symbol not in self._unread:
            return
        self._unread.discard(symbol)
        steps = self._steps[symbol]
        bids, asks = self._books[symbol]
        self.venue.set_book(symbol, steps.levels(bids, ROUND_FLOOR), steps.levels(asks, ROUND_CEILING), self._now)

    def _resume(self, symbol: str) -> None:
        """There is a book: act on what waited for one, then look at the newest mark."""
        if symbol in self._stalled:
            self._read_book(symbol)
            for pending in self._stalled.pop(symbol):
                self._act(pending)
        mark = self._marks.pop(symbol, None)
        if mark is not None:
            self.venue.set_mark(symbol, mark, self._now)

    def _positions(self, reports: Sequence[PositionReport]) -> tuple[PositionState, ...]:
        """All open positions as the engine knows them, by symbol."""
        found = []
        for report in reports:
            symbol = report.position.symbol
            known = self._states.get(symbol)
            if known is None or known[0] is not report:
                known = self._states[symbol] = (report, translate.position(report))
            found.append(known[1])
        return tuple(sorted(found, key=_symbol_of))

    def _first_funding_ms(self) -> int:
        return min((f.due_ms for f in self._funding.values()), default=NEVER_MS)

    def _settle_funding(self) -> None:
        for symbol, funding in list(self._funding.items()):
            if funding.due_ms <= self._now:
                self.venue.settle_funding(symbol, funding.rate, funding.due_ms)
                hours = self.venue.instruments[symbol].funding_hours
                self._funding[symbol] = Funding(next_funding_ms(hours, funding.due_ms), funding.rate)
        self._roll_ms = self._first_funding_ms()


_symbol_of = attrgetter("symbol")

_DONE: dict[type, tuple[str, ...]] = {
    CancelOrder: ("22001", "40768"),
    PlaceStop: ("43031",),
    CancelStop: ("43025",),
    ClosePosition: ("22002",),
}
"""Refusals that say that nothing is left to do (protocol section 5.1, class N)."""


def _request(command: PlaceOrder) -> OrderRequest:
    return OrderRequest(
        symbol=command.symbol,
        side=command.side,
        order_type=command.order_type,
        qty=command.qty,
        price=command.price,
        tif=command.tif,
        client_oid=command.client_oid,
        reduce_only=command.reduce_only,
        presets=Presets(stop_loss=command.preset_stop, take_profit=command.preset_take_profit),
    )
