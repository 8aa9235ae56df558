"""Two runs side by side."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.backtest.report.planted import START_MS, plant
from tradebot.backtest.comparison import Comparison, compare
from tradebot.backtest.report import report_of
from tradebot.backtest.run import RUN, Run, RunFolder
from tradebot.errors import DataError
from tradebot.market.candle import DAY_MS, HOUR_MS

DRAWS = 300


def test_a_run_compared_with_itself_differs_in_nothing(tmp_path: Path) -> None:
    run = plant(tmp_path / "a", days=12)
    found = compare(run, run, draws=DRAWS)
    assert (found.cautions, found.settings, found.same_decisions) == ((), (), True)
    assert found.difference is not None
    assert (found.difference.mean, found.difference.low, found.difference.high) == (0.0, 0.0, 0.0)
    assert found.values("roi")[0] == found.values("roi")[1]
    assert found.days == 12


def test_a_better_run_is_told_apart_on_the_same_market_day_by_day(tmp_path: Path) -> None:
    better, worse = plant(tmp_path / "a", days=40, skill=0.45), plant(tmp_path / "b", days=40, skill=0.0)
    found = compare(better, worse, draws=DRAWS)
    assert found.difference is not None
    assert found.difference.p_positive > 0.99
    days_a, days_b = (_daily(path) for path in (better, worse))
    assert found.difference.mean == pytest.approx((days_a - days_b).mean())
    back = compare(worse, better, draws=DRAWS)
    assert back.difference is not None
    assert back.difference.mean == pytest.approx(-found.difference.mean)


def _daily(path: Path) -> np.ndarray:
    ends = RunFolder(path).equity().equity[::288]
    return ends[1:] / ends[:-1] - 1


def test_what_was_given_differently_is_named(tmp_path: Path) -> None:
    a = plant(tmp_path / "a", days=8, params={"entry": 5, "exits": {"stop_bp": 20}})
    b = plant(tmp_path / "b", days=8, params={"entry": 7, "exits": {"stop_bp": 20}, "late": True})
    found = compare(a, b, draws=DRAWS)
    assert [(s.name, s.a, s.b) for s in found.settings] == [
        ("strategy_params.entry", 5, 7),
        ("strategy_params.late", None, True),
    ]
    assert found.cautions == ()


def test_other_windows_data_and_programs_are_said_and_only_common_days_are_compared(tmp_path: Path) -> None:
    a = plant(tmp_path / "a", days=20)
    b = plant(tmp_path / "b", days=20, start_ms=START_MS + 5 * DAY_MS + HOUR_MS, seed=2, symbols=("SOLUSDT",))
    _change(b, engine_hash="other", start_equity=5_000.0, interrupted=True)
    found = compare(a, b, draws=DRAWS)
    said = " | ".join(found.cautions)
    for words in ("windows differ", "market data differ", "symbols differ", "programs", "5,000.00", "b: was stopped"):
        assert words in said, words
    assert (found.from_ms, found.to_ms) == (START_MS + 5 * DAY_MS + HOUR_MS, START_MS + 20 * DAY_MS)
    assert found.days == 15
    assert not compare(a, a, draws=DRAWS).cautions


def _change(path: Path, **changes: object) -> None:
    run = msgspec.structs.replace(RunFolder(path).run(), **changes)
    assert isinstance(run, Run)
    (path / RUN).write_bytes(msgspec.json.encode(run))


def test_of_fewer_than_three_stretches_nothing_is_said(tmp_path: Path) -> None:
    better, worse = plant(tmp_path / "a", days=2, skill=0.45), plant(tmp_path / "b", days=2, skill=0.0)
    assert compare(better, worse, draws=DRAWS).difference is None
    assert report_of(better, draws=DRAWS).against_hold is None


def test_runs_without_a_common_day_have_no_difference(tmp_path: Path) -> None:
    a, b = plant(tmp_path / "a", days=3), plant(tmp_path / "b", days=3, start_ms=START_MS + 30 * DAY_MS)
    found = compare(a, b, draws=DRAWS)
    assert found.difference is None
    assert "0 days in common" in found.cautions[0]


def test_it_is_data_that_can_be_written_and_read(tmp_path: Path) -> None:
    a, b = plant(tmp_path / "a", days=4), plant(tmp_path / "b", days=4, seed=2)
    found = compare(a, b, draws=DRAWS)
    assert msgspec.json.decode(msgspec.json.encode(found, enc_hook=str), type=Comparison).days == found.days


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not the directory"):
        compare(tmp_path, tmp_path)
    empty = plant(tmp_path / "empty", days=0, every=9_999)
    with pytest.raises(DataError, match="nothing to compare"):
        compare(empty, empty)
