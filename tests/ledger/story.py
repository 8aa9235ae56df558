"""A run of the bot as the journal holds it: entry, fills, stop, close, funding, swap, halt, feed gap."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from tests.journal.records import T0, book, booted, decision, order
from tradebot.events import (
    AccountUpdated,
    Alert,
    CommandOutcome,
    Difference,
    FeedStatus,
    Filled,
    FundingPaid,
    ModelAnswer,
    ModelRef,
    ModelSwapped,
    OperatorActed,
    OrderUpdated,
    PlaceStop,
    PositionsReported,
    PositionState,
    Reconciled,
    RetrainEnded,
    StopUpdated,
    TradabilityChanged,
    TradeBooked,
    TradeState,
    Transferred,
    UniverseChanged,
)
from tradebot.journal import JournalRecord, Kind

OID = "tb0-1-2-e"


def fill(
    trade: str, qty: str, price: str = "93000.1", *, side: str = "buy", realised: str = "0", oid: str = OID
) -> Filled:
    return Filled(
        trade_id=trade,
        order_id="11" + oid[-1],
        client_oid=oid,
        symbol="BTCUSDT",
        side=side,  # type: ignore[arg-type]
        price=Decimal(price),
        qty=Decimal(qty),
        fee=Decimal("-0.55800060"),
        realised=Decimal(realised),
        maker=False,
        ts_exchange_ms=T0 + int(trade),
    )


def pushed(status: str, filled: str, *, oid: str = OID, order_id: str = "11e", side: str = "buy") -> OrderUpdated:
    return OrderUpdated(
        client_oid=oid,
        order_id=order_id,
        symbol="BTCUSDT",
        side=side,  # type: ignore[arg-type]
        status=status,  # type: ignore[arg-type]
        qty=Decimal("0.010"),
        filled_qty=Decimal(filled),
        avg_price=Decimal("93000.1") if Decimal(filled) else None,
        ts_exchange_ms=T0,
    )


def outcome(oid: str, command: str, result: str, order_id: str = "", code: str = "") -> CommandOutcome:
    return CommandOutcome(
        client_oid=oid,
        symbol="BTCUSDT",
        command=command,
        outcome=result,  # type: ignore[arg-type]
        order_id=order_id,
        code=code,
        message="said the exchange" if code else "",
    )


def stop(status: str) -> StopUpdated:
    return StopUpdated(
        order_id="11s",
        client_oid="tb0-1-4-s",
        symbol="BTCUSDT",
        plan="pos_loss",
        trigger_price=Decimal("91140.0"),
        status=status,
    )


def held(qty: str) -> PositionState:
    return PositionState(
        symbol="BTCUSDT",
        qty=Decimal(qty),
        entry_price=Decimal("93000.10"),
        liquidation_price=Decimal("70000"),
        opened_ms=T0,
    )


def account(equity: str) -> AccountUpdated:
    return AccountUpdated(equity=Decimal(equity), available=Decimal("9000.5"), balance=Decimal("1E+4"))


TRADE = TradeState(
    trade_id="BTCUSDT-1", symbol="BTCUSDT", side="long", opened_ms=T0 + 1, since_ms=T0 + 7, entry_decision="d1",
    entry_order=OID, strategy="threshold", model="lightgbm-5m", version="v0001", model_sha256="ab" * 32,
    entered_qty=Decimal("0.010"), entered_value=Decimal("930.0019"),
)  # fmt: skip


OPENED = TradeBooked(
    trade=msgspec.structs.replace(TRADE, fees=Decimal("-1.11600120"), fills=2),
    kind="fill",
    ref="2",
    ts_exchange_ms=T0 + 2,
    qty=Decimal("0.006"),
    price=Decimal("93000.25"),
    fee=Decimal("-0.55800060"),
)
ENDED = TradeBooked(
    trade=msgspec.structs.replace(
        TRADE,
        fees=Decimal("-1.67400180"), funding=Decimal("-0.0930001"), realised=Decimal("1.2345678901234567"), fills=3,
        exited_qty=Decimal("0.010"), exited_value=Decimal("931.2364678901234567"), closed_ms=T0 + 7, end="exit",
        exit_decision="d2", exit_order="tb0-1-10-x", best_bp=12.5, worst_bp=-3.25,
    ),
    kind="fill",
    ref="7",
    ts_exchange_ms=T0 + 7,
    qty=Decimal("0.010"),
    price=Decimal("93000.1"),
    realised=Decimal("1.2345678901234567"),
    fee=Decimal("-0.55800060"),
)  # fmt: skip
ANSWERS = (
    ModelAnswer(model="lightgbm-5m", version="v0001", sha256="ab" * 32, expected_bp=7.25, p_up=0.61, p_down=0.39),
    ModelAnswer(model="mlp-5m", missing="late"),
)

MODEL = ModelRef(
    symbol="BTCUSDT", name="lightgbm-5m", version="v0002", sha256="cd" * 32, schema_hash="x", horizon_ms=600_000
)

STORY: tuple[tuple[Kind, JournalRecord], ...] = (
    ("input", booted()),
    ("input", book(0)),
    ("input", account("10000.00000001")),
    ("input", FeedStatus(symbol="BTCUSDT", ok=True)),
    ("output", msgspec.structs.replace(decision("d1", oid=OID), hook="on_forecast", models=ANSWERS)),
    ("output", order(OID)),
    ("input", outcome(OID, "place", "accepted", "11e")),
    ("input", fill("1", "0.004")),
    ("input", pushed("partially_filled", "0.004")),
    ("input", pushed("live", "0")),  # late
    (
        "output",
        PlaceStop(client_oid="tb0-1-4-s", symbol="BTCUSDT", position_side="long", trigger_price=Decimal("91140")),
    ),
    ("input", outcome("tb0-1-4-s", "place_stop", "accepted", "11s")),
    ("input", stop("live")),
    ("input", fill("2", "0.006", "93000.25")),
    ("input", fill("1", "0.004")),  # reported again
    ("output", OPENED),
    ("input", pushed("filled", "0.010")),
    ("input", PositionsReported(positions=(held("0.010"),))),
    ("input", PositionsReported(positions=(held("0.010"),))),  # nothing new
    ("input", book(1)),
    ("input", account("9999.1")),
    ("input", account("9999.10")),  # nothing new
    ("output", decision("d2", T0 + 300_000, expected_bp=float("nan"))),
    ("input", FundingPaid(bill_id="b1", symbol="BTCUSDT", amount=Decimal("-0.0930001"), ts_exchange_ms=T0 + 9)),
    ("input", FundingPaid(bill_id="b1", symbol="BTCUSDT", amount=Decimal("-0.0930001"), ts_exchange_ms=T0 + 9)),
    ("input", Transferred(bill_id="b2", amount=Decimal("-100.50"), ts_exchange_ms=T0 + 9)),
    ("input", Transferred(bill_id="b2", amount=Decimal("-100.50"), ts_exchange_ms=T0 + 9)),
    ("input", ModelSwapped(ref=MODEL, reason="better by 1.2 bp")),
    (
        "input",
        RetrainEnded(
            job_id="j1", symbol="BTCUSDT", model="lightgbm-5m", version="v0002", verdict="provisional", reason="r"
        ),
    ),
    ("input", OperatorActed(action="halt", actor="cli:ann", reason="lunch")),
    ("output", TradabilityChanged(state="halted", reason="daily loss", symbol="BTCUSDT")),
    ("output", Alert(severity="critical", code="halt", message="NUL \x00 and ünïcode", symbol="BTCUSDT")),
    ("output", Difference(kind="leverage", symbol="BTCUSDT", ours="2", theirs="20", done="entries are blocked")),
    ("output", order("tb0-1-9-x")),
    ("input", outcome("tb0-1-9-x", "place", "unknown")),
    ("input", outcome("tb0-1-9-x", "place", "rejected", code="40762")),
    ("output", order("tb0-1-10-x")),
    ("input", fill("7", "0.010", side="sell", realised="1.2345678901234567", oid="tb0-1-10-x")),
    ("output", ENDED),
    ("input", UniverseChanged(symbols=("BTCUSDT", "SOLUSDT"), reason="SOLUSDT came")),
    ("input", outcome("tb0-1-10-x", "place", "accepted", "11x")),  # the answer after the execution
    ("input", stop("cancelled")),
    ("input", pushed("filled", "0.5", oid="", order_id="999", side="sell")),  # foreign
    ("input", Reconciled(positions=(), open_orders=(pushed("live", "0", oid="web-1", order_id="77"),), stops=())),
    ("input", FeedStatus(symbol="BTCUSDT", ok=False, reason="gap")),
)
