"""A market made by hand around the real engine: its prices are planted, its forecasts say what was planted.

Market orders fill at the touch, resting ones when the price trades through them, both with Bitget's base fees. There
is no queue, no latency and no stop: what is tried here is what strategies decide, not how orders execute.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tests.trading.driver import BAR, STRATEGIES, Driver
from tradebot.events import (
    AccountUpdated,
    BookSampled,
    BookTop,
    CancelOrder,
    CandleClosed,
    Command,
    Decision,
    Filled,
    ForecastReady,
    ModelRef,
    ModelSwapped,
    OperatorActed,
    OrderUpdated,
    PlaceOrder,
    PlaceStop,
    RequestForecast,
    RiskLimits,
    SetTimer,
    StopUpdated,
    TickerUpdated,
    TimerFired,
)
from tradebot.market.candle import Candle
from tradebot.market.instrument import exact
from tradebot.trading.loading import load_strategy

MODEL = "lightgbm-5m"
FEES = {False: Decimal("0.0006"), True: Decimal("0.0002")}
WIDE = RiskLimits(
    max_daily_loss=Decimal("0.9"), max_drawdown=Decimal("0.9"), max_model_loss=Decimal("0.9"), cooldown_ms=0,
    max_losses_in_a_row=None, max_entries_per_minute=10_000, max_entries_per_hour=10_000,
)  # fmt: skip
"""Limits that let a strategy go on whatever it loses."""


class Planted(NamedTuple):
    """What a model says at a close."""

    expected_bp: float = 0.0
    p_up: float = 1 / 3
    p_down: float = 1 / 3
    quantiles_bp: tuple[tuple[float, float], ...] = ()


class World:
    """One symbol, one strategy. ``models``: further models besides the first, with their learned entry level (bp)."""

    def __init__(
        self,
        strategy: str,
        params: Mapping[str, Any] | None = None,
        *,
        models: Mapping[str, float | None] | None = None,
        limits: RiskLimits = WIDE,
        folder: Path = STRATEGIES,
    ) -> None:
        self.driver = Driver(load_strategy(folder, strategy)[0], params=dict(params or {}), limits=limits)
        self.said: Mapping[str, Planted] = {}
        """What each model answers at the next close; one that is not named fails to."""
        self.decisions: list[Decision] = []
        self.orders: list[PlaceOrder] = []
        self.fills: list[Filled] = []
        self.cash = self.qty = Decimal(0)
        self.funding_rate, self.next_funding_ms = 0.0, 0
        self.mid = self.last_close = 100.0
        self._resting: dict[str, PlaceOrder] = {}
        self._timers: dict[str, int] = {}
        for name, entry_bp in (models or {}).items():
            ref = ModelRef(
                symbol="SOLUSDT", name=name, version="v0001", sha256=name, schema_hash="cd", horizon_ms=2 * BAR,
                entry_bp=entry_bp,
            )  # fmt: skip
            self.carry_out(self.driver.send(ModelSwapped(ref=ref)))

    @property
    def earned(self) -> float:
        """Profit at mid after fees, USDT."""
        return float(self.cash) + float(self.qty) * self.mid

    @property
    def entries(self) -> list[PlaceOrder]:
        return [order for order in self.orders if order.purpose == "entry"]

    # --- time and prices --------------------------------------------------------------------------------------------

    def close(self, price: float, said: Mapping[str, Planted] | Planted | None = None) -> Decision:
        """Let a candle end at ``price``; the models answer ``said``, those that are not in it never.

        Returns the candle's decision, which may come at the deadline of the forecasts."""
        self.said = {} if said is None else {MODEL: said} if isinstance(said, Planted) else said
        end = self.driver.now_ms // BAR * BAR + BAR
        self.pass_time(end)
        self.quote(price)
        o, c = self.last_close, float(price)
        candle = Candle(end - BAR, o, max(o, c) * 1.0002, min(o, c) * 0.9998, c, 1_000.0, 1e5)
        self.last_close = c
        first = len(self.decisions)
        self.carry_out(self.driver.send(CandleClosed(symbol="SOLUSDT", interval="5m", candle=candle)))
        if not self._asked(first):
            self.pass_time(end + self.driver.engine.config.forecast_deadline_ms)
        [decision] = self._asked(first)
        return decision

    def flatten(self) -> None:
        """Close what is held, as an operator's order does."""
        if self.qty:
            self.carry_out(self.driver.send(OperatorActed(action="close", actor="test", symbol="SOLUSDT")))
            self.carry_out(self.driver.send(OperatorActed(action="resume", actor="test", symbol="SOLUSDT")))

    def _asked(self, first: int) -> list[Decision]:
        return [d for d in self.decisions[first:] if d.hook in ("on_forecast", "on_candle", "")]

    def row(self, mid: float, bids: Sequence[float], asks: Sequence[float], *, stale: bool = False) -> list[Decision]:
        """Let a second pass and seal a row of the book with these sizes. Returns what it made the strategy decide."""
        mid, first = float(mid), len(self.decisions)
        boundary = self.driver.now_ms // 1_000 * 1_000 + 1_000
        self.pass_time(boundary)
        self.quote(mid, bids[0], asks[0])
        bid, ask = touch(mid)
        self.carry_out(
            self.driver.send(
                BookSampled(
                    symbol="SOLUSDT", boundary_ms=boundary, age_ms=0, stale=stale,
                    bid_px=tuple(round(bid - 0.01 * i, 2) for i in range(len(bids))), bid_sz=tuple(bids),
                    ask_px=tuple(round(ask + 0.01 * i, 2) for i in range(len(asks))), ask_sz=tuple(asks),
                )
            )
        )  # fmt: skip
        return self.decisions[first:]

    def pass_time(self, until_ms: int) -> None:
        """Fire the timers that are due before ``until_ms``, then let it be that moment."""
        while due := min(((at, name) for name, at in self._timers.items() if at <= until_ms), default=None):
            at, name = due
            del self._timers[name]
            self.driver.now_ms = max(self.driver.now_ms, at)
            if name != "day":  # a day begins with a look at the account, which nobody keeps here
                self.carry_out(self.driver.send(TimerFired(name=name, due_ms=at)))
        self.driver.now_ms = until_ms

    def quote(self, mid: float, bid_size: float = 5_000.0, ask_size: float = 5_000.0) -> None:
        """Quotes a cent around ``mid``, the mark at it; resting orders that it trades through are filled."""
        self.mid = mid = float(mid)
        bid, ask = touch(mid)
        now = self.driver.now_ms
        self.carry_out(
            self.driver.send(
                BookTop(
                    symbol="SOLUSDT", ts_exchange_ms=now, bid=bid, bid_size=bid_size, ask=ask, ask_size=ask_size
                )
            )
        )  # fmt: skip
        self.carry_out(
            self.driver.send(
                TickerUpdated(
                    symbol="SOLUSDT", ts_exchange_ms=now, last=mid, mark=mid, index=mid,
                    funding_rate=self.funding_rate, next_funding_ms=self.next_funding_ms,
                )
            )
        )  # fmt: skip
        equity = Decimal(10_000) + exact(round(self.earned, 6))
        self.carry_out(self.driver.send(AccountUpdated(equity=equity, available=equity, balance=equity)))
        for order in list(self._resting.values()):
            assert order.price is not None
            if (order.side == "buy" and ask <= order.price) or (order.side == "sell" and bid >= order.price):
                del self._resting[order.client_oid]
                self._fill(order, order.price, maker=True)

    # --- the exchange -----------------------------------------------------------------------------------------------

    def carry_out(self, commands: Sequence[Command]) -> None:
        """Do what the engine wants and tell it what came of that, until it wants nothing more."""
        queue: deque[Command] = deque(commands)
        deeds: dict[type, Callable[[Any], Sequence[Command]]] = {
            RequestForecast: self._answer,
            PlaceOrder: self._place,
            CancelOrder: self._cancel,
            PlaceStop: self._stop,
        }
        while queue:
            command = queue.popleft()
            if isinstance(command, Decision):
                self.decisions.append(command)
            elif isinstance(command, SetTimer):
                self._timers.pop(command.name, None)
                if command.due_ms:
                    self._timers[command.name] = command.due_ms
            elif type(command) in deeds:
                queue.extend(deeds[type(command)](command))

    def _answer(self, request: RequestForecast) -> Sequence[Command]:
        planted = self.said.get(request.model)
        if planted is None:
            return ()
        return self.driver.send(
            ForecastReady(
                request_id=request.request_id, symbol="SOLUSDT", model=request.model, version="v0001",
                model_sha256="ab", as_of_ms=request.as_of_ms, horizon_ms=2 * BAR, row_hash=request.row_hash,
                expected_bp=float(planted.expected_bp), p_up=planted.p_up, p_down=planted.p_down,
                quantiles_bp=planted.quantiles_bp,
            )
        )  # fmt: skip

    def _place(self, order: PlaceOrder) -> Sequence[Command]:
        self.orders.append(order)
        if order.order_type == "limit":
            self._resting[order.client_oid] = order
            return self.driver.send(self._state(order, "live"))
        bid, ask = touch(self.mid)
        self._fill(order, exact(ask if order.side == "buy" else bid), maker=False)
        return ()

    def _fill(self, order: PlaceOrder, price: Decimal, *, maker: bool) -> None:
        fee = -order.qty * price * FEES[maker]
        signed = order.qty if order.side == "buy" else -order.qty
        self.cash += fee - signed * price
        self.qty += signed
        fill = Filled(
            trade_id=f"t{len(self.fills)}", order_id=order.client_oid, client_oid=order.client_oid, symbol=order.symbol,
            side=order.side, price=price, qty=order.qty, fee=fee, realised=Decimal(0), maker=maker,
            ts_exchange_ms=self.driver.now_ms,
        )  # fmt: skip
        self.fills.append(fill)
        self.carry_out(self.driver.send(fill))
        self.carry_out(self.driver.send(self._state(order, "filled", order.qty)))

    def _cancel(self, command: CancelOrder) -> Sequence[Command]:
        order = self._resting.pop(command.client_oid, None)
        return () if order is None else self.driver.send(self._state(order, "canceled"))

    def _stop(self, command: PlaceStop) -> Sequence[Command]:
        return self.driver.send(
            StopUpdated(
                order_id=f"s{command.client_oid}", client_oid=command.client_oid, symbol=command.symbol,
                plan="pos_loss", trigger_price=command.trigger_price, status="live",
            )
        )  # fmt: skip

    def _state(self, order: PlaceOrder, status: str, filled: Decimal = Decimal(0)) -> OrderUpdated:
        return msgspec.convert(
            {
                "type": "order", "client_oid": order.client_oid, "order_id": order.client_oid, "symbol": order.symbol,
                "side": order.side, "status": status, "qty": order.qty, "filled_qty": filled,
                "reduce_only": order.reduce_only,
            },
            OrderUpdated,
        )  # fmt: skip


def touch(mid: float) -> tuple[float, float]:
    """Best bid and ask, a cent to either side."""
    return round(mid - 0.01, 2), round(mid + 0.01, 2)
