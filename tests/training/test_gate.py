"""The gate on constructed cases: a real champion graph, forecasts made up so that the right verdict is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.registry.tiny_model import SCHEMA, graph, manifest
from tradebot.evaluation.gate import Criterion
from tradebot.forecasters.base import Sample
from tradebot.registry import ModelKey, ModelStore
from tradebot.registry.manifest import GateVerdict
from tradebot.training.evaluate import Predictions, entry_threshold, evaluate, traded
from tradebot.training.gate import Champion, decide, serving_champion

KEY = ModelKey("SOLUSDT", "tiny", "5m")
BAR = 300_000
ROWS = 4_000
COST = 8.0


def sample(seed: int = 0, rows: int = ROWS) -> Sample:
    rng = np.random.default_rng(seed)
    outcome = rng.normal(scale=25.0, size=rows)
    at = BAR * np.arange(1, rows + 1, dtype=np.int64)
    return Sample(
        rows=rng.normal(size=(rows, 4)).astype(np.float32),
        classes=np.digitize(outcome, [-20.0, 20.0]).astype(np.int8),
        weight=np.ones(rows),
        at_ms=at,
        label_end_ms=at + 2 * BAR,
        realised_bp=outcome,
        traded_bp=outcome,
        past_bp=rng.normal(scale=25.0, size=rows),
    )


def forecast(test: Sample, skill: float, seed: int = 1) -> Predictions:
    """Expected returns whose correlation with what happens is about ``skill``; well calibrated p_up."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(scale=25.0, size=len(test))
    expected = max(skill, 0.1) * (skill * test.traded_bp + np.sqrt(1 - skill**2) * noise)
    up = np.clip(0.2 + 0.008 * expected, 0.01, 0.6)
    down = np.clip(0.2 - 0.008 * expected, 0.01, 0.39)
    return Predictions(np.stack([down, 1 - up - down, up], axis=1), expected)


def champion(root: Path, verdict: GateVerdict, fit_end_ms: int = 0) -> Champion:
    """The tiny graph: its forecasts have nothing to do with the outcomes above."""
    store, model = ModelStore(root), graph(0.2)
    store.add(manifest(model, verdict=verdict, fit_end_ms=fit_end_ms), {"model.onnx": model})
    store.promote(KEY, "v0001", who="tester", why="test", verdict=verdict, at_ms=1)
    found = serving_champion(store, KEY, SCHEMA)
    assert found.artefact is not None
    return found


def verdict_of(skill: float, against: Champion, *, entry_bp: float = 12.0, allow: bool = False, ok: bool = True) -> str:
    test = sample()
    return decide(
        forecast(test, skill),
        entry_bp,
        test,
        against,
        cost_bp=COST,
        hold_rows=2,
        further=(Criterion("parity", 0.0 if ok else 1.0, 1e-6, "at most", hard=True),),
        allow_provisional=allow,
    ).verdict


NOBODY = Champion(None, None, "no champion yet")


def test_without_a_champion_the_baseline_decides() -> None:
    assert verdict_of(0.7, NOBODY) == "promoted"
    assert verdict_of(0.02, NOBODY, entry_bp=0.1) == "refused"
    assert verdict_of(0.02, NOBODY, entry_bp=0.1, allow=True) == "provisional"
    assert verdict_of(0.7, NOBODY, allow=True, ok=False) == "refused", "a hard criterion is never waived"


def test_a_better_model_replaces_a_proven_champion_and_a_worse_one_does_not(tmp_path: Path) -> None:
    proven = champion(tmp_path, "promoted")
    assert verdict_of(0.7, proven) == "promoted"
    assert verdict_of(0.02, proven, entry_bp=0.1) == "refused"
    assert verdict_of(0.02, proven, entry_bp=0.1, allow=True) == "refused"


def test_less_bad_than_the_champion_but_below_the_baseline(tmp_path: Path) -> None:
    """It trades rarely and loses less: enough to follow a provisional champion, not a proven one."""
    provisional, proven = champion(tmp_path / "a", "provisional"), champion(tmp_path / "b", "promoted")
    assert verdict_of(0.1, provisional, entry_bp=4.0, allow=True) == "provisional"
    assert verdict_of(0.1, provisional, entry_bp=4.0, allow=False) == "refused"
    assert verdict_of(0.1, proven, entry_bp=4.0, allow=True) == "refused"


def test_rows_the_champion_was_fitted_on_do_not_count(tmp_path: Path) -> None:
    seen_to = int(sample().at_ms[3_000])
    test = sample()
    gate = decide(
        forecast(test, 0.7),
        12.0,
        test,
        champion(tmp_path, "promoted", fit_end_ms=seen_to),
        cost_bp=COST,
        hold_rows=2,
        further=(),
        allow_provisional=False,
    )
    assert gate.rows == ROWS - 3_000
    assert gate.champion == "v0001"


def test_the_threshold_comes_from_validation_and_may_be_none() -> None:
    validation = sample(5)
    good = forecast(validation, 0.6)
    found = entry_threshold(good, validation, COST, 2)
    assert found is not None
    assert traded(good, validation, COST, found, 2).mean_net_bp() > 0  # type: ignore[operator]
    few = sample(5, rows=40)
    assert entry_threshold(forecast(few, 0.6), few, COST, 2) is None
    assert len(traded(forecast(few, 0.6), few, COST, None, 2)) == 0


@pytest.mark.parametrize(("skill", "found"), [(0.5, True), (0.0, False)])
def test_figures_tell_skill_from_luck_by_their_intervals(skill: float, found: bool) -> None:
    train, validation, test = sample(7), sample(8), sample(9)
    figures = evaluate(
        forecast(test, skill, seed=10),
        test,
        train,
        validation,
        cost_bp=COST,
        entry_bp=0.0 if not found else 8.0,
        hold_rows=2,
        bar_ms=BAR,
        seed=1,
    )
    area = figures["direction_auc"]
    assert (area.low > 0.5) is found  # type: ignore[operator]
    assert area.low < area.value < area.high  # type: ignore[operator]
    assert (figures["net_bp_per_trade"].low > 0) is found  # type: ignore[operator]
    assert figures["rows"].value == ROWS
    gross, net = figures["gross_bp_per_trade"].value, figures["net_bp_per_trade"].value
    assert gross - net == pytest.approx(COST)  # type: ignore[operator]


def test_figures_by_hand() -> None:
    """Six rows, two bars held: trades open on rows 0 and 3 only."""
    outcome = np.array([30.0, 5.0, -30.0, -40.0, 25.0, 1.0])
    test = sample(rows=6)
    made = Sample(
        rows=test.rows,
        classes=np.array([2, 1, 0, 0, 2, 1], dtype=np.int8),
        weight=test.weight,
        at_ms=test.at_ms,
        label_end_ms=test.label_end_ms,
        realised_bp=outcome,
        traded_bp=outcome,
        past_bp=np.array([3.0, 1.0, 2.0, -1.0, 4.0, 0.5]),
    )
    p = np.array([[0.1, 0.3, 0.6], [0.2, 0.6, 0.2], [0.2, 0.4, 0.4], [0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.1, 0.8, 0.1]])
    said = Predictions(p, np.array([20.0, 15.0, 1.0, -12.0, 11.0, 2.0]))
    figures = evaluate(said, made, sample(7), sample(8), cost_bp=10.0, entry_bp=10.0, hold_rows=2, bar_ms=BAR, seed=1)
    assert figures["trades"].value == 2
    assert figures["net_bp"].value == pytest.approx((30 - 10) + (40 - 10))
    assert figures["net_bp_per_trade"].value == pytest.approx(25.0)
    assert figures["win_rate"].value == 1.0
    assert figures["coverage"].value == pytest.approx(2 / 6)
    assert figures["neutral_share"].value == pytest.approx(2 / 6)
    assert figures["decided_accuracy"].value == pytest.approx(3 / 4)  # row 2 went down, the model leant up
    assert figures["direction_auc"].value == pytest.approx(3 / 4)  # ups .857 and .6, downs .667 and .286
    assert figures["move_auc"].value == pytest.approx(1.0)
    happened = p[np.arange(6), made.classes]
    assert figures["log_loss"].value == pytest.approx(-np.log(happened).mean())
