"""A walk-forward through the real engine: what is put together, and how it goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.backtest.market import BEGIN_MS, asked, random_walk
from tests.backtest.report.planted import START_MS, plant
from tradebot.backtest.report import report_of
from tradebot.backtest.report.documents import WALK, Walk, read_beside, write_beside
from tradebot.backtest.run import RunFolder
from tradebot.backtest.single import Spec
from tradebot.backtest.walkforward import Fitted, put_together, span_of, walk_forward
from tradebot.errors import ConfigError, DataError
from tradebot.evaluation.walkforward import Window, windows
from tradebot.market.candle import DAY_MS, HOUR_MS


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    return asked(random_walk(tmp_path_factory.mktemp("market"), days=11, reverting=0.4), fade=True, entry_bp=20.0)


def plan(count: int) -> tuple[Window, ...]:
    length = 10 * DAY_MS + count * 3 * HOUR_MS
    return windows(BEGIN_MS, BEGIN_MS + length, train_ms=10 * DAY_MS, test_ms=3 * HOUR_MS, gap_ms=600_000)


def test_the_span_of_a_file_is_what_it_holds_from_midnight_on(spec: Spec) -> None:
    assert span_of(spec) == (BEGIN_MS, BEGIN_MS + 11 * DAY_MS)


def test_every_window_is_fitted_before_it_is_traded_and_all_are_put_together(spec: Spec, tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []

    def fit(window: Window) -> Fitted:
        told.append(("fit", window.number))
        return Fitted(spec)

    out = tmp_path / "walk"

    def on_window(window: Window, done: bool) -> None:
        told.append(("done" if done else "begin", window.number))

    run = walk_forward(spec, plan(3), fit, out, asked="a", on_window=on_window)
    assert run is not None
    assert told == [(what, n) for n in (1, 2, 3) for what in ("begin", "fit", "done")]
    whole, parts = RunFolder(out), [RunFolder(out / "windows" / f"w{n:03d}") for n in (1, 2, 3)]
    assert len(whole.trades()) == sum(len(part.trades()) for part in parts) > 3
    growth = np.prod([part.equity().equity[-1] / part.equity().equity[0] for part in parts])
    assert whole.equity().equity[-1] / whole.equity().equity[0] == pytest.approx(growth)
    assert (np.diff(whole.equity().ts_ms) > 0).all()
    assert run.result["windows"] == 3
    assert [row.number for row in report_of(out, draws=20).windows] == [1, 2, 3]
    ids = [name for part in whole.decisions(("decision_id",)) for name in part["decision_id"]]
    assert len(ids) == len(set(ids)) == 3 * 35
    entered = set(whole.trades().entry_decision.tolist())
    assert entered <= set(ids)


def test_a_walk_that_was_stopped_goes_on_and_gives_the_same(spec: Spec, tmp_path: Path) -> None:
    straight = walk_forward(spec, plan(2), lambda window: Fitted(spec), tmp_path / "straight", asked="a")
    fits: list[int] = []

    def fit(window: Window) -> Fitted | None:
        fits.append(window.number)
        return None if fits == [1, 2] else Fitted(spec)

    out = tmp_path / "stopped"
    assert walk_forward(spec, plan(2), fit, out, asked="a") is None
    assert not (out / "run.json").exists()
    again = walk_forward(spec, plan(2), fit, out, asked="a")
    assert fits == [1, 2, 2]
    assert straight is not None
    assert again is not None
    assert again.result == straight.result
    with pytest.raises(ConfigError, match="another walk-forward"):
        walk_forward(spec, plan(2), fit, out, asked="b")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("x")
    with pytest.raises(ConfigError, match="no walk-forward"):
        walk_forward(spec, plan(2), fit, tmp_path / "mine", asked="a")


def test_amounts_go_on_with_what_the_window_before_left(tmp_path: Path) -> None:
    length = 4 * DAY_MS
    folders = [plant(tmp_path / f"w{n}", days=4, skill=0.45, seed=n, start_ms=START_MS + n * length) for n in range(3)]
    out = tmp_path / "out"
    out.mkdir()
    put_together(folders, out, name="all")
    whole, parts = RunFolder(out), [RunFolder(folder) for folder in folders]
    curves = [part.equity().equity for part in parts]
    scale = curves[0][-1] / curves[1][0]
    third = scale * curves[1][-1] / curves[2][0]
    nets = [part.trades().net[part.trades().closed_ms > 0].sum() for part in parts]
    trades = whole.trades()
    closed = trades.closed_ms > 0
    assert trades.net[closed].sum() == pytest.approx(nets[0] + nets[1] * scale + nets[2] * third)
    bp = np.concatenate([part.trades().net_bp[part.trades().closed_ms > 0] for part in parts])
    assert sorted(trades.net_bp[closed].tolist()) == sorted(bp.tolist())
    times, prices = whole.prices()
    assert len(times) == len(prices["SOLUSDT"]) == len(whole.equity().equity) == 3 * 4 * 288 + 1
    assert report_of(out, draws=20).open_trades == 6  # two symbols, left open at the end of each


def test_windows_beside_a_run_are_in_its_report(tmp_path: Path) -> None:
    path = plant(tmp_path / "r", days=4)
    days = [START_MS + n * 2 * DAY_MS for n in range(3)]
    rows = tuple(Window(n + 1, 0, 0, 0, 0, test_from_ms=days[n], test_to_ms=days[n + 1]) for n in range(2))
    write_beside(path, WALK, Walk(asked="a", from_ms=0, to_ms=1, windows=rows))
    assert read_beside(path, WALK, Walk) is not None
    report = report_of(path, draws=20)
    total = (1 + report.windows[0].roi) * (1 + report.windows[1].roi) - 1
    assert total == pytest.approx(report.headline.value("roi"))
    assert sum(row.trades for row in report.windows) == report.headline.trades


def test_too_short_a_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="too few"):
        windows(*span_of(asked(random_walk(tmp_path, days=9))), gap_ms=600_000)
