"""Rows of the candle catalogue: the same everywhere, from the past alone, or not at all."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.features.series import MONDAY, VIEW, WEEK, batch, candles, columns, random_walk, recorded
from tradebot.errors import DataError
from tradebot.features.catalogue import NAMES, column
from tradebot.features.epoch import BAR_MS, WEEK_MS, epoch_of, history_bars_needed
from tradebot.features.side import SIDE
from tradebot.features.views import State, row_hash
from tradebot.market.candle import Candle

Rows = NDArray[np.float32]


def live(frame: pd.DataFrame, state: State | None = None) -> tuple[Rows, NDArray[np.bool_]]:
    state = state or VIEW.new()
    rows = [state.update(candle, side) for candle, side in zip(candles(frame), columns(frame)[-1], strict=True)]
    missing = np.full(len(NAMES), np.nan, dtype=np.float32)
    return np.array([missing if row is None else row for row in rows]), np.array([row is not None for row in rows])


def equal_bits(a: Rows, b: Rows) -> bool:
    return a.dtype == b.dtype == np.float32 and a.shape == b.shape and bool((a.view("u4") == b.view("u4")).all())


@pytest.mark.parametrize("symbol", ["SOLUSDT", "AVAXUSDT"])
def test_live_rows_equal_training_rows_bit_for_bit_on_recorded_candles(symbol: str) -> None:
    frame = recorded(symbol, weeks=4)
    rows, usable = batch(*columns(frame))
    live_rows, live_usable = live(frame)
    assert usable.sum() == 3 * WEEK
    assert (usable == live_usable).all()
    assert equal_bits(rows, live_rows)


def test_live_rows_equal_training_rows_bit_for_bit() -> None:
    frame = random_walk(3 * WEEK + 777, start_ms=MONDAY - 500 * BAR_MS)
    rows, usable = batch(*columns(frame))
    live_rows, live_usable = live(frame)
    assert (usable == live_usable).all()
    assert equal_bits(rows, live_rows)


def test_every_week_equals_a_cold_start_at_the_monday_before() -> None:
    frame = random_walk(5 * WEEK)
    rows, _ = batch(*columns(frame))
    for week in range(1, 5):
        alone, usable = batch(*columns(frame.iloc[(week - 1) * WEEK : (week + 1) * WEEK]))
        assert usable[WEEK:].all()
        assert equal_bits(alone[WEEK:], rows[week * WEEK : (week + 1) * WEEK])


@pytest.mark.parametrize("at", [WEEK, WEEK + 1, 2 * WEEK - 1, 2 * WEEK, 2 * WEEK + 1009])
def test_a_row_depends_on_nothing_after_its_candle(at: int) -> None:
    frame = random_walk(3 * WEEK)
    rows, _ = batch(*columns(frame))
    truncated, usable = batch(*columns(frame.iloc[: at + 1]))
    assert usable[-1]
    assert equal_bits(truncated[-1], rows[at])


@pytest.mark.parametrize("at", [2 * WEEK - 1, 2 * WEEK, 2 * WEEK + 1009])
def test_a_row_depends_on_nothing_before_its_epoch(at: int) -> None:
    frame = random_walk(3 * WEEK)
    rows, _ = batch(*columns(frame))
    needed = history_bars_needed(int(frame.open_time[at]))
    shortest = frame.iloc[at + 1 - needed : at + 1]
    assert shortest.open_time.iloc[0] == epoch_of(int(frame.open_time[at]))
    truncated, usable = batch(*columns(shortest))
    assert usable[-1]
    assert equal_bits(truncated[-1], rows[at])
    too_short, usable = batch(*columns(shortest.iloc[1:]))
    assert not usable.any()
    assert np.isnan(too_short).all()


def test_the_first_candle_of_the_epoch_does_matter() -> None:
    frame = random_walk(WEEK + 1)
    other = frame.copy()
    other.loc[0, "volume"] *= 2
    difference = batch(*columns(frame))[0][-1] != batch(*columns(other))[0][-1]
    assert difference[column("vol_tod")]


def test_a_candle_without_trades_does_not_distort_the_days_after_it() -> None:
    """ln(v + a tiny number) of one empty candle once moved the usual volume of its time of day for a week."""
    frame = random_walk(WEEK + 8 * 288)
    empty = frame.copy()
    quiet = WEEK + 100
    empty.loc[quiet, "volume"] = 0.0
    usual = np.log(1 + frame.volume[quiet])
    before, after = batch(*columns(frame))[0], batch(*columns(empty))[0]
    at = column("vol_tod")
    assert after[quiet, at] - before[quiet, at] == pytest.approx(-usual, rel=1e-3)
    for day in range(1, 8):
        moved = after[quiet + 288 * day, at] - before[quiet + 288 * day, at]
        assert moved == pytest.approx(usual / 7, rel=1e-3)
    assert np.isfinite(after[quiet:, at]).all()


def test_rows_begin_on_the_second_monday_of_an_unbroken_history() -> None:
    frame = random_walk(3 * WEEK, start_ms=MONDAY + 3 * BAR_MS)
    _, usable = batch(*columns(frame))
    first = int(frame.open_time[int(np.argmax(usable))])
    assert first == MONDAY + 2 * WEEK_MS
    assert usable[np.argmax(usable) :].all()


def test_a_gap_takes_rows_away_until_an_epoch_is_complete_again() -> None:
    frame = random_walk(6 * WEEK)
    gap = 2 * WEEK + 100
    rows, usable = batch(*columns(frame.drop(index=gap)))
    assert usable[WEEK:gap].all()
    assert not usable[gap : 4 * WEEK - 1].any()
    assert usable[4 * WEEK - 1 :].all()
    assert equal_bits(rows[4 * WEEK - 1 :], batch(*columns(frame))[0][4 * WEEK :])


def test_a_gap_in_the_stream_is_refused_and_can_be_filled() -> None:
    frame = random_walk(WEEK + 20)
    stream = candles(frame)
    state = VIEW.new()
    state.extend(*columns(frame.iloc[: WEEK + 10]))
    with pytest.raises(DataError, match="2 candles are missing"):
        state.update(stream[WEEK + 12])
    assert state.last_open_ms == stream[WEEK + 9].open_time_ms
    rest = live(frame.iloc[WEEK + 10 :], state)[0]
    assert equal_bits(rest, batch(*columns(frame))[0][WEEK + 10 :])


def test_the_same_candle_again_gives_its_row_again_and_changes_nothing() -> None:
    frame = random_walk(WEEK + 3)
    state = VIEW.new()
    rows, _ = state.extend(*columns(frame.iloc[:-1]))
    *_, before, last = candles(frame)
    again = state.update(before)  # whatever is known beside it by now
    assert again is not None
    assert equal_bits(again, rows[-1])
    after = state.update(last, columns(frame)[-1][-1])
    assert after is not None
    assert equal_bits(after, batch(*columns(frame))[0][-1])


def test_a_changed_row_does_not_change_the_state() -> None:
    frame = random_walk(WEEK + 1)
    state = VIEW.new()
    state.extend(*columns(frame.iloc[:-1]))
    last = candles(frame)[-1]
    row = state.update(last)
    assert row is not None
    row[:] = 0
    again = state.update(last)
    assert again is not None
    assert again.any()


def test_a_revised_or_older_candle_is_refused() -> None:
    state = VIEW.new()
    first, second = candles(random_walk(2))
    state.update(first)
    state.update(second)
    with pytest.raises(DataError, match="other values"):
        state.update(Candle(second.open_time_ms, second.open, second.high * 2, second.low, second.close, 1.0))
    with pytest.raises(DataError, match="older"):
        state.update(first)
    with pytest.raises(DataError, match="older"):
        state.extend(*columns(random_walk(1)))


BROKEN = {
    "high below close": (100.0, 100.0, 99.0, 101.0, 1.0),
    "low above open": (100.0, 102.0, 101.0, 101.5, 1.0),
    "price zero": (0.0, 1.0, 0.0, 1.0, 1.0),
    "negative volume": (1.0, 1.0, 1.0, 1.0, -1.0),
    "not a number": (1.0, 1.0, 1.0, float("nan"), 1.0),
    "infinite": (1.0, float("inf"), 1.0, 1.0, 1.0),
    "volume not a number": (1.0, 1.0, 1.0, 1.0, float("nan")),
}


@pytest.mark.parametrize("values", BROKEN.values(), ids=BROKEN.keys())
def test_a_candle_that_cannot_be_is_refused_live_and_in_training(values: tuple[float, ...]) -> None:
    state = VIEW.new()
    with pytest.raises(DataError, match="cannot be"):
        state.update(Candle(MONDAY, *values))
    assert state.last_open_ms is None
    with pytest.raises(DataError, match="cannot be"):
        batch([MONDAY], *([value] for value in values))


@pytest.mark.parametrize("open_ms", [MONDAY + 1, -BAR_MS])
def test_a_time_off_the_grid_is_refused(open_ms: int) -> None:
    with pytest.raises(DataError):
        VIEW.new().update(Candle(open_ms, 1.0, 1.0, 1.0, 1.0, 1.0))
    with pytest.raises(DataError):
        batch([open_ms], [1.0], [1.0], [1.0], [1.0], [1.0])


def test_duplicates_in_training_candles_are_refused_with_their_place() -> None:
    frame = random_walk(10)
    twice = pd.concat([frame.iloc[:5], frame.iloc[4:]])
    with pytest.raises(DataError, match=r"row 5.*twice"):
        batch(*columns(twice))
    with pytest.raises(DataError, match="lengths"):
        batch([MONDAY], [1.0, 2.0], [1.0], [1.0], [1.0], [1.0])


def test_no_candles_give_no_rows() -> None:
    rows, usable = batch([], [], [], [], [], [])
    assert rows.shape == (0, len(NAMES))
    assert usable.shape == (0,)


@pytest.mark.parametrize("symbol", ["SOLUSDT", "BNBUSDT", "BTCUSDT"])
def test_usable_rows_of_recorded_candles_are_finite(symbol: str) -> None:
    rows, usable = batch(*columns(recorded(symbol)))
    assert usable.sum() > 45_000
    unknown = ~np.isfinite(rows[usable]).all(axis=0)
    assert [name for name, missing in zip(NAMES, unknown, strict=True) if missing] == ["basis", "oi_chg_12"]


UNDEFINED_WITHOUT_MOVEMENT = {
    "ret_z ac1_48 rv_ratio vol_of_vol semivar_skew_48 jump_48 rsi_7 rsi_14 rsi_21 stochrsi_14 stoch_k stoch_d cci_20",
    "mfi_14 macd macd_hist macd_hist_diff eff_ratio_24 slope_t_24 donchian_48 ema_dist_9 ema_dist_21 ema_dist_50",
    "sma_dist_200 ema_cross di_diff bb_pctb vwap_dist_48 vwap_dist_day kyle_48 range_atr",
    "rsi_14_15m ema_dist_21_15m rsi_14_1h macd_hist_1h",
    "beta_96 resid_12",
}
UNDEFINED_WITHOUT_VOLUME = {"mfi_14 vol_z_48 vol_ratio obv_norm_24 cmf_20 vwap_dist_48 vwap_dist_day kyle_48"}


@pytest.mark.parametrize(
    ("what", "undefined"),
    [
        ("price", UNDEFINED_WITHOUT_MOVEMENT | {"vol_z_48"}),
        ("volume", UNDEFINED_WITHOUT_VOLUME),
        ("both", UNDEFINED_WITHOUT_MOVEMENT | UNDEFINED_WITHOUT_VOLUME),
    ],
)
def test_what_is_undefined_without_movement_or_volume_is_nan_and_the_rest_finite(
    what: str, undefined: set[str]
) -> None:
    frame = random_walk(WEEK + 400)
    if what != "volume":
        frame[["open", "high", "low", "close"]] = 7.0
        frame["volume"] = 3.0
    if what != "price":
        frame["volume"] = 0.0
    frame[list(SIDE)] = frame[list(SIDE)].ffill()
    if what != "volume":
        frame["btc_close"] = 60_000.0
    row = batch(*columns(frame))[0][-1]
    assert {name for name, value in zip(NAMES, row, strict=True) if np.isnan(value)} == set(" ".join(undefined).split())
    assert not np.isinf(row).any()


def test_a_crash_leaves_no_trace_once_it_is_out_of_reach() -> None:
    calm = random_walk(WEEK + 1000)
    crash = calm.copy()
    crash.loc[WEEK, "low"] *= 0.2
    crash.loc[WEEK, "close"] *= 0.3
    crash.loc[WEEK, "volume"] *= 1e6
    crash.loc[WEEK, "low"] = crash.loc[WEEK, ["open", "close", "low"]].min()
    rows, without = batch(*columns(crash))[0], batch(*columns(calm))[0]
    still_remembered = [column("rsi_14_1h"), column("macd_hist_1h")]
    assert (rows[WEEK + 1] != without[WEEK + 1]).sum() >= 40
    assert equal_bits(np.delete(rows[-1], still_remembered), np.delete(without[-1], still_remembered))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sigma=st.sampled_from([0.0, 1e-9, 1e-4, 0.05, 0.5]),
    price=st.sampled_from([1e-9, 1e-3, 1.0, 1e6]),
    volume=st.sampled_from([0.0, 1e-9, 1.0, 1e12]),
)
def test_no_market_however_odd_gives_an_infinite_value(seed: int, sigma: float, price: float, volume: float) -> None:
    frame = random_walk(WEEK + 60, seed=seed, sigma=max(sigma, 1e-12))
    frame[["open", "high", "low", "close"]] *= price / frame.close.iloc[0]
    frame["volume"] *= volume
    rows, usable = batch(*columns(frame))
    assert usable.sum() == 60
    assert not np.isinf(rows).any()


def test_higher_timeframes_show_closed_candles_only() -> None:
    frame = random_walk(WEEK + 96)
    rows = batch(*columns(frame))[0][WEEK:]
    for name, bars in (("rsi_14_15m", 3), ("rsi_14_1h", 12), ("ret_1_4h", 48)):
        values = rows[:, column(name)]
        changes = np.flatnonzero(np.diff(values)) + 1
        assert len(changes) >= 96 // bars - 2
        assert (changes % bars == bars - 1).all()


def test_a_saved_state_goes_on_as_if_nothing_had_happened() -> None:
    frame = random_walk(2 * WEEK + 50)
    rows, _ = batch(*columns(frame))
    for cut in (100, WEEK + 30, 2 * WEEK):
        state = VIEW.new()
        state.extend(*columns(frame.iloc[:cut]))
        taken_up = State.from_bytes(state.to_bytes())
        assert taken_up.last_open_ms == state.last_open_ms
        again, before = taken_up.update(candles(frame)[cut - 1]), rows[cut - 1]
        assert (again is None and cut < WEEK) or (again is not None and equal_bits(again, before))
        assert equal_bits(taken_up.extend(*columns(frame.iloc[cut:]))[0][-50:], rows[-50:])


def test_a_damaged_or_foreign_snapshot_is_refused() -> None:
    state = VIEW.new()
    state.extend(*columns(random_walk(10)))
    good = state.to_bytes()
    for at in (0, 10, 37, 60, len(good) - 1):
        bad = bytearray(good)
        bad[at] ^= 1
        with pytest.raises(DataError, match="rebuild"):
            State.from_bytes(bytes(bad))
    for bad_length in (b"", good[:-1], good + b"\0"):
        with pytest.raises(DataError, match="rebuild"):
            State.from_bytes(bad_length)


def test_a_row_hash_names_the_bits_of_a_row() -> None:
    row = np.arange(81, dtype=np.float32)
    other = row.copy()
    other[80] = np.nextafter(row[80], np.float32(100))
    assert row_hash(row) == row_hash(row.astype(">f4"))
    assert row_hash(row) != row_hash(other)
    assert len(row_hash(row)) == 16
