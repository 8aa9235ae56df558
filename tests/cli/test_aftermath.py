"""What came of a decision: how quick it was, where the price went, what its trade earned."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Tradebot
from tests.cli.test_signals import BAR, START, decision, write
from tests.faults.model import plant
from tradebot.events import Decision, Filled, PlaceOrder, RiskCheck, TradeBooked, TradeState
from tradebot.ledger import Ledger, Projector
from tradebot.registry import ModelKey, ModelStore

HORIZON_MS = 2 * BAR
STORE = "models"
OID = "tb0-1-2-e"


def decided(number: int, mid: float, **changes: Any) -> dict[str, Any]:
    return decision(number, bid=mid - 0.05, ask=mid + 0.05, **changes)


@pytest.fixture
def state(home: Path) -> Path:
    """Four candles; the first decision enters and is executed 55 ms later."""
    plant(home / STORE, ("SOLUSDT",))
    sha256 = ModelStore(home / STORE).load(ModelKey("SOLUSDT", "lightgbm", "5m")).manifest.sha256
    named = {"model_sha256": sha256, "expected_bp": 12.0}
    entered = {"action": "enter_long", "qty": Decimal("5.0"), "client_oid": OID}
    rows = [
        decided(1, 100.0, ts_ms=START + BAR + 30, **entered, **named),
        decided(2, 99.0, **named),
        decided(3, 99.5, ts_ms=START + 3 * BAR + 31, **named),
        decided(4, 101.0, **named),
    ]
    write(home / "state", rows)
    ledger = Ledger(f"sqlite:///{home / 'state' / 'ledger.sqlite'}")
    ledger.upgrade()
    projector = Projector(ledger)
    names = Decision.__struct_fields__
    for i, row in enumerate(rows):
        fields = {name: row[name] for name in names if name in row}
        checks = tuple(RiskCheck(*check.values()) for check in row["checks"])
        fields |= {"checks": checks, "qty": Decimal(row["qty"]), "position_qty": Decimal(0), "models": ()}
        projector.apply(1, 10 * i + 1, row["ts_ms"], Decision(**fields))
    order = PlaceOrder(
        client_oid=OID, symbol="SOLUSDT", side="buy", order_type="market", qty=Decimal("5.0"), purpose="entry",
        decision_id="1-1",
    )  # fmt: skip
    projector.apply(1, 41, START + BAR + 30, order)
    fill = Filled(
        trade_id="t1", order_id="77", client_oid=OID, symbol="SOLUSDT", side="buy", price=Decimal("100.05"),
        qty=Decimal("5.0"), fee=Decimal("-0.3"), realised=Decimal(0), maker=False, ts_exchange_ms=START + BAR + 85,
    )  # fmt: skip
    projector.apply(1, 42, START + BAR + 92, fill)
    trade = TradeState(
        trade_id="1-9", symbol="SOLUSDT", side="long", opened_ms=START + BAR + 85, closed_ms=START + 4 * BAR,
        entry_decision="1-1", exit_decision="1-4", entered_qty=Decimal(5), entered_value=Decimal("500.25"),
        exited_qty=Decimal(5), exited_value=Decimal("505.25"), realised=Decimal(5), fees=Decimal("-0.6"), fills=2,
        end="exit",
    )  # fmt: skip
    projector.apply(1, 43, START + 4 * BAR, TradeBooked(trade=trade, kind="fill", ref="t2", ts_exchange_ms=0))
    projector.commit()
    ledger.close()
    return home / "state"


def show(tradebot: Tradebot, decision_id: str, *more: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(tradebot("signals", "show", decision_id, "--json", *more).out)
    return told


def test_latency_goes_from_the_close_to_what_was_heard_of_the_execution(tradebot: Tradebot, state: Path) -> None:
    assert show(tradebot, "1-1")["latency_ms"] == {
        "decided_after_close": 30, "executed_after_decision": 55, "heard_after_execution": 7,
    }  # fmt: skip
    assert show(tradebot, "1-3")["latency_ms"] == {
        "decided_after_close": 31, "executed_after_decision": None, "heard_after_execution": None,
    }  # fmt: skip
    text = tradebot("signals", "show", "1-1").out
    assert "30 ms after the close, executed 55 ms later, heard of 7 ms after that" in text


def test_a_decision_that_a_book_asked_for_has_no_latency_after_a_close(tradebot: Tradebot, home: Path) -> None:
    rows = [decided(n, 100.0, ts_ms=START + BAR + 30, hook=hook) for n, hook in ((1, "on_book"), (2, "on_candle"))]
    write(home / "state", rows)
    assert show(tradebot, "1-1")["latency_ms"]["decided_after_close"] is None
    assert "after the close" not in tradebot("signals", "show", "1-1").out
    assert show(tradebot, "1-2")["latency_ms"]["decided_after_close"] == 30


def test_the_outcome_is_the_price_that_the_next_decision_saw_once_the_forecasts_time_was_up(
    tradebot: Tradebot, state: Path
) -> None:
    came = show(tradebot, "1-1", "--store", STORE)["outcome"]
    assert came["due_ms"] == START + BAR + 30 + HORIZON_MS
    assert came["seen_ms"] == START + 3 * BAR + 31
    assert came["moved_bp"] == pytest.approx(-50.0)
    assert "-50.0000 bp until 2025-11-05 14:15:00: not as forecast" in tradebot(
        "signals", "show", "1-1", "--store", STORE
    ).out.replace("  ", " ")


def test_an_outcome_that_is_not_known_yet_says_when_it_will_be(tradebot: Tradebot, state: Path) -> None:
    assert show(tradebot, "1-4", "--store", STORE)["outcome"]["moved_bp"] is None
    text = tradebot("signals", "show", "1-4", "--store", STORE).out
    assert "not known before 2025-11-05 14:30:00" in text


def test_without_the_model_nobody_knows_how_far_it_looked(tradebot: Tradebot, state: Path) -> None:
    assert show(tradebot, "1-1", "--store", "elsewhere")["outcome"] is None


def test_entry_and_exit_both_tell_of_their_trade(tradebot: Tradebot, state: Path) -> None:
    for decision_id in ("1-1", "1-4"):
        assert show(tradebot, decision_id)["trade"]["net"] == "4.4"
        assert (
            "1-9 long: net 4.4 (+87.96 bp) USDT, exit 2025-11-05 14:20:00"
            in tradebot("signals", "show", decision_id).out
        )
    assert show(tradebot, "1-2")["trade"] is None
