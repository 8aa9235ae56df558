"""Every view: the same rows live and in training, from the candles since the epoch alone, or none."""

from __future__ import annotations

import doctest

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from tests.features.series import WEEK, candles, columns, longer, random_walk, recorded
from tradebot.errors import DataError
from tradebot.features import bars_catalogue, views
from tradebot.features.bars_catalogue import BARS, BARS_NAMES, COMPAT_ONLY
from tradebot.features.views import VIEWS, State, View, view
from tradebot.market.candle import WEEK_MS
from tradebot.trading.indicators import AverageRange, KernelRegression, Regime

Rows = NDArray[np.float32]

every_view = pytest.mark.parametrize("shown", VIEWS.values(), ids=VIEWS)
BARS_VIEWS = [own for own in VIEWS.values() if own.name.startswith("bars")]
bars_views = pytest.mark.parametrize("shown", BARS_VIEWS, ids=[own.name for own in BARS_VIEWS])


def market(shown: View, weeks: int, extra: int = 0) -> pd.DataFrame:
    """A random walk in candles of the view, with what is known beside them."""
    size = shown.bar_ms // 300_000
    return longer(random_walk(weeks * WEEK + extra * size), size)


def week_of(shown: View) -> int:
    return WEEK_MS // shown.bar_ms


def equal_bits(a: Rows, b: Rows) -> bool:
    return a.dtype == b.dtype == np.float32 and a.shape == b.shape and bool((a.view("u4") == b.view("u4")).all())


def live(shown: View, frame: pd.DataFrame) -> tuple[Rows, NDArray[np.bool_]]:
    state = shown.new()
    rows = [state.update(candle, side) for candle, side in zip(candles(frame), columns(frame)[-1], strict=True)]
    missing = np.full(len(shown.names), np.nan, dtype=np.float32)
    return np.array([missing if row is None else row for row in rows]), np.array([row is not None for row in rows])


@bars_views
@pytest.mark.parametrize("source", ["random walk", "SOLUSDT"])
def test_live_rows_equal_training_rows_bit_for_bit(shown: View, source: str) -> None:
    size = shown.bar_ms // 300_000
    frame = longer(random_walk(3 * WEEK) if source == "random walk" else recorded(source, weeks=4), size)
    rows, usable = shown.batch(*columns(frame))
    live_rows, live_usable = live(shown, frame)
    assert usable.sum() == len(frame) - week_of(shown)
    assert (usable == live_usable).all()
    assert equal_bits(rows, live_rows)


@bars_views
def test_a_row_depends_on_nothing_after_its_candle_and_nothing_before_its_epoch(shown: View) -> None:
    frame, week = market(shown, 3), week_of(shown)
    rows, _ = shown.batch(*columns(frame))
    for at in (week, week + 1, 2 * week - 1, 2 * week, 2 * week + week // 3):
        epoch = at // week * week - week
        cut, usable = shown.batch(*columns(frame.iloc[epoch : at + 1]))
        assert usable[-1]
        assert equal_bits(cut[-1], rows[at])
        _, usable = shown.batch(*columns(frame.iloc[epoch + 1 : at + 1]))
        assert not usable[:-1].any()
        assert not usable[-1]


@bars_views
def test_a_gap_takes_rows_away_until_an_epoch_is_complete_again(shown: View) -> None:
    frame, week = market(shown, 6), week_of(shown)
    gap = 2 * week + 20
    rows, usable = shown.batch(*columns(frame.drop(index=gap)))
    assert usable[week:gap].all()
    assert not usable[gap : 4 * week - 1].any()
    assert equal_bits(rows[4 * week - 1 :], shown.batch(*columns(frame))[0][4 * week :])
    state = shown.new()
    state.extend(*columns(frame.iloc[:gap]))
    with pytest.raises(DataError, match="1 candles are missing"):
        state.update(candles(frame)[gap + 1])


@bars_views
def test_a_saved_state_goes_on_as_if_nothing_had_happened(shown: View) -> None:
    frame = market(shown, 2, extra=30)
    rows, _ = shown.batch(*columns(frame))
    for cut in (20, week_of(shown) + 30, 2 * week_of(shown)):
        state = shown.new()
        state.extend(*columns(frame.iloc[:cut]))
        taken_up = State.from_bytes(state.to_bytes())
        assert taken_up.view is shown
        assert equal_bits(taken_up.extend(*columns(frame.iloc[cut:]))[0][-10:], rows[-10:])


def test_a_snapshot_of_one_view_does_not_go_on_as_another() -> None:
    snapshot = bytearray(view("bars-5m").new().to_bytes())
    snapshot[4:36] = bytes.fromhex(view("bars-1h").schema_hash)
    assert State.from_bytes(bytes(snapshot)).view is view("bars-1h")  # only the name says which: sizes are equal
    snapshot[4:36] = bytes.fromhex(view("candles-5m").schema_hash)
    with pytest.raises(DataError, match="rebuild"):
        State.from_bytes(bytes(snapshot))


@bars_views
def test_a_market_that_stands_still_or_a_coin_that_is_not_traded_gives_nothing_infinite(shown: View) -> None:
    for still, untraded in ((True, False), (False, True), (True, True)):
        frame = market(shown, 1, extra=40)
        if still:
            frame[["open", "high", "low", "close"]] = 7.0
        if untraded:
            frame["volume"] = 0.0
        rows, usable = shown.batch(*columns(frame))
        assert usable[-1]
        assert not np.isinf(rows).any()
        row = dict(zip(shown.names, rows[-1].tolist(), strict=True))
        assert np.isnan(row["tr_atr"]) == np.isnan(row["regime"]) == np.isnan(row["rsi_9"]) == still
        assert np.isnan(row["vol_ratio_20"]) == np.isnan(row["obv_dist_20"]) == untraded
        assert row["wt1"] == 0.0 if still else np.isfinite(row["wt1"])


@pytest.mark.parametrize("source", ["random walk", "BTCUSDT"])
def test_columns_of_one_name_are_the_same_bits_in_both_views_of_5m(source: str) -> None:
    frame = random_walk(2 * WEEK) if source == "random walk" else recorded(source, weeks=3)
    bars, whole = view("bars-5m"), view("candles-5m")
    a, b = bars.batch(*columns(frame))[0], whole.batch(*columns(frame))[0]
    shared = [name for name in bars.names if name in whole.names]
    assert len(shared) > 40
    for name in shared:
        assert equal_bits(a[:, bars.column(name)], b[:, whole.column(name)]), name


@bars_views
def test_filters_agree_with_the_strategies_indicators(shown: View) -> None:
    frame = market(shown, 2)
    rows, usable = shown.batch(*columns(frame))
    regime, slow, quick = Regime(), KernelRegression(), KernelRegression(lag=2.0)
    one, ten = AverageRange(1), AverageRange(10)
    estimates: list[float] = []
    for i, candle in enumerate(candles(frame)):
        regime.update(candle)
        for kernel in (slow, quick):
            kernel.update(candle.close)
        for average in (one, ten):
            average.update(candle)
        estimates.append(slow.estimate or np.nan)
        if not usable[i] or i >= 2 * week_of(shown):
            continue
        row = dict(zip(shown.names, rows[i].tolist(), strict=True))
        assert one.value is not None
        assert ten.value is not None
        assert row["atr1_atr10"] == pytest.approx(one.value / ten.value, rel=1e-6)
        if regime.strength is not None:
            assert row["regime"] == pytest.approx(regime.strength, rel=1e-5, abs=1e-6)
        rise = (estimates[-1] - estimates[-2]) / candle.close
        assert row["kernel_rq_slope"] == pytest.approx(rise, rel=1e-5, abs=1e-12)
        assert np.sign(row["kernel_rq_slope"]) == slow.direction
        assert np.sign(row["kernel_gauss_diff"]) == quick.direction


def test_the_inputs_of_the_published_nets_can_be_made_from_the_columns() -> None:
    """models.md 5.2 wants MACD, ATR and bands in USDT, 6.1 averages and on-balance volume: see the columns used."""
    frame = recorded("SOLUSDT", weeks=2).assign(open_time=lambda f: f.open_time)
    shown = view("bars-5m")
    rows = shown.batch(*columns(frame))[0][WEEK:].astype(float)
    row = {name: rows[:, i] for i, name in enumerate(shown.names)}
    close, late = frame.close, slice(WEEK, None)
    atr = row["atr_pct"] * row["close"]
    middle = row["close"] / (1 + row["bb_width"] * (row["bb_pctb"] - 0.5))
    sma, sd = close.rolling(20).mean(), close.rolling(20).std(ddof=0)
    made = {
        "return": (np.expm1(row["ret_1"]), close.pct_change()),
        "sma_50": (row["close"] - row["sma_dist_50"] * atr, close.rolling(50).mean()),
        "ema_20": (row["close"] - row["ema_dist_20"] * atr, close.ewm(span=20, adjust=False).mean()),
        "macd": (row["macd"] * atr, close.ewm(span=12, adjust=False).mean() - close.ewm(span=26, adjust=False).mean()),
        "upper band": (middle * (1 + row["bb_width"] / 2), sma + 2 * sd),
        "lower band": (middle * (1 - row["bb_width"] / 2), sma - 2 * sd),
        "roc_12": (np.expm1(row["ret_12"]), close.pct_change(12)),
        "volume mean": (row["volume"] / row["vol_ratio_20"], frame.volume.rolling(20).mean()),
        "true range": (row["tr_atr"] * atr, np.fmax(frame.high, close.shift()) - np.fmin(frame.low, close.shift())),
    }
    for name, (ours, wanted) in made.items():
        np.testing.assert_allclose(ours, wanted.to_numpy()[late], rtol=2e-4, atol=2e-4, err_msg=name)
    published = "open high low close volume rsi_14 macd macd_signal macd_hist wt1 wt2 adx_14 atr_pct bb_pctb bb_width"
    assert set(f"{published} cci_20 stoch_k stoch_d vol_10 vol_20 mfi_14 zscore_20 high_low close_open".split()) <= {
        *BARS_NAMES
    }


def test_the_bars_catalogue_is_what_models_were_trained_on() -> None:
    """Changing a name or formula, or raising the version, refuses every model trained before. Pin it anew."""
    assert len(BARS_NAMES) == len(set(BARS_NAMES)) == len(BARS) == 76
    assert COMPAT_ONLY == ("open", "high", "low", "close", "volume")
    hashes = {own.name: own.schema_hash[:16] for own in BARS_VIEWS}
    assert hashes == {"bars-5m": "2b9640d590730fe3", "bars-15m": "5c629910bab7fae4", "bars-1h": "3d07ef136c43dbe5"}


@every_view
def test_a_view_knows_its_columns(shown: View) -> None:
    assert shown.names[shown.column("rsi_14")] == "rsi_14"
    with pytest.raises(KeyError):
        shown.column("nosuch")
    for feature in shown.features:
        assert (feature.name in shown.beside) == bool(feature.needs)
        assert feature.meaning.endswith(".")


def test_a_view_that_is_not_there_is_refused_with_those_there_are() -> None:
    with pytest.raises(KeyError, match="candles-5m, bars-5m, bars-15m, bars-1h"):
        view("candles-3m")


@pytest.mark.parametrize("module", [views, bars_catalogue], ids=lambda module: module.__name__)
def test_examples_in_docstrings_hold(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted
    assert not result.failed
