"""Ways out of a position, one by one and together."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trading.driver import BAR
from tests.trading.views import a_view
from tradebot.trading.exits import (
    Exit,
    Reversal,
    StopLoss,
    TakeProfit,
    TimeExit,
    Trailing,
    VolatilityStop,
    Wanted,
    first,
    protected,
)
from tradebot.trading.strategy import Intent

GAINS = st.floats(-500, 500)


def test_stop_and_take_profit_go_with_the_entry_and_are_never_due() -> None:
    ways = (StopLoss(bp=40), TakeProfit(bp=60))
    entry = protected(Intent("enter_long", "why"), ways, a_view())
    assert (entry.stop_bp, entry.take_profit_bp) == (40, 60)
    assert first(ways, a_view(qty="1", gain=-500, worst=-500)) is None


def test_the_closest_stop_and_take_profit_count() -> None:
    view = a_view(features={"atr_pct": 0.0020})
    ways = (StopLoss(bp=70), VolatilityStop(atr=2.5), TakeProfit(bp=90), TakeProfit(bp=30))
    entry = protected(Intent("enter_short", "why", stop_bp=65.0), ways, view)
    assert entry.stop_bp == pytest.approx(50.0)
    assert entry.take_profit_bp == 30
    assert protected(Intent("enter_short", "why", stop_bp=10.0), ways, view).stop_bp == 10


def test_a_distance_of_the_whole_price_is_none() -> None:
    view = a_view(features={"atr_pct": 0.5})
    assert protected(Intent("enter_long", ""), (VolatilityStop(atr=2),), view).stop_bp is None
    assert protected(Intent("enter_long", ""), (VolatilityStop(atr=2), StopLoss(bp=50)), view).stop_bp == 50


def test_only_entries_are_protected() -> None:
    for intent in (Intent("hold", "why"), Intent("exit", "why")):
        assert protected(intent, (StopLoss(bp=40),), a_view()) == intent


def test_without_a_known_range_the_entry_has_no_volatility_stop_and_nothing_trails_by_it() -> None:
    for features in (None, {"atr_pct": float("nan")}, {"atr_pct": 0.0}):
        assert protected(Intent("enter_long", ""), (VolatilityStop(atr=2),), a_view(features=features)).stop_bp is None
        held = a_view(qty="1", gain=0.0, best=500.0, features=features)
        assert first((Trailing(atr=1.0),), held) is None


@given(GAINS, GAINS, st.floats(1, 200), st.floats(0, 200))
def test_a_trailing_exit_is_due_once_armed_and_fallen_by_its_distance(
    one: float, other: float, distance: float, armed: float
) -> None:
    best, gain = max(one, other, 0.0), min(one, other)
    due = first((Trailing(bp=distance, armed_bp=armed),), a_view(qty="-2", gain=gain, best=best)) is not None
    assert due == (best >= armed and best - gain >= distance)


def test_a_trailing_exit_measures_in_ranges_as_they_are_now() -> None:
    held = a_view(qty="1", gain=20.0, best=50.0, features={"atr_pct": 0.0020})
    assert first((Trailing(atr=1.6),), held) is None
    assert first((Trailing(atr=1.5),), held) == "gain fell from 50.00 to 20.00 bp, further than 30.00"


def test_time_is_counted_in_candles_horizons_or_seconds() -> None:
    held = a_view(qty="1", candles=3, held_ms=2 * BAR + 1, horizon_ms=2 * BAR)
    for over, not_yet in (
        (TimeExit(candles=3), TimeExit(candles=4)),
        (TimeExit(horizons=1.5), TimeExit(horizons=1.6)),
        (TimeExit(seconds=600.0), TimeExit(seconds=600.002)),
    ):
        assert first((over,), held) is not None
        assert first((not_yet,), held) is None


def test_a_position_that_would_be_entered_again_stays_only_when_asked_for() -> None:
    held = a_view(qty="1", candles=9)
    assert first((TimeExit(candles=4, renew=True),), held, "long") is None
    assert first((TimeExit(candles=4),), held, "long") is not None
    for wanted in (None, "flat", "short"):
        assert first((TimeExit(candles=4, renew=True),), held, wanted) is not None  # type: ignore[arg-type]


def test_nobody_forecasting_any_more_ends_a_position_that_waits_for_a_horizon() -> None:
    assert first((TimeExit(horizons=5),), a_view(qty="1", candles=1, horizon_ms=None)) is not None


@pytest.mark.parametrize(
    ("wanted", "plain", "fading"),
    [("long", False, False), ("short", True, True), ("flat", False, True), (None, False, False)],
)
def test_a_reversal_is_due_on_the_other_signal_and_on_none_when_it_fades(
    wanted: Wanted | None, plain: bool, fading: bool
) -> None:
    held = a_view(qty="1")
    assert (first((Reversal(),), held, wanted) is not None) is plain
    assert (first((Reversal(fade=True),), held, wanted) is not None) is fading
    mirrored: dict[Wanted | None, Wanted] = {"long": "short", "short": "long", "flat": "flat"}
    assert (first((Reversal(),), a_view(qty="-1"), mirrored.get(wanted)) is not None) is plain


def test_the_first_exit_that_is_due_gives_the_reason() -> None:
    held = a_view(qty="1", candles=9, best=90.0)
    assert first((Reversal(), TimeExit(candles=9), Trailing(bp=10)), held, "long") == "held 9 candles of 9"
    assert first((Trailing(bp=10), TimeExit(candles=9)), held, "long").startswith("gain fell")  # type: ignore[union-attr]
    assert first((), held) is None


def test_nothing_is_due_while_nothing_is_held() -> None:
    flat = a_view(candles=9, best=90.0)
    assert first((TimeExit(candles=1), Reversal(fade=True), Trailing(bp=1)), flat, "short") is None


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ({"kind": "stop_loss", "bp": 0.0}, "bp must lie in"),
        ({"kind": "take_profit", "bp": 1e4}, "bp must lie in"),
        ({"kind": "take_profit"}, "bp"),
        ({"kind": "volatility_stop", "atr": -1.0}, "atr must be a positive"),
        ({"kind": "trailing"}, "give one of bp, atr; got none"),
        ({"kind": "trailing", "bp": 5.0, "atr": 1.0}, "got bp and atr"),
        ({"kind": "trailing", "bp": 5.0, "armed_bp": -1.0}, "armed_bp"),
        ({"kind": "time", "candles": 2, "horizons": 1.0}, "got candles and horizons"),
        ({"kind": "time", "candles": 0}, "candles must be a positive"),
        ({"kind": "reversal", "fades": True}, "fades"),
        ({"kind": "prayer"}, "prayer"),
    ],
)
def test_a_mistake_in_an_exit_is_told_by_its_name(written: dict[str, object], why: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=why):
        msgspec.convert(written, Exit)
