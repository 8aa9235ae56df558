"""The venue: the protocol's requests checked and carried out on one account.

Requests are *checked* when they arrive (validation, margin, client id) and *act* when they reach the engine; between
the two a caller may let a latency pass. ``place``, ``cancel``, ``place_plan``, ``cancel_plan`` and ``close_position``
do both at once. Every call takes its time ``ts_ms`` (ms since the epoch, never decreasing) and adds to what
:meth:`Venue.drain` returns: for an execution OrderChanged, Executed, PositionChanged, AccountChanged, then plans.

The market of a step is given in this order: trades, book, mark. The same calls give the same ids and events, whatever
the thread's decimal context is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from tradebot.errors import DataError
from tradebot.market.instrument import ZERO, Instrument, Side
from tradebot.matching import state
from tradebot.matching.account import Account
from tradebot.matching.admission import Admission
from tradebot.matching.arithmetic import exactly
from tradebot.matching.book import Levels, Match
from tradebot.matching.engine import MatchingEngine
from tradebot.matching.liquidation import Liquidator
from tradebot.matching.margin import Tier, default_tiers
from tradebot.matching.order_desk import OrderDesk
from tradebot.matching.orders import MarginMode, TriggerType
from tradebot.matching.plan_desk import PlanDesk
from tradebot.matching.protection import PlanAdmission
from tradebot.matching.records import Records
from tradebot.matching.reports import FundingSettled
from tradebot.matching.settings import VenueLimits
from tradebot.matching.settings_desk import SettingsDesk
from tradebot.matching.triggers import Triggers

HOUR_MS = 3_600_000


def next_funding_ms(hours: int, ts_ms: int) -> int:
    """First funding settlement after ``ts_ms``: whole multiples of ``hours`` since midnight UTC.

    >>> next_funding_ms(8, 28_799_999), next_funding_ms(8, 28_800_000)
    (28800000, 57600000)
    """
    interval = hours * HOUR_MS
    return (ts_ms // interval + 1) * interval


class Venue(OrderDesk, PlanDesk, SettingsDesk, Records):
    """One account trading on the books of ``instruments`` with ``cash`` USDT.

    ``leverage`` and ``margin_mode`` are the initial settings of every symbol; ``tiers`` are the position tiers where
    they are not those of :func:`tradebot.matching.margin.default_tiers`. ``memory`` bounds how many final orders,
    executions and bills are remembered.
    """

    def __init__(
        self,
        instruments: Iterable[Instrument],
        cash: Decimal,
        *,
        leverage: int = 10,
        margin_mode: MarginMode = "isolated",
        tiers: Mapping[str, tuple[Tier, ...]] | None = None,
        limits: VenueLimits | None = None,
        memory: int = 50_000,
    ) -> None:
        self.limits = limits or VenueLimits()
        self.instruments = {i.symbol: i for i in instruments}
        self.tiers = {s: (tiers or {}).get(s) or default_tiers(i) for s, i in self.instruments.items()}
        self.account = Account(
            self.instruments,
            self.tiers,
            cash,
            leverage=leverage,
            margin_mode=margin_mode,
            open_cost_up_ratio=self.limits.open_cost_up_ratio,
        )
        self._engine = MatchingEngine(self.instruments, self.tiers, self.account, memory)
        self._archive = self._engine.archive
        self._admission = Admission(self._engine, self.limits)
        self._plan_admission = PlanAdmission(self._engine, self._admission)
        self._triggers = Triggers(self._engine, self._admission)
        self._liquidator = Liquidator(self._engine)

    # --- the market -------------------------------------------------------------------------------------------------

    def trade(self, symbol: str, price_ticks: int, qty_lots: int, side: Side, ts_ms: int) -> None:
        """A public trade; ``side`` is the taker's. Fills resting orders it reaches, then fires ``fill_price`` plans."""
        if fills := self._engine.books[symbol].trade(price_ticks, qty_lots, side):
            self._make(fills, ts_ms)
        self._engine.lasts[symbol] = price_ticks * self.instruments[symbol].tick
        if self._archive.live_plans and self._archive.plans_in(symbol):
            self._watch(symbol, "fill_price", ts_ms)

    def set_book(self, symbol: str, bids: Levels, asks: Levels, ts_ms: int) -> None:
        """A new snapshot of the market's visible levels. Raises DataError when it is crossed."""
        if fills := self._engine.books[symbol].replace(bids, asks):
            self._make(fills, ts_ms)

    def set_mark(self, symbol: str, mark: Decimal, ts_ms: int) -> None:
        """A new mark price: fires ``mark_price`` plans, then liquidates what is below its maintenance margin."""
        self.account.marks[symbol] = mark
        if self._archive.live_plans and self._archive.plans_in(symbol):
            self._watch(symbol, "mark_price", ts_ms)
        if self.account.positions:
            self._judge(symbol, ts_ms)

    @exactly
    def settle_funding(self, symbol: str, rate: Decimal, ts_ms: int) -> None:
        """Settle funding at ``rate`` on the positions of ``symbol``, if there are any."""
        for held in self.account.of(symbol):
            amount = self.account.settle_funding(held, rate, ts_ms)
            bill = self._engine.bill(symbol, amount, ZERO, "contract_settle_fee", ts_ms)
            self._engine.events.append(FundingSettled(symbol, rate, amount, ts_ms, bill.bill_id))
        self._engine.settle(ts_ms)

    @exactly
    def set_instrument(self, instrument: Instrument, ts_ms: int) -> None:
        """Replace a contract's terms (status, limits, fees).

        A new tick or lot empties the book until the next one and cancels the open orders whose price or size is no
        multiple of it. Raises DataError when a position is no multiple of the new lot.
        """
        symbol = instrument.symbol
        known = self.instruments[symbol]
        if any(held.qty % instrument.lot for held in self.account.of(symbol)):
            raise DataError(f"the position of {symbol} is no multiple of its new lot {instrument.lot}; close it first")
        self.instruments[symbol] = instrument
        if (known.tick, known.lot) != (instrument.tick, instrument.lot):
            self._engine.requote(symbol, ts_ms)
            self._engine.settle(ts_ms)

    # --- saved state ------------------------------------------------------------------------------------------------

    def dump(self, *, recent: int = 500) -> state.VenueState:
        """State to save: all that is open and the ``recent`` newest of what has ended. Books are not part of it."""
        return state.dump(self._engine, recent)

    def load(self, saved: state.VenueState) -> None:
        """Continue from :meth:`dump` in a fresh venue. Raises DataError when it holds a symbol not traded here."""
        state.load(self._engine, saved)

    # --- inside -----------------------------------------------------------------------------------------------------

    @exactly
    def _make(self, fills: list[Match], ts_ms: int) -> None:
        self._engine.make(fills, ts_ms)
        self._engine.settle(ts_ms)

    @exactly
    def _watch(self, symbol: str, trigger_type: TriggerType, ts_ms: int) -> None:
        self._triggers.look(symbol, trigger_type, ts_ms)

    @exactly
    def _judge(self, symbol: str, ts_ms: int) -> None:
        self._liquidator.look(symbol, ts_ms)
