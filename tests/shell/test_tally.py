"""Counting what happened: an execution that is reported again, and what is remembered for that."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from tests.trading.test_trades import filled
from tradebot.events import ModelRef, ModelSwapped, RetrainEnded, TradeBooked, TradeState
from tradebot.jobs import JobResult
from tradebot.shell.result import gates
from tradebot.shell.tally import Tally
from tradebot.trading.state import KEEP_TRADE_IDS


def test_an_execution_that_is_reported_again_counts_once_and_what_is_remembered_is_bounded() -> None:
    tally = Tally()
    fills = [filled(number, "buy", "1", "100") for number in range(KEEP_TRADE_IDS + 500)]
    for record in [*fills, fills[-1]]:
        tally(0, 0, record)
    assert tally.fills == len(fills)
    assert len(tally._trades) == KEEP_TRADE_IDS


def test_a_trade_is_credited_to_the_version_that_opened_it_whenever_it_ends() -> None:
    tally = Tally()

    def serve(version: str, at_ms: int, symbol: str = "SOLUSDT") -> None:
        ref = ModelRef(symbol=symbol, name="tree", version=version, sha256="", schema_hash="", horizon_ms=600_000)
        tally(0, at_ms, ModelSwapped(ref=ref))

    def book(opened_ms: int, version: str, realised: str, *, closed_ms: int = 0, symbol: str = "SOLUSDT") -> None:
        trade = TradeState(
            trade_id="t", symbol=symbol, side="long", opened_ms=opened_ms, since_ms=opened_ms, closed_ms=closed_ms,
            model="tree", version=version,
        )  # fmt: skip
        booked = TradeBooked(trade=trade, kind="fill", ref="", ts_exchange_ms=0, realised=Decimal(realised))
        tally(0, closed_ms or opened_ms, replace(booked, fee=Decimal("-0.5"), funding=Decimal("0.25")))

    serve("v1", 100)
    serve("v1", 100, "BTCUSDT")
    book(110, "v1", "0")
    serve("v2", 200)
    book(110, "v1", "3", closed_ms=210)  # ends when v2 serves, and is v1's
    book(220, "v2", "-4", closed_ms=230)
    serve("v1", 300)  # taken back
    book(310, "v1", "7", closed_ms=320)
    book(50, "v0", "100", closed_ms=330)  # of a run before this one
    book(60, "v1", "100", closed_ms=340, symbol="BTCUSDT")  # before it served in this one
    assert [(s.ref.symbol, s.ref.version, s.since_ms, s.trades, s.net) for s in tally.services] == [
        ("SOLUSDT", "v1", 100, 1, Decimal("2.5")),
        ("BTCUSDT", "v1", 100, 0, Decimal(0)),
        ("SOLUSDT", "v2", 200, 1, Decimal("-4.25")),
        ("SOLUSDT", "v1", 300, 1, Decimal("6.75")),
    ]
    now = tally.service("SOLUSDT", "tree")
    assert now is not None
    assert now.since_ms == 300
    assert tally.service("SOLUSDT", "other") is None


def test_a_verdict_is_told_with_whose_version_it_is_and_up_to_when_its_candles_went() -> None:
    first = JobResult(
        id="01767571200000-SOLUSDT-lightgbm", symbol="SOLUSDT", model="lightgbm", verdict="promoted", promoted=True,
        reason="passed", exit_code=0, version="v0001",
    )  # fmt: skip
    later = RetrainEnded(
        job_id="mine", symbol="XRPUSDT", model="bilstm-1h", version="v0003", verdict="refused", reason="not better"
    )
    assert gates([first], [later]) == [
        {"job": first.id, "symbol": "SOLUSDT", "model": "lightgbm", "version": "v0001", "first": True,
         "verdict": "promoted", "reason": "passed", "data_to": 1_767_571_200_000},
        {"job": "mine", "symbol": "XRPUSDT", "model": "bilstm-1h", "version": "v0003", "first": False,
         "verdict": "refused", "reason": "not better", "data_to": None},
    ]  # fmt: skip
