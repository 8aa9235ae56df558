"""What is known beside a candle: in every window that touches it, unknown where it is unknown, and never guessed."""

from __future__ import annotations

import numpy as np
import pytest

from tests.features.series import MONDAY, VIEW, WEEK, batch, candles, columns, random_walk, recorded
from tradebot.errors import DataError
from tradebot.features.catalogue import NAMES, column
from tradebot.features.side import SIDE, beside
from tradebot.features.views import VIEWS
from tradebot.market.candle import Candle

BESIDE = [NAMES[i] for i in range(column("btc_ret_1"), len(NAMES))]
WINDOW = set(range(97))


def test_without_anything_known_the_columns_beside_are_nan_and_the_others_the_same() -> None:
    frame = random_walk(WEEK + 50)
    rows, alone = batch(*columns(frame))[0][WEEK:], batch(*columns(frame)[:-1])[0][WEEK:]
    first = column("btc_ret_1")
    assert np.isnan(alone[:, first:]).all()
    assert np.array_equal(rows[:, :first], alone[:, :first], equal_nan=True)
    row = VIEW.new().update(candles(frame)[0])
    assert row is None


@pytest.mark.parametrize(
    ("missing", "touched"),
    [
        (
            "btc_close",
            {"btc_ret_1": {0, 1}, "btc_ret_12": {0, 12}, "beta_96": set(range(97)), "resid_12": set(range(97))},
        ),
        ("funding", {"funding": {0}}),
        ("mark", {"basis": {0}}),
        ("index", {"basis": {0}}),
        ("open_interest", {"oi_chg_12": {0, 12}}),
        ("eth_close", {}),
    ],
)
def test_what_is_missing_beside_one_candle_is_missing_in_the_windows_that_touch_it(
    missing: str, touched: dict[str, set[int]]
) -> None:
    frame = random_walk(WEEK + 200)
    frame[list(SIDE)] = frame[list(SIDE)].ffill()
    whole = batch(*columns(frame))[0][WEEK:]
    assert np.isfinite(whole[:, column("btc_ret_1") :]).all()
    frame.loc[WEEK + 50, missing] = np.nan
    holed = batch(*columns(frame))[0][WEEK:]
    for name in NAMES:
        nan = np.isnan(holed[:, column(name)])
        assert set(np.flatnonzero(nan) - 50) == touched.get(name, set()), name
        assert (holed[~nan, column(name)] == whole[~nan, column(name)]).all(), name


def test_bitcoin_beside_itself_has_a_beta_of_one_and_nothing_left() -> None:
    frame = recorded("BTCUSDT", weeks=2)
    rows = batch(*columns(frame))[0][WEEK:]
    assert (rows[:, column("beta_96")] == 1.0).all()
    assert (rows[:, column("resid_12")] == 0.0).all()
    assert (rows[:, column("btc_ret_1")] == rows[:, column("ret_1")]).all()


def test_a_coin_that_moves_twice_as_bitcoin_has_a_beta_of_two() -> None:
    frame = random_walk(WEEK + 1)
    frame["btc_close"] = np.sqrt(frame.close)
    row = batch(*columns(frame))[0][-1]
    assert row[column("beta_96")] == pytest.approx(2.0, rel=1e-6)
    assert row[column("resid_12")] == pytest.approx(0.0, abs=1e-9)


def test_zero_counts_as_not_known_except_for_funding() -> None:
    frame = random_walk(WEEK + 1)
    frame[list(SIDE)] = 0.0
    row = batch(*columns(frame))[0][-1]
    finite = {name for name in BESIDE if np.isfinite(row[column(name)])}
    assert finite == {"funding"}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize(
    ("side", "what"),
    [
        (beside(btc_close=-1.0), "btc_close"),
        (beside(funding=float("inf")), "funding"),
        (beside(open_interest=-5.0), "open_interest"),
        ((1.0, 2.0), "shape"),
    ],
)
def test_a_side_that_cannot_be_is_refused_and_changes_nothing(view: object, side: tuple[float, ...], what: str) -> None:
    state = view.new()  # type: ignore[attr-defined]
    with pytest.raises(DataError, match=what):
        state.update(Candle(MONDAY, 1.0, 1.0, 1.0, 1.0, 1.0), side)
    with pytest.raises(DataError, match=what):
        state.extend([MONDAY], [1.0], [1.0], [1.0], [1.0], [1.0], [side])
    assert state.last_open_ms is None


def test_funding_may_be_negative() -> None:
    assert VIEW.new().update(Candle(MONDAY, 1.0, 1.0, 1.0, 1.0, 1.0), beside(funding=-0.0001)) is None
