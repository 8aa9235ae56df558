"""The gate on constructed cases: a real champion graph, forecasts made up so that the right verdict is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.registry.tiny_model import SCHEMA, graph, manifest
from tradebot.evaluation.baselines import ChosenRule
from tradebot.evaluation.gate import Criterion
from tradebot.evaluation.trades import TradeRule
from tradebot.forecasters.base import Sample
from tradebot.registry import ModelKey, ModelStore
from tradebot.registry.manifest import GateVerdict
from tradebot.training.baselines import Baselines, Named
from tradebot.training.evaluate import Predictions, entry_threshold, evaluate, traded
from tradebot.training.gate import Champion, Decision, decide, earlier_verdicts, serving_champion

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
        past_bp=rng.normal(scale=25.0, size=(rows, 5)),
    )


def forecast(test: Sample, skill: float, seed: int = 1) -> Predictions:
    """Expected returns whose correlation with what happens is about ``skill``; well calibrated p_up."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(scale=25.0, size=len(test))
    expected = max(skill, 0.1) * (skill * test.traded_bp + np.sqrt(1 - skill**2) * noise)
    up = np.clip(0.2 + 0.008 * expected, 0.01, 0.6)
    down = np.clip(0.2 - 0.008 * expected, 0.01, 0.39)
    return Predictions(np.stack([down, 1 - up - down, up], axis=1), expected)


def champion(root: Path, verdict: GateVerdict, fit_end_ms: int = 0, judged: tuple[int, int] = (0, 0)) -> Champion:
    """The tiny graph: its forecasts have nothing to do with the outcomes above."""
    store, model = ModelStore(root), graph(0.2)
    made = manifest(model, verdict=verdict, fit_end_ms=fit_end_ms)
    lineage = msgspec.structs.replace(made.lineage, judged_from_ms=judged[0], judged_to_ms=judged[1])
    store.add(msgspec.structs.replace(made, lineage=lineage), {"model.onnx": model})
    store.promote(KEY, "v0001", who="tester", why="test", verdict=verdict, at_ms=1)
    found = serving_champion(store, KEY, SCHEMA)
    assert found.artefact is not None
    return found


def plain(test: Sample, rule: ChosenRule | None = None) -> Baselines:
    """Baselines that know nothing, or whose rule of the gate is the last return but one."""
    zero = Named("nothing", np.zeros(len(test)))
    base = np.bincount(test.classes, minlength=3) / len(test)
    loss = Named("base rates", -np.log(base[test.classes]))
    return Baselines(rule, test.past_bp[:, 1], loss, zero, zero, zero)


def decision(
    test: Sample,
    said: Predictions,
    entry_bp: float,
    against: Champion,
    *,
    baselines: Baselines | None = None,
    earlier: tuple[tuple[int, int], ...] = (),
    allow: bool = False,
    ok: bool = True,
) -> Decision:
    return decide(
        said,
        entry_bp,
        test,
        against,
        baselines or plain(test),
        earlier=earlier,
        cost_bp=COST,
        rule=TradeRule(),
        bar_ms=BAR,
        further=(Criterion("parity", 0.0 if ok else 1.0, 1e-6, "at most", hard=True),),
        allow_provisional=allow,
    )


def verdict_of(skill: float, against: Champion, *, entry_bp: float = 12.0, allow: bool = False, ok: bool = True) -> str:
    test = sample()
    return decision(test, forecast(test, skill), entry_bp, against, allow=allow, ok=ok).gate.verdict


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
    test, seen_to = sample(), int(sample().at_ms[1_000])
    made = decision(test, forecast(test, 0.7), 12.0, champion(tmp_path, "promoted", fit_end_ms=seen_to))
    assert made.gate.rows == ROWS - 1_000
    assert made.gate.champion == "v0001"
    assert (made.judged_from_ms, made.judged_to_ms) == (seen_to, int(test.label_end_ms[-1]) + BAR)
    later = decision(test, forecast(test, 0.7), 12.0, champion(tmp_path / "b", "promoted", fit_end_ms=seen_to + 1))
    assert later.gate.rows == ROWS - 1_001


def test_rows_the_champion_was_chosen_on_do_not_count_where_enough_others_are_left(tmp_path: Path) -> None:
    test = sample()
    chosen_on = (0, int(test.at_ms[1_000]))
    one = champion(tmp_path / "a", "promoted", judged=chosen_on)
    made = decision(test, forecast(test, 0.7), 12.0, one, earlier=(chosen_on,))
    assert made.gate.rows == ROWS - 1_000
    assert (made.gate.reused_verdicts, made.gate.required_probability) == (0, 0.9)
    assert "earlier verdict" not in made.gate.reason


def test_rows_that_were_judged_before_demand_a_higher_probability(tmp_path: Path) -> None:
    """Where only used rows are left, they are used, counted and told; spans that end before them do not count."""
    test = sample()
    spans = ((0, int(test.at_ms[0])), (0, int(test.at_ms[3_500])), (int(test.at_ms[10]), int(test.at_ms[3_000])))
    made = decision(test, forecast(test, 0.7), 12.0, champion(tmp_path, "promoted", judged=spans[1]), earlier=spans)
    assert made.gate.rows == ROWS
    assert made.gate.reused_verdicts == 2
    assert made.gate.required_probability == pytest.approx(1 - 0.1 / 3)
    assert "2 earlier verdict(s) on some of these rows, so P(better) must be at least 0.967" in made.gate.reason
    required = {check.name: check.required for check in made.gate.checks}
    assert required["champion"] == "at least 0.966667"
    first = decision(test, forecast(test, 0.7), 12.0, NOBODY, earlier=spans)
    assert first.gate.reused_verdicts == 2, "refused attempts count where there is no champion too"


def test_earlier_verdicts_outlive_the_versions_that_were_collected(tmp_path: Path) -> None:
    store, model = ModelStore(tmp_path), graph(0.2)
    for number in range(4):
        spans = earlier_verdicts(store, KEY, 150)
        made = manifest(model)
        lineage = msgspec.structs.replace(
            made.lineage, judged_from_ms=100 * number, judged_to_ms=100 * number + 90, earlier_verdicts=spans
        )
        store.add(msgspec.structs.replace(made, lineage=lineage), {"model.onnx": model})
        store.collect(KEY, keep=1)
    assert store.versions(KEY) == ["v0004"]
    assert earlier_verdicts(store, KEY, 0) == ((100, 190), (200, 290), (300, 390))
    assert earlier_verdicts(store, KEY, 290) == ((300, 390),)
    assert earlier_verdicts(store, ModelKey("BTCUSDT", "tiny", "5m"), 0) == ()


def test_the_verdict_names_the_rule_that_had_to_be_beaten() -> None:
    test = sample()
    knowing = replace(test, past_bp=np.tile(forecast(test, 0.8).expected_bp[:, None], 5))
    rule = ChosenRule("reversal of 2 bars", 9.25, 1_000.0)
    made = decision(knowing, forecast(test, 0.3), 4.0, NOBODY, baselines=plain(knowing, rule))
    assert made.gate.verdict == "refused"
    assert made.gate.baseline == "reversal of 2 bars at 9.2 bp"
    assert "best baseline: reversal of 2 bars at 9.2 bp (+" in made.gate.reason
    assert "P(better than baseline) 0," in made.gate.reason


def test_what_could_be_traded_is_judged_and_not_what_the_label_says() -> None:
    """The label ends at closes, a trade at opens: a model that knows only the one earns nothing with the other."""
    test = sample()
    apart = replace(test, traded_bp=np.random.default_rng(12).normal(scale=25.0, size=ROWS))
    made = decision(apart, forecast(test, 0.9), 12.0, NOBODY, allow=True)
    assert {check.name: check.passed for check in made.gate.checks}["baseline"] is False
    assert decision(test, forecast(test, 0.9), 12.0, NOBODY).gate.verdict == "promoted"


def test_too_little_that_is_new_is_refused_without_a_comparison(tmp_path: Path) -> None:
    test = sample()
    late = champion(tmp_path, "promoted", fit_end_ms=int(test.at_ms[-287]))
    made = decision(test, forecast(test, 0.7), 12.0, late)
    assert made.gate.verdict == "refused"
    assert "only 287 rows are new to both" in made.gate.reason
    assert (made.judged_from_ms, made.judged_to_ms) == (0, 0)


def test_the_threshold_comes_from_validation_and_may_be_none() -> None:
    validation = sample(5)
    good = forecast(validation, 0.6)
    found = entry_threshold(good, validation, COST, TradeRule())
    assert found is not None
    assert traded(good, validation, COST, found, TradeRule()).mean_net_bp() > 0  # type: ignore[operator]
    few = sample(5, rows=40)
    assert entry_threshold(forecast(few, 0.6), few, COST, TradeRule()) is None
    assert len(traded(forecast(few, 0.6), few, COST, None, TradeRule())) == 0


@pytest.mark.parametrize(("skill", "found"), [(0.5, True), (0.0, False)])
def test_figures_tell_skill_from_luck_by_their_intervals(skill: float, found: bool) -> None:
    test = sample(9)
    figures = evaluate(
        forecast(test, skill, seed=10),
        test,
        plain(test),
        cost_bp=COST,
        entry_bp=0.0 if not found else 8.0,
        rule=TradeRule(),
        bar_ms=BAR,
        seed=1,
    )
    area = figures["direction_auc"]
    assert (area.low > 0.5) is found  # type: ignore[operator]
    assert area.low < area.value < area.high  # type: ignore[operator]
    assert (figures["net_bp_per_trade"].low > 0) is found  # type: ignore[operator]
    assert figures["rows"].value == ROWS
    assert area.blocks == pytest.approx(ROWS / 288)
    assert figures["net_bp"].baseline_name == "stay out"
    gross, net = figures["gross_bp_per_trade"].value, figures["net_bp_per_trade"].value
    assert gross - net == pytest.approx(COST)  # type: ignore[operator]


def test_figures_by_hand() -> None:
    """Six rows, two bars held and one of rest: trades open on rows 0 and 3 only."""
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
        past_bp=np.tile(np.array([3.0, 1.0, 2.0, -1.0, 4.0, 0.5])[:, None], 5),
    )
    p = np.array([[0.1, 0.3, 0.6], [0.2, 0.6, 0.2], [0.2, 0.4, 0.4], [0.5, 0.3, 0.2], [0.2, 0.5, 0.3], [0.1, 0.8, 0.1]])
    said = Predictions(p, np.array([20.0, 15.0, 1.0, -12.0, 11.0, 2.0]))
    rule = ChosenRule("momentum of 2 bars", 4.0, 50.0)
    figures = evaluate(said, made, plain(made, rule), cost_bp=10.0, entry_bp=11.0, rule=TradeRule(), bar_ms=BAR, seed=1)
    assert figures["trades"].value == 2
    assert figures["net_bp"].value == pytest.approx((30 - 10) + (40 - 10))
    assert figures["net_bp_per_trade"].value == pytest.approx(25.0)
    assert figures["net_bp"].baseline == pytest.approx(25 - 10), "the rule trades on row 4 alone"
    assert figures["net_bp"].baseline_name == "momentum of 2 bars at 4.0 bp"
    assert figures["win_rate"].value == 1.0
    assert figures["coverage"].value == pytest.approx(2 / 6)
    assert figures["neutral_share"].value == pytest.approx(2 / 6)
    assert figures["decided_accuracy"].value == pytest.approx(3 / 4)  # row 2 went down, the model leant up
    assert figures["direction_auc"].value == pytest.approx(3 / 4)  # ups .857 and .6, downs .667 and .286
    assert figures["move_auc"].value == pytest.approx(1.0)
    happened = p[np.arange(6), made.classes]
    assert figures["log_loss"].value == pytest.approx(-np.log(happened).mean())


def test_no_interval_of_a_share_leaves_what_a_share_can_be() -> None:
    few = sample(3, 12)
    said = forecast(few, 0.9)
    figures = evaluate(said, few, plain(few), cost_bp=1.0, entry_bp=1.0, rule=TradeRule(), bar_ms=BAR, seed=1)
    ends = {
        name: (figure.low, figure.high)
        for name, figure in figures.items()
        if figure.low is not None and (name.endswith("_auc") or figure.unit == "share")
    }
    assert {"all_auc", "all_accuracy", "win_rate"} <= ends.keys()
    assert all(low >= 0.0 and high <= 1.0 for low, high in ends.values() if low is not None and high is not None), ends
    assert any(1.0 in pair or 0.0 in pair for pair in ends.values())
    assert figures["ic"].high is not None
    assert figures["ic"].high <= 1.0
