"""What a person sees: drawn from plain snapshots, whatever is missing in them."""

from __future__ import annotations

import io
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from tradebot.cli.summary import render_summary
from tradebot.cli.view import Display, plain, render
from tradebot.daemon.snapshot import Snapshot

FULL: Snapshot = {
    "mode": "demo",
    "source": "generated market with a planted signal",
    "phase": "trading",
    "from_ms": 1_762_000_000_000,
    "now_ms": 1_762_500_000_000,
    "to_ms": 1_763_000_000_000,
    "speed": "max",
    "rate": 4100.0,
    "wall_s": 122.0,
    "equity": 10_012.3,
    "start_equity": 10_000.0,
    "realised": 14.2,
    "fees": -3.2,
    "tradability": "active",
    "symbols": [
        {
            "symbol": "SOLUSDT",
            "price": 161.25,
            "bids": [(161.2, 100.0), (161.1, 50.0)],
            "asks": [(161.3, 20.0), (161.4, 80.0)],
            "imbalance": 0.2,
            "position_qty": 3.1,
            "entry_price": 160.9,
            "unrealised": 1.02,
            "stop_price": 157.7,
            "model": "lightgbm",
            "model_version": "v0002",
            "provisional": True,
        }
    ],
    "signals": [
        {
            "decision_id": "1-5",
            "ts_ms": 1_762_500_000_000,
            "symbol": "SOLUSDT",
            "action": "enter_long",
            "verdict": "block",
            "reason": "expected +5.31 bp >= 3.00",
            "blocked_by": "cooldown_ms",
            "expected_bp": 5.31,
            "version": "v0002",
            "provisional": True,
        }
    ],
    "jobs": [
        {"symbol": "SOLUSDT", "model": "lightgbm", "state": "running", "stage": "tune", "done": 3, "total": 8,
         "message": "loss 0.98", "elapsed_s": 4.0, "eta_s": 9.0},
        {"id": "7-SOLUSDT-lightgbm", "state": "done", "verdict": "refused", "reason": "not better"},
    ],
    "counts": {"signals": 41, "blocked": 7, "orders": 12, "fills": 11},
}  # fmt: skip


def drawn(what: RenderableType, width: int = 140) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(what)
    return stream.getvalue()


def test_the_view_shows_market_position_model_signal_and_job() -> None:
    text = drawn(render(FULL))
    for part in (
        "tradebot demo", "planted signal", "2025-11-07 07:20:00 UTC", "4100 x the wall", "50%",
        "equity 10,012.30", "+12.30", "signals 41 (7 blocked)", "SOLUSDT 161.25", "imbalance +0.20",
        "long 3.1 @ 160.9", "stop 157.7", "lightgbm v0002", "provisional", "enter_long", "+5.31 bp", "v0002~",
        "[cooldown_ms]", "tune 3/8", "eta 9s", "7-SOLUSDT-lightgbm  refused  not better",
    ):  # fmt: skip
        assert part in text, (part, text)


def test_a_position_without_a_stop_and_a_broken_feed_stand_out() -> None:
    text = drawn(
        render(
            {
                "symbols": [
                    {"symbol": "SOLUSDT", "position_qty": -2.0, "feed_ok": False, "feed_reason": "sequence gap"}
                ],
                "tradability": "halted",
                "halt_reason": "daily loss",
            }
        )
    )
    assert "short 2" in text
    assert "NO STOP YET" in text
    assert "FEED: sequence gap" in text
    assert "HALTED daily loss" in text


def test_many_symbols_become_rows() -> None:
    names = [f"C{i}USDT" for i in range(10)]
    text = drawn(render({"symbols": [{"symbol": name, "price": 1.5} for name in names]}))
    assert all(name in text for name in names)
    assert len(text.splitlines()) < 16


def test_text_from_outside_is_never_read_as_markup() -> None:
    text = drawn(render({"signals": [{"reason": "[bold]x[/bold] [/]", "action": "hold"}], "source": "[red]f"}))
    assert "[bold]x[/bold] [/]" in text
    assert "[red]f" in text


@given(st.sets(st.sampled_from(sorted(FULL))), st.integers(min_value=20, max_value=200))
def test_any_key_may_be_missing_at_any_width(missing: set[str], width: int) -> None:
    partial: Any = {key: value for key, value in FULL.items() if key not in missing}
    drawn(render(partial), width)
    assert "\n" not in plain(partial)


@given(st.data())
def test_any_part_of_a_symbol_signal_or_job_may_be_missing(data: st.DataObject) -> None:
    thin: Any = dict(FULL)
    for name in ("symbols", "signals", "jobs"):
        thin[name] = [
            {key: value for key, value in item.items() if data.draw(st.booleans())}
            for item in FULL[name]  # type: ignore[literal-required]
        ]
    drawn(render(thin))
    plain(thin)


def test_without_a_terminal_there_are_plain_lines_and_only_when_something_changed() -> None:
    stream = io.StringIO()
    with Display(stream) as display:
        display.show({"phase": "starting", "wall_s": 0.0})
        display.show({"phase": "starting", "wall_s": 0.1})
        display.show(FULL)
        display.show(FULL)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert "\x1b" not in stream.getvalue()
    assert lines[1].startswith("2m02s  trading  2025-11-07 07:20:00  50%  equity 10012.30  SOLUSDT 161.25 +3.1 v0002~")
    assert "training SOLUSDT lightgbm: tune 3/8, eta 9s" in lines[1]


RESULT: dict[str, Any] = {
    "mode": "demo", "source": "recorded: x.parquet", "symbols": ["SOLUSDT"], "from": 1_762_000_000_000,
    "to": 1_763_209_600_000, "decisions_sha256": "ab", "events": 1234, "book_updates": 99, "candles": 72,
    "forecasts": 72, "late_forecasts": 0, "dropped_events": 0, "signals": 9, "blocked": 2, "orders": 7, "fills": 7,
    "retrains": 1, "promotions": 0, "swaps": 0, "equity": "9990.25",
    "replay": {"decisions": 72, "mismatches": 0},
    "reconcile": {"positions_equal": True, "balance_equal": True, "orders_equal": True},
    "gate": [{"job": "j", "version": "v0001", "verdict": "refused", "reason": "12 trades, too few"}],
}  # fmt: skip


def test_the_closing_words_state_the_gate_and_the_checks() -> None:
    text = drawn(render_summary(RESULT))
    for part in ("x.parquet", "9,990.25", "refused v0001: 12 trades, too few", "72 decisions recomputed",
                 "agree with the exchange's"):  # fmt: skip
        assert part in text, text


def test_a_failed_check_is_said_plainly() -> None:
    bad = RESULT | {
        "replay": {"decisions": 72, "mismatches": 3},
        "reconcile": {"positions_equal": False, "balance_equal": True, "orders_equal": False},
    }
    text = drawn(render_summary(bad))
    assert "3 of 72 decisions came out DIFFERENTLY" in text
    assert "DISAGREE on: positions, orders" in text
