"""What each trade earned, and which decision, strategy and model it came from.

A trade is a position of ours from flat to flat::

    flat ──entry──> open ──entry, partial exit, funding──> open ──exit, stop, liquidation, adoption──> ended
                      └──an execution through zero──> ended, and another one open on the other side

Realised profit is that of :mod:`tradebot.trading.portfolio`, split here among trades. Everything booked on a trade is a
:class:`TradeBooked`, kept until it is on record: a crash between an execution and its record loses no booking.

The sums are exact: realised profit and fees over all bookings are the account's, funding too but for what was settled
while no trade of ours was open.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from decimal import Decimal
from itertools import islice

from msgspec.structs import replace

from tradebot.events import Filled, FundingPaid, OrderState, PositionState, TradeBooked, TradeState
from tradebot.events.trades import TradeEnd
from tradebot.market.candle import HOUR_MS
from tradebot.market.instrument import ZERO
from tradebot.trading.portfolio import proportion

BILLED_WITHIN_MS = 60_000
"""A settlement falls on a full hour; its bill is written up to this much later."""

PROFIT_PLANS = frozenset({"pos_profit", "ptp", "profit_plan", "tp"})
"""Plan types (protocol section 9) of exchange-side orders that take profit."""


class TradeBook:
    """The open trade of each symbol and the one before it, which late reports may still be about."""

    def __init__(
        self,
        known: Iterable[TradeState] = (),
        untold: Iterable[TradeBooked] = (),
        positions: Iterable[PositionState] = (),
    ) -> None:
        """``known`` and ``untold`` as :meth:`snapshot` gave them. A position without a trade (from a journal that kept
        no trades) counts as taken over."""
        self._open: dict[str, TradeState] = {}
        self._ended: dict[str, TradeState] = {}
        for trade in known:
            (self._ended if trade.closed_ms else self._open)[trade.symbol] = trade
        for position in positions:
            if position.symbol not in self._open:
                self._open[position.symbol] = _taken_over(position, position.opened_ms)
        self.untold: deque[TradeBooked] = deque(untold)
        """Bookings that are not on record yet, oldest first."""
        self._fired: dict[str, str] = {}
        """Plan type of the exchange-side order that fired last, by symbol, while its trade is open."""
        self._forced: dict[str, str] = {}
        """Id of the last order that the exchange itself made, by symbol."""

    def open_trades(self) -> list[TradeState]:
        """Trades that have not ended."""
        return list(self._open.values())

    def open_trade(self, symbol: str) -> TradeState | None:
        """The trade of a symbol in which something is held."""
        return self._open.get(symbol)

    def snapshot(self) -> tuple[TradeState, ...]:
        """What must survive a restart, beside :attr:`untold`."""
        return (*self._ended.values(), *self._open.values())

    # --- what happens -----------------------------------------------------------------------------------------------

    def on_fill(
        self, fill: Filled, order: OrderState | None, before: Decimal, realised: Decimal, ts_ms: int, end: TradeEnd
    ) -> list[TradeBooked]:
        """An execution was booked at ``ts_ms`` that found a position of ``before`` (signed) and realised ``realised``.
        Returns what it is on trades.

        ``order``: the order of ours that it belongs to; ``end``: how a trade ends that it closes, where no more is
        known than the order.
        """
        signed = fill.qty if fill.side == "buy" else -fill.qty
        closing = min(fill.qty, abs(before)) if before * signed < 0 else ZERO
        opening = fill.qty - closing
        closing_fee = proportion(fill.fee, closing, fill.qty)
        at_ms, told = fill.ts_exchange_ms or ts_ms, len(self.untold)
        if closing:
            self._close(fill, order, closing, realised, closing_fee, at_ms, end)
        if opening:
            self._enter(fill, order, opening, fill.fee - closing_fee, at_ms, ts_ms)
        return list(islice(self.untold, told, None))

    def on_funding(self, bill: FundingPaid, ts_ms: int) -> list[TradeBooked]:
        """A settlement was booked: it belongs to the trade that was open at that moment, if any was. Returns what it
        is on trades."""
        at_ms, told = bill.ts_exchange_ms or ts_ms, len(self.untold)
        moment = settled_ms(at_ms)
        near = [t for t in (self._ended.get(bill.symbol), self._open.get(bill.symbol)) if t is not None]
        held = [t for t in near if t.opened_ms <= moment and (not t.closed_ms or moment <= t.closed_ms)]
        after = [t for t in near if t.opened_ms <= at_ms and not t.closed_ms]
        for trade in (*held, *after)[:1]:
            self._book(
                replace(trade, funding=trade.funding + bill.amount),
                TradeBooked(trade=trade, kind="funding", ref=bill.bill_id, ts_exchange_ms=at_ms, funding=bill.amount),
            )
        return list(islice(self.untold, told, None))

    def on_adopted(self, position: PositionState, ts_ms: int) -> None:
        """A person took over the exchange's view of a symbol: what was ours has ended where it says otherwise."""
        trade = self._open.get(position.symbol)
        held = ZERO if trade is None else trade.open_qty if trade.side == "long" else -trade.open_qty
        if held == position.qty:
            return
        if trade is not None:
            self._end(replace(trade, closed_ms=ts_ms, end="adopted"), _adoption(trade, ts_ms))
        if position.qty:
            found = _taken_over(position, ts_ms)
            self._book(found, _adoption(found, ts_ms))

    def on_fired(self, symbol: str, plan: str) -> None:
        """An exchange-side order of ours was triggered, before or after its execution was reported."""
        if symbol in self._open:
            self._fired[symbol] = plan
        elif plan in PROFIT_PLANS:
            self._correct(symbol, "take_profit", of=("stop",))

    def on_forced(self, symbol: str, order_id: str) -> None:
        """The exchange itself made an order (liquidation, deleveraging), before or after its execution."""
        self._forced[symbol] = order_id
        ended = self._ended.get(symbol)
        if symbol not in self._open and ended is not None and ended.exit_order == order_id:
            self._correct(symbol, "liquidation", of=("stop", "take_profit", "unknown"))

    def on_record(self, booked: TradeBooked) -> None:
        """The oldest untold booking is on record now."""
        if self.untold:
            self.untold.popleft()
        trades = self._ended if booked.trade.closed_ms else self._open
        known = trades.get(booked.trade.symbol)
        if known is not None and known.trade_id == booked.trade.trade_id:
            trades[known.symbol] = replace(known, best_bp=booked.trade.best_bp, worst_bp=booked.trade.worst_bp)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _enter(
        self, fill: Filled, order: OrderState | None, qty: Decimal, fee: Decimal, at_ms: int, ts_ms: int
    ) -> None:
        trade = self._open.get(fill.symbol)
        if trade is None:
            trade = TradeState(
                trade_id=f"{fill.symbol}-{fill.trade_id}",
                symbol=fill.symbol,
                side="long" if fill.side == "buy" else "short",
                opened_ms=at_ms,
                since_ms=ts_ms,
                entry_order=fill.client_oid or fill.order_id,
            )
            if order is not None:
                trade = replace(
                    trade,
                    entry_decision=order.decision_id,
                    entry_order=order.client_oid,
                    strategy=order.strategy,
                    model=order.model,
                    version=order.version,
                    model_sha256=order.model_sha256,
                )
        after = replace(
            trade,
            entered_qty=trade.entered_qty + qty,
            entered_value=trade.entered_value + qty * fill.price,
            fees=trade.fees + fee,
            fills=trade.fills + 1,
        )
        self._book(after, _execution(after, fill, qty, ZERO, fee, at_ms))

    def _close(
        self, fill: Filled, order: OrderState | None, qty: Decimal, realised: Decimal, fee: Decimal, at_ms: int,
        end: TradeEnd,
    ) -> None:  # fmt: skip
        trade = self._open[fill.symbol]
        after = replace(
            trade,
            exited_qty=trade.exited_qty + qty,
            exited_value=trade.exited_value + qty * fill.price,
            realised=trade.realised + realised,
            fees=trade.fees + fee,
            fills=trade.fills + 1,
        )
        booked = _execution(after, fill, qty, realised, fee, at_ms)
        if after.open_qty:
            self._book(after, booked)
            return
        self._end(
            replace(
                after,
                closed_ms=at_ms,
                exit_decision=order.decision_id if order is not None and order.reduce_only else "",
                exit_order=order.client_oid if order is not None else fill.client_oid or fill.order_id,
                end=end if order is not None else self._ended_by(fill, end),
            ),
            booked,
        )

    def _ended_by(self, fill: Filled, end: TradeEnd) -> TradeEnd:
        """How a trade ended that an order closed which is none of ours."""
        if self._forced.get(fill.symbol) == fill.order_id:
            return "liquidation"
        return "take_profit" if end == "stop" and self._fired.get(fill.symbol) in PROFIT_PLANS else end

    def _correct(self, symbol: str, end: TradeEnd, of: Sequence[TradeEnd]) -> None:
        trade = self._ended.get(symbol)
        if trade is not None and trade.end in of:
            booked = TradeBooked(trade=trade, kind="corrected", ref="", ts_exchange_ms=trade.closed_ms)
            self._book(replace(trade, end=end), booked)

    def _end(self, trade: TradeState, booked: TradeBooked) -> None:
        del self._open[trade.symbol]
        self._fired.pop(trade.symbol, None)
        self._book(trade, booked)

    def _book(self, trade: TradeState, booked: TradeBooked) -> None:
        (self._ended if trade.closed_ms else self._open)[trade.symbol] = trade
        self.untold.append(replace(booked, trade=trade))


class TradeTally:
    """What ended trades came to, from the bookings as they are recorded."""

    def __init__(self) -> None:
        self.closed = 0
        self._entered = ZERO
        self._earned = ZERO

    def add(self, booked: TradeBooked) -> None:
        """Take the next booking in."""
        trade = booked.trade
        if not trade.closed_ms:
            return
        if booked.kind in ("fill", "adopted"):
            self.closed += 1
            self._entered += trade.entered_value
            self._earned += trade.net
        else:
            self._earned += booked.realised + booked.fee + booked.funding

    def net_bp(self) -> float | None:
        """What ended trades earned after fees and funding, in bp of the notional they entered with; None: no trade."""
        return float(self._earned / self._entered) * 1e4 if self._entered else None


def with_excursion(booked: TradeBooked, low: float, high: float) -> TradeBooked:
    """``booked`` with what the lowest and the highest mark (USDT) of its trade come to."""
    trade, entry = booked.trade, float(booked.trade.entry_price)
    up, down = (high / entry - 1) * 1e4, (low / entry - 1) * 1e4
    best, worst = (up, down) if trade.side == "long" else (-down, -up)
    return replace(booked, trade=replace(trade, best_bp=best, worst_bp=worst))


def settled_ms(billed_ms: int) -> int:
    """The moment of a settlement whose bill is of ``billed_ms``: the full hour just before, or that moment itself.

    >>> settled_ms(2 * HOUR_MS + 5_000) == 2 * HOUR_MS, settled_ms(2 * HOUR_MS + 90_000) - 2 * HOUR_MS
    (True, 90000)
    """
    since_hour = billed_ms % HOUR_MS
    return billed_ms - since_hour if since_hour <= BILLED_WITHIN_MS else billed_ms


def _execution(
    trade: TradeState, fill: Filled, qty: Decimal, realised: Decimal, fee: Decimal, at_ms: int
) -> TradeBooked:
    return TradeBooked(
        trade=trade, kind="fill", ref=fill.trade_id, ts_exchange_ms=at_ms, qty=qty, price=fill.price,
        realised=realised, fee=fee,
    )  # fmt: skip


def _adoption(trade: TradeState, ts_ms: int) -> TradeBooked:
    return TradeBooked(trade=trade, kind="adopted", ref="", ts_exchange_ms=ts_ms)


def _taken_over(position: PositionState, ts_ms: int) -> TradeState:
    size = abs(position.qty)
    return TradeState(
        trade_id=f"{position.symbol}-adopted-{ts_ms}",
        symbol=position.symbol,
        side="long" if position.qty > 0 else "short",
        opened_ms=position.opened_ms or ts_ms,
        since_ms=position.opened_ms or ts_ms,
        entered_qty=size,
        entered_value=size * position.entry_price,
        adopted=True,
    )
