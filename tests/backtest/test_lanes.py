"""Leaving out what can change nothing: every decision, execution and look at the account is as if nothing had been."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.backtest.runs import STRATEGIES, Records, asked, run
from tests.sim.recordings import START, book_columns, candle_columns, trade_columns, write
from tradebot.events import BookSampled, TradeBooked


def assert_same_whether_shown_everything(**more: Any) -> tuple[Records, Records]:
    whole, sparse = Records(), Records()
    all_rows = run(asked(every_row=True, **more), whole)
    needed = run(asked(**more), sparse)
    assert sparse.decisions == whole.decisions
    assert sparse.fills == whole.fills
    assert sparse.of(TradeBooked) == whole.of(TradeBooked)
    for name in (
        "decisions_sha256",
        "equity",
        "net",
        "funding",
        "orders",
        "fills",
        "candles",
        "positions",
        "reconcile",
    ):
        assert needed.result[name] == all_rows.result[name], name
    assert all(needed.result["reconcile"].values())
    for name in ("ts_ms", "equity", "balance", "gross", "net"):
        assert getattr(needed.equity, name).tolist() == getattr(all_rows.equity, name).tolist(), name
    return whole, sparse


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 10_000),
    symbols=st.sampled_from([("SOLUSDT",), ("SOLUSDT", "XRPUSDT"), ("GEN003USDT", "BTCUSDT", "GEN001USDT")]),
    move_bp=st.sampled_from([6.0, 20.0, 60.0]),
    candles=st.integers(1, 4),
    maker=st.booleans(),
    take_profit_bp=st.sampled_from([None, 15.0]),
)
def test_generated_markets(seed: int, symbols: tuple[str, ...], **params: Any) -> None:
    assert_same_whether_shown_everything(days=0.25, seed=seed, symbols=symbols, params=params, history_days=9)


def test_a_market_that_hardly_trades_shows_how_old_its_book_is(tmp_path: Path) -> None:
    columns = candle_columns(9 * 288, seed=4)
    columns["volume"][:] = 0.2  # one lot at every level: the best levels often stand for minutes
    file = write(tmp_path / "test_SOLUSDT_perp_5m.parquet", columns)
    whole, sparse = assert_same_whether_shown_everything(data=(file,), days=0.5, params={"move_bp": 1.0})
    ages = [check.value for d in whole.decisions for check in d.checks if check.name == "book_age_ms"]
    assert {"0", "30000"} <= set(ages)
    assert len(sparse.lines) < len(whole.lines)


def test_minutes_make_the_five_minutes_that_are_decided_on(tmp_path: Path) -> None:
    file = write(tmp_path / "test_SOLUSDT_perp_1m.parquet", candle_columns(9 * 1440, seed=5, step_ms=60_000))
    whole, sparse = assert_same_whether_shown_everything(data=(file,), days=0.2, params={"move_bp": 15.0})
    assert whole.fills
    assert len(sparse.lines) < len(whole.lines)


@pytest.mark.parametrize("left_out", [(), (3_000, 3_001, 3_002, 5_100)])
def test_recorded_books(tmp_path: Path, left_out: tuple[int, ...]) -> None:
    books = book_columns(9_000, left_out=left_out)
    files = (
        write(tmp_path / "test_SOLUSDT_perp_20260105_1s_l10.parquet", books),
        write(tmp_path / "test_SOLUSDT_perp_20260105_trades.parquet", trade_columns(books)),
        write(
            tmp_path / "test_SOLUSDT_perp_5m.parquet",
            candle_columns(10 * 288, first_ms=START - 10 * 86_400_000),
        ),
    )
    whole, sparse = assert_same_whether_shown_everything(data=(files[0], files[2]), days=0.1, params={"move_bp": 1.0})
    assert whole.fills
    assert len(sparse.lines) < len(whole.lines)


def test_a_strategy_that_watches_books_is_shown_every_row(tmp_path: Path) -> None:
    source = (STRATEGIES / "pendulum.py").read_text()
    watching = source + "\n    def on_book(self, view: View) -> None:\n        return None\n"
    (tmp_path / "watcher.py").write_text(watching)
    watched, plain = Records(), Records()
    run(asked("watcher", strategies_dir=tmp_path, days=0.1, history_days=9), watched)
    run(asked(days=0.1, history_days=9, every_row=True), plain)
    assert len(watched.of(BookSampled)) == len(plain.of(BookSampled)) > 100


@pytest.mark.parametrize("seed", [31, 32])
def test_how_far_the_mark_has_been_since_an_entry(seed: int) -> None:
    """Orders that rest for seconds make the exchange say something between two steps of a market: its ticker too, of
    which the position that was just opened takes the mark."""
    symbols = ("BTCUSDT", "SOLUSDT", "XRPUSDT")
    whole, _ = assert_same_whether_shown_everything(
        strategy="mixer", days=0.5, seed=seed, symbols=symbols, history_days=9
    )
    assert len(whole.fills) > 20
