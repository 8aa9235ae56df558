"""Drives an engine by hand, the way the daemon's shell does."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tradebot.events import (
    AccountUpdated,
    AccountVerified,
    BookTop,
    Booted,
    CandleClosed,
    CandleHistory,
    ClockMeasured,
    Command,
    Decision,
    DurableState,
    EngineConfig,
    Event,
    FeedStatus,
    Filled,
    ForecastReady,
    InstrumentUpdated,
    ModelRef,
    ModelSwapped,
    PlaceOrder,
    Record,
    RequestForecast,
    Restored,
    RiskLimits,
)
from tradebot.market.candle import Candle
from tradebot.market.instrument import ARITHMETIC, Instrument
from tradebot.trading.engine import Engine
from tradebot.trading.loading import load_strategy
from tradebot.trading.strategy import Strategy

STRATEGIES = Path(__file__).resolve().parents[2] / "strategies"
MONDAY = 1_767_571_200_000
"""2026-01-05 00:00 UTC."""
BAR = 300_000
SOL = Instrument(
    symbol="SOLUSDT", tick=Decimal("0.01"), lot=Decimal("0.1"), min_qty=Decimal("0.1"),
)  # fmt: skip

LEVELS: dict[str, Any] = {"entry_long_bp": 5.0, "entry_short_bp": 5.0}
TURNING: dict[str, Any] = {**LEVELS, "exits": [{"kind": "reversal"}, {"kind": "time", "horizons": 1}]}
"""Parameters of a threshold strategy that also leaves when the forecast turns."""

R = TypeVar("R", bound=Record)


class Driver:
    """An engine warmed up and allowed to trade, at ``now_ms``. Markets move for the first of ``symbols`` only."""

    def __init__(
        self,
        strategy: type[Strategy] | None = None,
        *,
        mode: str = "demo",
        params: dict[str, Any] | None = None,
        limits: RiskLimits | None = None,
        provisional: bool = False,
        state: DurableState | None = None,
        bars: int = 4_032,
        symbols: tuple[str, ...] = ("SOLUSDT",),
        models: tuple[str, ...] = (),
    ) -> None:
        chosen = strategy or load_strategy(STRATEGIES, "threshold")[0]
        self.engine = Engine(chosen)
        self.now_ms = MONDAY
        self.journal: list[tuple[int, str, Record]] = []
        self.trade_number = 0
        config = EngineConfig(
            mode=mode,  # type: ignore[arg-type]
            symbols=symbols,
            strategy="threshold",
            strategy_params={"entry_long_bp": 5.0, "entry_short_bp": 5.0} if params is None else params,
            models=models,
            risk=limits or RiskLimits(),
        )
        self.send(Booted(epoch=1, config=config, settings_hash="s", engine_hash="e", strategy_hash="x"))
        self.send(Restored(state=state or DurableState()))
        for name in symbols:
            self.send(InstrumentUpdated(instrument=msgspec.structs.replace(SOL, symbol=name)))
            self.send(AccountVerified(symbol=name, position_mode="one_way_mode", margin_mode="isolated", leverage=2))
        self.send(ClockMeasured(offset_ms=3))
        self.send(AccountUpdated(equity=Decimal(10_000), available=Decimal(10_000), balance=Decimal(10_000)))
        history = tuple(wave(MONDAY - BAR * (bars - i)) for i in range(bars))
        self.send(CandleHistory(symbol="SOLUSDT", interval="5m", candles=history))
        self.send(FeedStatus(symbol="SOLUSDT", ok=True))
        self.send(
            ModelSwapped(
                ref=ModelRef(
                    symbol="SOLUSDT", name="lightgbm-5m", version="v0001", sha256="ab", schema_hash="cd",
                    horizon_ms=2 * BAR, provisional=provisional,
                )
            )
        )  # fmt: skip
        self.book(100.0)

    def send(self, event: Event) -> Sequence[Command]:
        commands = list(self.engine.handle(self.now_ms, event))
        self.journal.append((self.now_ms, "input", event))
        self.journal += [(self.now_ms, "output", c) for c in commands]
        return commands

    def book(self, mid: float, spread: float = 0.02) -> Sequence[Command]:
        return self.send(
            BookTop(
                symbol="SOLUSDT", ts_exchange_ms=self.now_ms, bid=round(mid - spread / 2, 2), bid_size=50.0,
                ask=round(mid + spread / 2, 2), ask_size=50.0,
            )
        )  # fmt: skip

    def candle(self) -> Sequence[Command]:
        """Close the next candle, with a fresh book."""
        opened = self.now_ms // BAR * BAR
        self.now_ms = opened + BAR
        self.book(100.0)
        return self.send(CandleClosed(symbol="SOLUSDT", interval="5m", candle=wave(opened)))

    def forecast(self, expected_bp: float, commands: Sequence[Command] | None = None) -> Sequence[Command]:
        """Close a candle and answer its forecast request (or the one in ``commands``)."""
        request = only(commands if commands is not None else self.candle(), RequestForecast)
        return self.send(
            ForecastReady(
                request_id=request.request_id, symbol="SOLUSDT", model="lightgbm-5m", version="v0001",
                model_sha256="ab", as_of_ms=request.as_of_ms, horizon_ms=2 * BAR, row_hash=request.row_hash,
                expected_bp=expected_bp, p_up=0.4, p_down=0.3,
                provisional=bool(self.engine.symbols["SOLUSDT"].model.provisional),  # type: ignore[union-attr]
            )
        )  # fmt: skip

    def fill(self, order: PlaceOrder, price: str, qty: Decimal | None = None, trade_id: str = "") -> Sequence[Command]:
        self.trade_number += 1
        amount = order.qty if qty is None else qty
        return self.send(
            Filled(
                trade_id=trade_id or f"t{self.trade_number}", order_id="1", client_oid=order.client_oid,
                symbol=order.symbol, side=order.side, price=Decimal(price), qty=amount,
                fee=ARITHMETIC.multiply(-amount * Decimal("0.0006"), Decimal(price)), realised=Decimal(0), maker=False,
                ts_exchange_ms=self.now_ms,
            )
        )  # fmt: skip

    def enter(self, expected_bp: float = 20.0, price: str = "100.01") -> PlaceOrder:
        """Open a position and return its entry order."""
        order = only(self.forecast(expected_bp), PlaceOrder)
        self.fill(order, price)
        return order


def wave(open_time_ms: int) -> Candle:
    """A gentle deterministic candle around 100 USDT."""
    k = open_time_ms // BAR
    close = 100.0 + (k * 7919 % 101 - 50) / 100.0
    opened = 100.0 + ((k - 1) * 7919 % 101 - 50) / 100.0
    return Candle(
        open_time_ms, opened, max(opened, close) + 0.05, min(opened, close) - 0.05, close, 1_000.0 + k % 37, 100_000.0
    )


def of(commands: Sequence[Command], kind: type[R]) -> list[R]:
    return [c for c in commands if isinstance(c, kind)]


def only(commands: Sequence[Command], kind: type[R]) -> R:
    found = of(commands, kind)
    assert len(found) == 1, f"expected one {kind.__name__}, got {commands}"
    return found[0]


def decision(commands: Sequence[Command]) -> Decision:
    return only(commands, Decision)
