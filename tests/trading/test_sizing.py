"""Sizing: shares of the configured order that grow with the prospect and never exceed it."""

from __future__ import annotations

from math import inf, isfinite, nan

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.views import a_forecast, a_view
from tradebot.trading.sizing import Confidence, Fixed, Kelly, Prospect, Sizing, VolatilityTarget, prospect, sized
from tradebot.trading.strategy import Intent

UNIT = st.floats(0.01, 1.0)
RULES: st.SearchStrategy[Sizing] = st.one_of(
    st.builds(Fixed, part=UNIT),
    st.builds(VolatilityTarget, target_bp=st.floats(0.1, 1e4)),
    st.builds(Kelly, fraction=UNIT, full=st.floats(0.01, 100.0), cap=UNIT),
    st.builds(Kelly, fraction=UNIT, full=st.floats(0.01, 100.0), cap=UNIT, win_bp=UNIT, loss_bp=UNIT),
    st.builds(Confidence, least=st.floats(0.0, 0.5), full=st.floats(0.51, 1.0), floor=UNIT),
)
ANYTHING = st.floats(allow_nan=True, allow_infinity=True)
PROSPECTS = st.builds(Prospect, p=ANYTHING, mean_bp=ANYTHING, deviation_bp=st.none() | ANYTHING)


@given(RULES, PROSPECTS)
def test_a_share_is_above_0_and_at_most_1_whatever_the_numbers(rule: Sizing, seen: Prospect) -> None:
    share = rule.share(seen)
    assert share is None or (isfinite(share) and 0 < share <= 1)


@given(RULES, st.floats(0, 1), st.floats(0, 1), st.floats(-50, 50), st.floats(-50, 50), st.floats(1, 500))
def test_a_better_prospect_gets_no_smaller_share(
    rule: Sizing, p1: float, p2: float, mean1: float, mean2: float, deviation: float
) -> None:
    worse = rule.share(Prospect(min(p1, p2), min(mean1, mean2), deviation))
    better = rule.share(Prospect(max(p1, p2), max(mean1, mean2), deviation))
    assert (worse or 0.0) <= (better or 0.0)


@given(st.floats(0.1, 1e3), st.floats(0.0, 1e4), st.floats(0.0, 1e4))
def test_a_wilder_market_gets_no_larger_share(target: float, one: float, other: float) -> None:
    rule = VolatilityTarget(target_bp=target)
    calm, wild = rule.share(Prospect(0.5, 1.0, min(one, other))), rule.share(Prospect(0.5, 1.0, max(one, other)))
    assert calm is not None
    assert (wild or 0.0) <= calm


@given(UNIT, UNIT, st.floats(0.0, 1.0), st.floats(0.01, 100.0))
def test_kelly_stays_below_its_cap_and_bets_nothing_without_an_edge(
    fraction: float, cap: float, p: float, full: float
) -> None:
    share = Kelly(fraction=fraction, full=full, cap=cap, win_bp=40, loss_bp=60).share(Prospect(p, 0.0))
    assert (share is not None) == (p / 60 > (1 - p) / 40)
    assert share is None or share <= cap


def test_kelly_by_odds_is_the_exposure_that_makes_the_logarithm_grow_fastest() -> None:
    p, win, loss = 0.58, 0.0120, 0.0090
    exposures = np.linspace(0.0, 40.0, 400_001)
    growth = p * np.log1p(exposures * win) + (1 - p) * np.log1p(-exposures * loss)
    best = float(exposures[np.argmax(growth)])
    share = Kelly(fraction=1.0, full=100.0, win_bp=1e4 * win, loss_bp=1e4 * loss).share(Prospect(p, 0.0))
    assert share == pytest.approx(best / 100.0, abs=1e-6)


def test_kelly_by_moments_is_mean_over_variance() -> None:
    share = Kelly(fraction=0.5, full=100.0).share(Prospect(0.5, mean_bp=8.0, deviation_bp=40.0))
    assert share == pytest.approx(0.5 * 0.0008 / 0.0040**2 / 100.0)


def test_what_is_not_known_is_no_entry() -> None:
    for rule in (VolatilityTarget(target_bp=20), Kelly()):
        assert rule.share(Prospect(0.6, 10.0)) is None
        assert rule.share(Prospect(0.6, 10.0, nan)) is None
    assert Kelly().share(Prospect(0.6, inf, 10.0)) is None
    assert Confidence().share(Prospect(nan, 10.0)) is None
    assert sized(Intent("enter_long", "why"), None) == Intent("hold", "why: nothing to stake on it")
    assert sized(Intent("enter_long", "why"), 0.5) == Intent("enter_long", "why", size=0.5)


def test_a_prospect_is_seen_from_the_side_that_is_entered() -> None:
    view = a_view(features={"rv_48": 0.001})
    forecast = a_forecast(expected_bp=-9.0, p_up=0.2, p_down=0.5, horizon_ms=4 * view.interval_ms)
    assert prospect(view, forecast, "short", cost_bp=4.0) == Prospect(0.5, 5.0, pytest.approx(20.0))
    assert prospect(view, forecast, "long", cost_bp=4.0) == Prospect(0.2, -13.0, pytest.approx(20.0))
    assert prospect(a_view(), forecast, "long").deviation_bp is None


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ({"kind": "fixed", "part": 0.0}, "part"),
        ({"kind": "fixed", "part": 1.5}, "part"),
        ({"kind": "volatility", "target_bp": -1.0}, "target_bp"),
        ({"kind": "kelly", "fraction": 2.0}, "fraction"),
        ({"kind": "kelly", "full": 0.0}, "full"),
        ({"kind": "kelly", "win_bp": 10.0}, "win_bp and loss_bp"),
        ({"kind": "kelly", "win_bp": 10.0, "loss_bp": 0.0}, "loss_bp"),
        ({"kind": "confidence", "least": 0.7, "full": 0.6}, "least < full"),
        ({"kind": "confidence", "flor": 0.5}, "flor"),
        ({"kind": "martingale"}, "martingale"),
    ],
)
def test_a_mistake_in_a_rule_is_told_by_its_name(written: dict[str, object], why: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=why):
        msgspec.convert(written, Sizing)
