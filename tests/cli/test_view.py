"""What a person sees: drawn from plain snapshots, whatever is missing in them."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from tradebot.cli.summary import render_summary
from tradebot.cli.view import Display, page, plain, render
from tradebot.daemon.demo.asked import Demo
from tradebot.daemon.snapshot import Snapshot
from tradebot.market.candle import DAY_MS

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
            "model": "bilstm-1h",
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


def serving(model: str, version: str, since_ms: int) -> Any:
    return {"model": model, "version": version, "since_ms": since_ms}


def drawn(what: RenderableType, width: int = 140) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(what)
    return stream.getvalue()


def test_the_view_shows_market_position_model_signal_and_job() -> None:
    text = drawn(render(FULL))
    for part in (
        "tradebot demo", "planted signal", "2025-11-07 07:20:00 UTC", "4100 x the wall", "50%",
        "equity 10,012.30", "+12.30", "signals 41 (7 blocked)", "SOLUSDT 161.25", "imbalance +0.20",
        "long 3.1 @ 160.9", "stop 157.7", "lightgbm v0002", "provisional", "enter_long", "+5.31 bp", "bilstm-1h/v0002~",
        "[cooldown_ms]", "tune 3/8", "eta 9s", "7-SOLUSDT-lightgbm  refused  not better",
    ):  # fmt: skip
        assert part in text, (part, text)


def test_since_when_the_model_serves_is_shown() -> None:
    symbol = {**FULL["symbols"][0], "models": [serving("lightgbm", "v0002", 1_762_500_000_000)]}
    assert "lightgbm v0002  since 2025-11-07 07:20:00" in drawn(render({**FULL, "symbols": [symbol]}))


def test_where_there_is_no_live_view_a_retrain_and_the_version_that_takes_over_are_told_once() -> None:
    """Also where another of the symbol's models is the one that stands first, and of each of several."""
    other = serving("bilstm-1h", "v0004", 1_762_400_000_000)
    old = {**FULL["symbols"][0], "models": [other, serving("lightgbm", "v0001", 1_762_400_000_000)]}
    new = {**FULL["symbols"][0], "models": [other, serving("lightgbm", "v0002", 1_762_500_000_000)]}
    both = {**new, "models": [serving("bilstm-1h", "v0005", 1_762_500_300_000), *new["models"][1:]]}
    ended: Any = {"id": "j", "symbol": "SOLUSDT", "model": "lightgbm", "state": "done", "verdict": "promoted",
                  "reason": "v0002: passed every check"}  # fmt: skip
    stream = io.StringIO()
    with Display(stream) as display:
        for jobs, symbol in (([], {"symbol": "SOLUSDT"}), ([], old), ([ended], old), ([ended], new), ([ended], new),
                             ([ended], both)):  # fmt: skip
            display.show({**FULL, "jobs": jobs, "symbols": [symbol]})
    assert [line for line in stream.getvalue().splitlines() if "UTC" in line or line.startswith("retrain")] == [
        "retrain SOLUSDT lightgbm: promoted v0002: passed every check",
        "SOLUSDT: lightgbm/v0002 serves since 2025-11-07 07:20:00 UTC, before it lightgbm/v0001",
        "SOLUSDT: bilstm-1h/v0005 serves since 2025-11-07 07:25:00 UTC, before it bilstm-1h/v0004",
    ]


def test_several_models_stand_beside_each_other() -> None:
    models = [serving("lightgbm", "v0002", 1_762_400_000_000), serving("logistic", "v0007", 1_762_500_000_000)]
    text = drawn(render({**FULL, "symbols": [{**FULL["symbols"][0], "models": models}]}))
    assert "lightgbm v0002, logistic v0007" in text
    assert "logistic since 2025-11-07 07:20:00" in " ".join(text.replace("│", "").split())


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


STOPPED: Any = [
    {"symbol": "SOLUSDT", "why": "position is 0 on the exchange, 3.9 by our executions", "since_ms": 1_762_500_000_000,
     "command": "tradebot adopt SOLUSDT"}
]  # fmt: skip
STOPPED_LINE = (
    "entries stopped since 2025-11-07 07:20:00 UTC: foreign SOLUSDT: position is 0 on the exchange, 3.9 by our "
    "executions, `tradebot adopt SOLUSDT`"
)


def test_a_position_that_the_exchange_does_not_have_is_marked_and_stopped_entries_stand_above() -> None:
    symbol: Any = {"symbol": "SOLUSDT", "position_qty": 3.9, "exchange_qty": 0.0}
    shot: Any = {
        "symbols": [symbol], "stopped": STOPPED, "ready": True,
        "obstacles": ["SOLUSDT: foreign_position SOLUSDT: position is 0 (limit none)", "BTCUSDT: no book yet"],
    }  # fmt: skip
    lines = [line.rstrip() for line in drawn(render(shot), width=200).splitlines()]
    assert STOPPED_LINE in lines
    assert "no entries: BTCUSDT: no book yet" in lines
    assert any("long 3.9" in line and "the exchange says 0" in line for line in lines)
    assert STOPPED_LINE in plain(shot)
    starting: Any = {**shot, "ready": False}
    assert "no entries" not in drawn(render(starting))


def test_the_closing_words_say_that_entries_have_stopped() -> None:
    text = " ".join(drawn(render_summary(RESULT | {"stopped": STOPPED}), width=300).split())
    assert STOPPED_LINE in text
    assert "entries stopped" not in drawn(render_summary(RESULT))


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
    assert len(lines) == 3
    assert "\x1b" not in stream.getvalue()
    assert lines[1] == "retrain 7-SOLUSDT-lightgbm: refused not better"
    assert lines[2].startswith(
        "2m02s  trading  2025-11-07 07:20:00  50%  equity 10012.30  SOLUSDT 161.25 +3.1 lightgbm/v0002~"
    )
    assert "training SOLUSDT lightgbm: tune 3/8, eta 9s" in lines[2]


RESULT: dict[str, Any] = {
    "mode": "demo", "source": "recorded: x.parquet", "symbols": ["SOLUSDT"], "from": 1_762_000_000_000,
    "to": 1_763_209_600_000, "decisions_sha256": "ab", "events": 1234, "book_updates": 99, "candles": 72,
    "forecasts": 72, "late_forecasts": 0, "dropped_events": 0, "signals": 9, "blocked": 2, "orders": 7, "fills": 7,
    "retrains": 1, "promotions": 0, "swaps": 0, "equity": "9990.25",
    "replay": {"decisions": 72, "mismatches": 0},
    "reconcile": {"positions_equal": True, "balance_equal": True, "orders_equal": True},
    "gate": [{"job": "j", "symbol": "SOLUSDT", "model": "lightgbm", "version": "v0001", "first": True,
              "data_to": 1_762_500_000_000, "verdict": "refused", "reason": "v0001: 12 trades, too few"},
             {"job": "k", "symbol": "XRPUSDT", "model": "lightgbm", "version": "", "first": False, "data_to": None,
              "verdict": "failed", "reason": "no candles"}],
    "trades": 3, "gross": "1.5", "fees": "-3.2", "funding": "-0.05", "net": "-1.75", "net_bp_per_trade": -11.66,
    "positions": [{"symbol": "SOLUSDT", "qty": "-3.1", "entry_price": "160.9", "unrealised": "1.021"}],
}  # fmt: skip


def test_the_closing_words_state_the_gate_and_the_checks() -> None:
    text = drawn(render_summary(RESULT))
    for part in ("x.parquet", "9,990.25", "72 decisions recomputed", "agree with the exchange's",
                 "gate     SOLUSDT lightgbm/v0001, data to 2025-11-07 07:20: first model refused: 12 trades, too few",
                 "gate     XRPUSDT lightgbm: failed: no candles"):  # fmt: skip
        assert part in text, text


def test_the_closing_words_add_up_the_money_and_say_how_to_look_further() -> None:
    lines = drawn(render_summary(RESULT, Path("my state"))).splitlines()
    (earned,) = [line for line in lines if line.startswith("earned")]
    assert earned.split(maxsplit=1)[1].rstrip() == (
        "3 trades: gross +1.50, fees -3.20, funding -0.05, net -1.75 USDT, -11.7 bp a trade by notional"
    )
    assert any("SOLUSDT short 3.1 @ 160.9, unrealised +1.02" in line for line in lines)
    assert lines[-1].rstrip().endswith("tradebot signals tail --acted -n 0 --state 'my state'")


def test_the_closing_words_tell_what_each_version_earned_while_it_served() -> None:
    first = {"symbol": "SOLUSDT", "model": "lightgbm", "version": "v0001", "provisional": True,
             "since": 1_762_500_000_000, "trades": 1, "net": "-1.291"}  # fmt: skip
    later = first | {"version": "v0002", "provisional": False, "since": 1_762_503_600_000, "trades": 24, "net": "14.9"}

    def told(**more: Any) -> list[str]:
        lines = drawn(render_summary(RESULT | {"served": [first, later]} | more)).splitlines()
        return [" ".join(line.split()) for line in lines if line.strip().startswith("served")]

    assert told() == [
        "served lightgbm/v0001 since 2025-11-07 07:20:00 UTC, provisionally: 1 trade, net -1.29 USDT",
        "served lightgbm/v0002 since 2025-11-07 08:20:00 UTC: 24 trades, net +14.90 USDT",
    ]
    assert told(symbols=["SOLUSDT", "BTCUSDT"])[0].startswith("served SOLUSDT lightgbm/v0001 since")


def test_a_made_up_market_is_told_as_such_and_as_broken_on_purpose_in_eighty_columns() -> None:
    demo = Demo(
        for_ms=None, seconds=None, speed="max", replay=[], symbols=[], seed=7, state_dir=Path(), strategies_dir=Path(),
        faults=None, view=lambda snapshot: None,
    )  # fmt: skip
    stream = io.StringIO()
    shot: Snapshot = {**FULL, "source": demo.source}
    Console(file=stream, width=80, height=40, force_terminal=True, color_system=None).print(render(shot, fit=True))
    assert stream.getvalue().splitlines()[1].startswith("MADE-UP market, seed 7: signal planted, broken on purpose")
    assert "its two busy regimes changed places" in demo.source
    assert "training" not in replace(demo, trains=False).source
    assert "on purpose" in replace(demo, trains=False).source
    assert "broken" not in replace(demo, steady=True).source
    assert "training" not in replace(demo, steady=True, trains=False).source
    for days, luck in ((3, "; 3 days are luck"), (0.25, "; 1 day is luck"), (200, "")):
        result = RESULT | {"from": 0, "to": int(days * DAY_MS)}
        closing = drawn(render_summary(result, Path("s"), made_up=True)).splitlines()[-1].rstrip()
        assert closing == f"nothing here says anything about real markets{luck}"
    assert "real markets" not in drawn(render_summary(RESULT, Path("s")))


def test_faults_are_counted_and_rules_that_never_hit_are_warned_of() -> None:
    faults = {"injected": {"drop": {"public": 3, "private": 1_200}, "delay": {"public": 0}}, "idle": ["f:4:5: idle"]}
    lines = [line.rstrip() for line in drawn(render_summary(RESULT | {"faults": faults})).splitlines()]
    at = next(n for n, line in enumerate(lines) if line.startswith("faults"))
    assert lines[at].split(maxsplit=1)[1] == "drop of public 3, drop of private 1,200"
    assert lines[at + 1].strip() == "warning: f:4:5: idle"
    assert not any(line.startswith("faults") for line in drawn(render_summary(RESULT)).splitlines())


def test_a_failed_check_is_said_plainly() -> None:
    bad = RESULT | {
        "replay": {"decisions": 72, "mismatches": 3},
        "reconcile": {"positions_equal": False, "balance_equal": True, "orders_equal": False},
    }
    text = drawn(render_summary(bad))
    assert "3 of 72 decisions came out DIFFERENTLY" in text
    assert "DISAGREE on: positions, orders" in text


@given(st.integers(min_value=12, max_value=60), st.integers(min_value=0, max_value=12))
def test_the_view_fits_the_terminal_and_shows_the_job_above_the_signals(height: int, count: int) -> None:
    long = "expected +5.31 bp >= 3.00, and more words than a narrow terminal has room for in its last column"
    signals: Any = [{**FULL["signals"][0], "reason": long}] * count
    shot: Any = {**FULL, "signals": signals, "source": "recorded: " + "a-long-file-name.parquet, " * 6}
    stream = io.StringIO()
    Console(file=stream, width=80, height=height, force_terminal=True, color_system=None).print(render(shot, fit=True))
    lines = stream.getvalue().splitlines()
    if height >= 24:
        assert len(lines) <= height - 1
    assert lines[1].startswith("recorded: a-long-file-name")
    assert "50%" in lines[3]
    assert "tune 3/8" in lines[4]
    assert "eta 9s" in lines[4]
    shown = [line for line in lines if "enter_long" in line]
    assert all(line.rstrip().endswith("…") for line in shown)
    if height >= 24 and len(shown) < count:  # as many as there is room for
        assert len(lines) == height - 1
    if height >= 34:
        assert len(shown) == count


def test_a_stage_of_one_step_has_no_count_and_no_bar() -> None:
    shot: Snapshot = {
        "jobs": [{"symbol": "X", "model": "m", "state": "running", "stage": "data", "done": 0, "total": 1}]
    }
    assert drawn(render(shot)).splitlines()[1].rstrip() == "retrain X m  data 0s"
    assert "0/" not in plain(shot)
    assert plain({"jobs": [{"symbol": "X", "model": "m", "state": "running"}]}).endswith("training X m: starting")


def test_what_goes_into_a_file_has_no_padding_and_no_colours() -> None:
    stream = io.StringIO()
    page(stream, render(FULL))
    page(stream, render_summary(RESULT))
    lines = stream.getvalue().splitlines()
    assert lines == [line.rstrip() for line in lines]
    assert "\x1b" not in stream.getvalue()
