"""Records for journal and ledger tests."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from tradebot.events import (
    BookSampled,
    Booted,
    Decision,
    EngineConfig,
    PlaceOrder,
    RiskCheck,
    TimerFired,
)
from tradebot.journal.frames import HEADER_SIZE, RawFrame, parse_frame

T0 = 1_767_571_200_000


def booted(epoch: int = 1, symbols: tuple[str, ...] = ("BTCUSDT",)) -> Booted:
    config = EngineConfig(mode="demo", symbols=symbols, strategy="threshold", strategy_params={"entry_bp": 5.0})
    return Booted(epoch=epoch, config=config, settings_hash="s" * 8, engine_hash="e" * 8, strategy_hash="t" * 8)


def book(i: int = 0, symbol: str = "BTCUSDT") -> BookSampled:
    return BookSampled(
        symbol=symbol,
        boundary_ms=T0 + 1_000 * i,
        age_ms=123,
        bid_px=tuple(93_000.1 - 0.1 * n for n in range(10)),
        bid_sz=tuple(1.5 + n for n in range(10)),
        ask_px=tuple(93_000.2 + 0.1 * n for n in range(10)),
        ask_sz=tuple(0.5 + n for n in range(10)),
        buy_volume=3.25,
    )


def timer(i: int) -> TimerFired:
    return TimerFired(name=f"t{i}", due_ms=T0 + i)


def order(oid: str = "tb0-1-2-e", qty: str = "0.010", symbol: str = "BTCUSDT") -> PlaceOrder:
    return PlaceOrder(
        client_oid=oid,
        symbol=symbol,
        side="buy",
        order_type="market",
        qty=Decimal(qty),
        purpose="entry",
        decision_id=f"d-{oid}",
        preset_stop=Decimal("91140.0"),
    )


def decision(name: str = "d1", ts_ms: int = T0, *, expected_bp: float | None = 7.25, oid: str = "") -> Decision:
    return Decision(
        decision_id=name,
        ts_ms=ts_ms,
        symbol="BTCUSDT",
        mode="demo",
        strategy="threshold",
        action="enter_long",
        reason="expected 7.25 bp over 5 bp",
        verdict="shrink",
        checks=(RiskCheck(name="max_position_notional", value="2500.00", limit="2000", verdict="shrink"),),
        model="lightgbm-5m",
        version="v0001",
        model_sha256="ab" * 32,
        row_hash="0123456789abcdef",
        expected_bp=expected_bp,
        p_up=0.61,
        p_down=0.39,
        provisional=True,
        bid=93_000.1,
        ask=93_000.2,
        position_qty=Decimal("0"),
        qty=Decimal("0.010"),
        client_oid=oid,
    )


def ends(segment: Path) -> list[int]:
    """Where each record of a segment ends."""
    data, at, found = segment.read_bytes(), HEADER_SIZE, []
    while at < len(data):
        frame = parse_frame(data, at)
        at = frame.end
        if isinstance(frame, RawFrame):
            found.append(at)
    return found
