"""What has to be beaten is chosen on validation rows alone, and is as strong as those rows can tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.training import market
from tradebot.evaluation.baselines import choose_rule
from tradebot.evaluation.trades import TradeRule
from tradebot.forecasters.base import CandleColumns, Sample, family
from tradebot.forecasters.logistic import fit_logistic
from tradebot.training.baselines import LOGISTIC, Baselines, Regression, choose_baselines, fit_baselines
from tradebot.training.dataset import build_dataset
from tradebot.training.splits import Splits, joined, split_by_time

KIND = family("lightgbm")
RULE = TradeRule()


def reverting(count: int = 14_000) -> CandleColumns:
    """Every return is followed by half of its opposite: a market that one line can trade."""
    made = market.candles(count, seed=4)
    shocks = np.diff(np.log(made.close), prepend=np.log(100.0))
    returns = np.zeros(count)
    for i in range(1, count):
        returns[i] = shocks[i] - 0.5 * returns[i - 1]
    close = 100.0 * np.exp(np.cumsum(returns))
    opened = np.concatenate([[100.0], close[:-1]])
    return replace(
        made,
        open=opened,
        close=close,
        high=np.maximum(opened, close) * 1.0005,
        low=np.minimum(opened, close) * 0.9995,
    )


def splits_of(columns: CandleColumns) -> Splits:
    sample = build_dataset(KIND, columns).sample
    return split_by_time(sample, validation_share=0.2, test_share=0.2, bar_ms=market.BAR_MS, embargo_bars=60)


def found(splits: Splits, cost_bp: float = 1.0) -> Baselines:
    return fit_baselines(KIND, splits, cost_bp=cost_bp, rule=RULE)


def test_a_market_that_one_line_can_trade_is_traded_by_it() -> None:
    splits = splits_of(reverting())
    baselines = found(splits)
    assert baselines.rule is not None
    assert baselines.rule.name in {"reversal of 1 bar", LOGISTIC}
    assert baselines.rule.validation_net_bp > 0
    gate = baselines.of_gate(np.ones(len(splits.test), dtype=np.bool_))
    assert gate is not None
    assert (gate.name, gate.entry_bp) == (baselines.rule.name, baselines.rule.entry_bp)
    assert baselines.direction.name in {"reversal of 1 bar", LOGISTIC}
    assert baselines.side.name in {"reversal of 1 bar", LOGISTIC}
    half = np.arange(len(splits.test)) < 100
    some = baselines.of_gate(half)
    assert some is not None
    assert len(some.expected_bp) == 100


def test_where_nothing_pays_staying_out_is_the_baseline() -> None:
    splits = splits_of(market.candles(12_000, seed=5))
    baselines = found(splits, cost_bp=30.0)
    assert baselines.rule is None
    assert baselines.of_gate(np.ones(len(splits.test), dtype=np.bool_)) is None


def test_what_happened_in_the_test_slice_chooses_nothing() -> None:
    """Outcomes of the test rows permuted: every choice and everything that is said stays as it was."""
    splits = splits_of(reverting())
    order = np.random.default_rng(1).permutation(len(splits.test))
    mixed = replace(
        splits.test,
        classes=splits.test.classes[order],
        realised_bp=splits.test.realised_bp[order],
        traded_bp=-splits.test.traded_bp[order],
    )
    one, other = found(splits), found(replace(splits, test=mixed))
    assert one.rule == other.rule
    for name in ("move", "direction", "side", "log_loss"):
        assert getattr(one, name).name == getattr(other, name).name
    np.testing.assert_array_equal(one.rule_bp, other.rule_bp)


def test_the_best_rule_of_the_test_rows_is_not_taken_where_validation_knew_another() -> None:
    splits = splits_of(reverting())
    turned: Sample = replace(splits.test, past_bp=-splits.test.past_bp)
    baselines = found(replace(splits, test=turned))
    assert baselines.rule is not None
    assert not baselines.rule.name.startswith("momentum"), "with hindsight momentum would be best there"


def test_baselines_know_the_rows_that_a_model_is_calibrated_on() -> None:
    """The market is three times as lively from the validation rows on: a model's calibration knows it, so must they."""
    calm, lively = market.candles(8_000, sigma=0.0007, seed=11), market.candles(8_000, sigma=0.0021, seed=12)
    scale = calm.close[-1] / lively.open[0]
    columns = CandleColumns(
        open_ms=market.START_MS + market.BAR_MS * np.arange(16_000, dtype=np.int64),
        **{name: np.concatenate([getattr(calm, name), scale * getattr(lively, name)]) for name in
           ("open", "high", "low", "close", "volume")},
    )  # fmt: skip
    sample = build_dataset(KIND, columns).sample
    splits = split_by_time(sample, validation_share=0.25, test_share=0.25, bar_ms=market.BAR_MS, embargo_bars=60)
    chosen = choose_baselines(KIND, splits, cost_bp=1.0, rule=RULE)
    before = joined(splits.train, splits.validation)
    assert len(before) == len(splits.train) + len(splits.validation)
    assert (np.diff(before.at_ms) > 0).all()
    np.testing.assert_allclose(chosen.rates, np.bincount(before.classes, minlength=3) / len(before))
    fitted = Regression.of(fit_logistic(before, KIND.features, KIND.baseline_features), tuple(KIND.baseline_features))
    assert chosen.regression == fitted
    moved = float((splits.test.classes != 1).mean())
    assert abs(1 - chosen.rates[1] - moved) < abs(float((splits.train.classes != 1).mean()) - moved)


def test_of_equal_rules_the_first_is_chosen_and_too_few_trades_choose_none() -> None:
    score, realised = np.tile([9.0, 0.0, 0.0], 40), np.tile([20.0, 0.0, 0.0], 40)
    chosen = choose_rule({"a": score, "b": score}, realised, 1.0, min_trades=30)
    assert chosen is not None
    assert (chosen.name, chosen.entry_bp) == ("a", 9.0)
    assert chosen.validation_net_bp == pytest.approx(40 * 19.0)
    assert str(chosen) == "a at 9.0 bp"
    assert choose_rule({"a": score}, realised, 1.0, min_trades=41) is None
