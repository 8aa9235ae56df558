"""The gate: each criterion alone can stop a challenger, and only the right ones can be waived."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tradebot.errors import DataError
from tradebot.evaluation.gate import Baseline, Criterion, Forecasts, GateLimits, TestRows, judge

N = 6_000
LIMITS = GateLimits(draws=500)


def rows_of(seed: int = 0, cost: float = 8.0, drift: float = 0.0) -> TestRows:
    rng = np.random.default_rng(seed)
    realised = rng.normal(drift, 20, N)
    return TestRows(
        realised_bp=realised,
        cost_bp=np.full(N, cost),
        happened=realised > 0,
    )


def model(rows: TestRows, skill: float, seed: int, entry: float = 8.0) -> Forecasts:
    """Forecasts that know the share ``skill`` of the outcome, with probabilities that are right."""
    rng = np.random.default_rng(seed)
    expected = skill * rows.realised_bp + skill * rng.normal(0, 20 * np.sqrt(1 / max(skill, 0.01) - 1), N)
    z = expected / (20 * np.sqrt(1 - skill))
    p_up = 0.5 * (1 + np.tanh(0.8 * z))
    return Forecasts(expected_bp=expected, p_up=p_up, entry_bp=entry)


def values(verdict_criteria: tuple[Criterion, ...]) -> dict[str, Criterion]:
    return {criterion.name: criterion for criterion in verdict_criteria}


def test_a_clearly_better_challenger_replaces_the_champion() -> None:
    rows = rows_of()
    verdict = judge(rows, model(rows, 0.6, 1), model(rows, 0.3, 2), limits=LIMITS)
    assert verdict.verdict == "promoted"
    assert verdict.failed == ()
    assert verdict.against == "champion"
    assert verdict.difference.p_positive == 1.0
    assert verdict.net_bp > (verdict.champion_net_bp or 0) > 0
    assert values(verdict.criteria)["independent labels"].value == N // 2
    assert set(values(verdict.criteria)) == {
        "champion",
        "baseline",
        "calibration",
        "drawdown",
        "blocks",
        "trades",
        "independent labels",
        "always long bp",
    }


def test_an_equal_challenger_does_not() -> None:
    rows = rows_of()
    same = model(rows, 0.4, 1)
    verdict = judge(rows, same, same, allow_provisional=True, limits=LIMITS)
    assert verdict.verdict == "refused"
    assert verdict.failed == ("champion",)
    assert judge(rows, model(rows, 0.3, 2), model(rows, 0.6, 1), limits=LIMITS).verdict == "refused"


def test_the_probability_of_being_better_is_the_limit() -> None:
    rows = rows_of()
    challenger, champion = model(rows, 0.42, 5), model(rows, 0.4, 2)
    p = judge(rows, challenger, champion, limits=LIMITS).difference.p_positive
    assert 0.0 < p < 1.0
    low, high = replace(LIMITS, p_better=p), replace(LIMITS, p_better=np.nextafter(p, 2))
    assert "champion" not in judge(rows, challenger, champion, limits=low).failed
    assert "champion" in judge(rows, challenger, champion, limits=high).failed


def test_badly_calibrated_probabilities_stop_a_challenger() -> None:
    rows = rows_of()
    good = model(rows, 0.6, 1)
    boasting = replace(good, p_up=np.clip(0.5 + 3 * (good.p_up - 0.5), 0, 1))
    verdict = judge(rows, boasting, model(rows, 0.3, 2), limits=LIMITS)
    assert verdict.verdict == "refused"
    assert verdict.failed == ("calibration",)


def test_a_deeper_drawdown_stops_a_challenger() -> None:
    rows = rows_of(cost=0.0)
    champion, challenger = model(rows, 0.3, 2), model(rows, 0.6, 1)
    loss = 2 * np.arange(500, 620)  # a run of losses, more than made good elsewhere
    expected = challenger.expected_bp.copy()
    expected[loss] = -np.sign(rows.realised_bp[loss]) * 50
    expected[loss + 1] = 0.0
    verdict = judge(rows, replace(challenger, expected_bp=expected), champion, limits=LIMITS)
    assert verdict.failed == ("drawdown",)
    assert verdict.verdict == "refused"


def test_a_champion_that_never_traded_can_be_replaced() -> None:
    rows = rows_of()
    silent = replace(model(rows, 0.3, 2), entry_bp=1e9)
    verdict = judge(rows, model(rows, 0.7, 1), silent, limits=LIMITS)
    assert verdict.verdict == "promoted"
    assert values(verdict.criteria)["drawdown"].limit == LIMITS.drawdown_floor


def test_few_trades_are_not_enough_unless_days_of_shadow_forecasts_back_them() -> None:
    rows = rows_of()
    champion = model(rows, 0.3, 2)
    challenger = model(rows, 0.6, 1)
    rare = replace(challenger, entry_bp=float(np.sort(np.abs(challenger.expected_bp))[-20]))
    losing = replace(champion, expected_bp=-champion.expected_bp)
    verdict = judge(rows, rare, losing, limits=LIMITS)
    assert 0 < verdict.trades < 30
    assert verdict.failed == ("trades",)
    assert judge(rows, rare, losing, shadow_days=6.9, limits=LIMITS).failed == ("trades",)
    assert judge(rows, rare, losing, shadow_days=7.0, limits=LIMITS).verdict == "promoted"


def test_better_than_a_losing_champion_is_not_good_enough_when_staying_out_is_better() -> None:
    rows = rows_of(cost=40.0)
    bad = model(rows, 0.2, 2, entry=0.0)
    less_bad = model(rows, 0.2, 3, entry=8.0)
    verdict = judge(rows, less_bad, bad, allow_provisional=True, limits=LIMITS)
    assert verdict.net_bp < 0
    assert verdict.baseline == "stay out"
    assert verdict.failed == ("baseline",)
    assert verdict.verdict == "refused"
    again = judge(rows, less_bad, bad, champion_provisional=True, allow_provisional=True, limits=LIMITS)
    assert again.verdict == "provisional"


def test_without_a_champion_skill_is_promoted_and_noise_is_not() -> None:
    rows = rows_of()
    skilled = judge(rows, model(rows, 0.6, 1), limits=LIMITS)
    assert skilled.verdict == "promoted"
    assert skilled.against.startswith("best baseline")
    assert skilled.champion_net_bp is None
    rng = np.random.default_rng(3)
    noise = Forecasts(rng.normal(0, 10, N), np.full(N, 0.5), 8.0)
    assert judge(rows, noise, limits=LIMITS).verdict == "refused"
    assert judge(rows, noise, allow_provisional=True, limits=LIMITS).verdict == "provisional"


def test_noise_is_promoted_no_more_often_than_the_limit_says() -> None:
    promoted = 0
    for seed in range(60):
        rows = rows_of(seed, cost=0.0)
        noise = np.random.default_rng(1_000 + seed).normal(0, 10, N)
        verdict = judge(rows, Forecasts(noise, np.full(N, 0.5), 8.0), limits=replace(LIMITS, draws=300))
        promoted += verdict.verdict == "promoted"
    assert promoted <= 12


def test_a_hard_criterion_of_the_caller_stops_even_a_provisional_version() -> None:
    rows = rows_of()
    parity = Criterion("onnx parity", 2e-4, 1e-6, "at most", hard=True)
    skilled = model(rows, 0.6, 1)
    verdict = judge(rows, skilled, further=(parity,), allow_provisional=True, limits=LIMITS)
    assert verdict.verdict == "refused"
    assert verdict.failed == ("onnx parity",)
    fine = Criterion("onnx parity", 3e-7, 1e-6, "at most", hard=True)
    assert judge(rows, skilled, further=(fine,), limits=LIMITS).verdict == "promoted"
    named_like_a_waived_one = Criterion("trades", 0, 1, "at least", hard=True)
    refused = judge(rows, skilled, further=(named_like_a_waived_one,), allow_provisional=True, limits=LIMITS)
    assert refused.verdict == "refused"


def rule_of(rows: TestRows, skill: float, entry: float = 8.0) -> Baseline:
    return Baseline("reversal of 2 bars", model(rows, skill, 9).expected_bp, entry)


def test_the_rule_chosen_on_validation_has_to_be_beaten_and_is_named() -> None:
    rows = rows_of()
    strong, weak = rule_of(rows, 0.5), rule_of(rows, 0.1)
    verdict = judge(rows, model(rows, 0.3, 1), baseline=strong, allow_provisional=True, limits=LIMITS)
    assert verdict.verdict == "provisional"
    assert verdict.failed == ("baseline",)
    assert verdict.against == "best baseline: reversal of 2 bars at 8.0 bp"
    assert verdict.baseline_net_bp > verdict.net_bp > 0
    assert judge(rows, model(rows, 0.6, 1), baseline=strong, limits=LIMITS).verdict == "promoted"
    assert judge(rows, model(rows, 0.3, 1), baseline=weak, limits=LIMITS).verdict == "promoted"


def test_beating_a_rule_that_loses_is_not_enough() -> None:
    """A rule that earned on validation and loses on the test rows: staying out is then the better opponent."""
    rows = rows_of(cost=25.0)
    losing = Baseline("momentum of 1 bar", np.random.default_rng(4).normal(0, 20, N), 1.0)
    verdict = judge(rows, model(rows, 0.2, 1, entry=4.0), baseline=losing, limits=LIMITS)
    assert verdict.baseline_net_bp < verdict.net_bp < 0
    assert values(verdict.criteria)["baseline"].passed
    assert verdict.failed == ("stay out",)
    proven = judge(rows, model(rows, 0.2, 1, entry=4.0), model(rows, 0.1, 2, 1.0), baseline=losing, limits=LIMITS)
    assert proven.failed == ("stay out",), "also where it beats a champion that loses more"


def test_a_rising_market_is_told_but_does_not_decide() -> None:
    rows = rows_of(drift=15.0, cost=10.0)
    verdict = judge(rows, model(rows, 0.6, 1), limits=LIMITS)
    held = values(verdict.criteria)["always long bp"]
    assert held.value == pytest.approx(rows.realised_bp[::2].sum() - 10.0)
    assert held.limit is None
    assert verdict.verdict == "promoted"


def test_a_rule_trades_like_a_model_at_its_level_and_by_the_rule() -> None:
    rows = TestRows(
        realised_bp=np.array([10.0, 99.0, 99.0, -4.0, 99.0, 99.0, 99.0, 99.0, 5.0]),
        cost_bp=np.full(9, 3.0),
        happened=np.array([True, True, False] * 3),
    )
    flat = Forecasts(np.zeros(9), np.full(9, 0.5), 1.0)
    rule = Baseline("momentum of 2 bars", np.array([1.0, 9.0, 9.0, 1.0, 9.0, 9.0, 9.0, 9.0, 1.0]), 1.0)
    verdict = judge(rows, flat, baseline=rule, limits=replace(LIMITS, block_rows=1))
    assert verdict.baseline_net_bp == pytest.approx((10 - 3) + (-4 - 3) + (5 - 3))


def test_each_earlier_verdict_on_the_rows_raises_the_probability_to_reach() -> None:
    rows = rows_of()
    challenger, champion = model(rows, 0.42, 5), model(rows, 0.4, 2)
    fresh = judge(rows, challenger, champion, limits=LIMITS)
    p = fresh.difference.p_positive
    limits = replace(LIMITS, p_better=p - 1e-9)
    assert judge(rows, challenger, champion, limits=limits).verdict == "promoted"
    seen = judge(replace(rows, reused_verdicts=1), challenger, champion, limits=limits)
    assert seen.failed == ("champion",)
    assert seen.required_probability == pytest.approx(1 - (1 - p) / 2)
    alone = judge(replace(rows, reused_verdicts=3), challenger, limits=LIMITS)
    assert values(alone.criteria)["baseline"].limit == pytest.approx(0.975)


def test_trying_again_on_the_same_rows_helps_less_when_verdicts_are_counted() -> None:
    """Eight candidates without skill, one after the other, until one is promoted."""
    uncounted = counted = 0
    limits = replace(LIMITS, draws=300)
    for seed in range(30):
        rows = rows_of(seed, cost=0.0)
        found = []
        for attempt in range(8):
            noise = Forecasts(np.random.default_rng(1_000 * seed + attempt).normal(0, 10, N), np.full(N, 0.5), 8.0)
            p_better = judge(rows, noise, limits=limits).difference.p_positive
            found.append((p_better >= 0.9, p_better >= limits.required_probability(attempt)))
        uncounted += any(lucky for lucky, _ in found)
        counted += any(lucky for _, lucky in found)
    assert uncounted > 12
    assert counted <= 0.75 * uncounted


def test_too_few_blocks_cannot_promote() -> None:
    rows = rows_of()
    short = TestRows(rows.realised_bp[:2_879], rows.cost_bp[:2_879], rows.happened[:2_879])
    skilled = model(rows, 0.6, 1)
    cut = Forecasts(skilled.expected_bp[:2_879], skilled.p_up[:2_879], 8.0)
    verdict = judge(short, cut, allow_provisional=True, limits=LIMITS)
    assert (verdict.verdict, verdict.failed) == ("provisional", ("blocks",))
    assert judge(short, cut, cut, limits=LIMITS).verdict == "refused"


def test_the_length_of_blocks_matters_where_outcomes_cluster() -> None:
    """Good and bad days: what single rows call certain is open when days are what is counted."""
    daily = np.repeat(np.resize([15.0, -12.0, -13.0, 14.0, 2.0], 20), 300)
    rng = np.random.default_rng(6)
    realised = daily + rng.normal(0, 5, N)
    rows = TestRows(realised, np.full(N, 0.0), realised > 0)
    always = Forecasts(np.full(N, 10.0), np.full(N, 0.5), 8.0)
    by_row = judge(rows, always, limits=replace(LIMITS, block_rows=1)).difference.p_positive
    by_day = judge(rows, always, limits=LIMITS).difference.p_positive
    assert by_row > 0.999
    assert by_day < 0.97


def test_a_value_that_is_not_a_number_passes_no_limit() -> None:
    assert not Criterion("x", float("nan"), 1.0, "at most").passed
    assert not Criterion("x", float("nan"), 1.0, "at least").passed
    assert Criterion("x", 1.0, 1.0, "at least").passed
    assert Criterion("x", 1.0, 1.0, "at most").passed


def test_equal_input_gives_an_equal_verdict() -> None:
    rows = rows_of()
    assert judge(rows, model(rows, 0.4, 1), limits=LIMITS) == judge(rows, model(rows, 0.4, 1), limits=LIMITS)


def test_models_judged_on_other_rows_are_refused() -> None:
    rows = rows_of()
    good = model(rows, 0.4, 1)
    with pytest.raises(DataError, match="same rows"):
        judge(rows, replace(good, expected_bp=good.expected_bp[:-1]), limits=LIMITS)
    with pytest.raises(DataError, match=r"champion p_up.*not finite"):
        judge(rows, good, replace(good, p_up=np.full(N, np.nan)), limits=LIMITS)
