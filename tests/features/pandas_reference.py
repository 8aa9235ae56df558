"""The catalogue's columns written a second time, with pandas, from the formulas alone.

Used to check the kernel and, in ``benchmarks/bench_features.py``, as what it is timed against. Takes candles that start
at an epoch (Monday 00:00 UTC) and starts every average with the first of them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import sliding_window_view

EPS = 1e-12
BAR_MS = 300_000


def reference_features(candles: pd.DataFrame) -> pd.DataFrame:
    """All columns for a frame with ``open_time open high low close volume`` and the columns of ``side``; NaN or garbage
    before warm-up."""
    t, o, h, l, c, v = (candles[k] for k in ("open_time", "open", "high", "low", "close", "volume"))
    f: dict[str, pd.Series] = {}
    ln_c = np.log(c)
    r = ln_c.diff()
    r2 = r**2
    tp = (h + l + c) / 3
    atr = wilder(true_range(h, l, c), 14)
    for k in (1, 2, 3, 6, 12, 24, 48, 96):
        f[f"ret_{k}"] = ln_c - ln_c.shift(k)
    rv = {n: np.sqrt(r2.rolling(n).mean()) for n in (12, 48, 288)}
    f["ret_z"] = r / rv[48]
    f["accel"] = f["ret_3"] - f["ret_3"].shift(3)
    f["ac1_48"] = r.rolling(48).corr(r.shift(1))
    f["up_share_12"] = (r > 0).astype(float).rolling(12).mean()
    for n in (12, 48, 288):
        f[f"rv_{n}"] = rv[n]
    f["parkinson_24"] = np.sqrt((np.log(h / l) ** 2).rolling(24).mean() / (4 * np.log(2)))
    f["garman_klass_24"] = np.sqrt(
        (0.5 * np.log(h / l) ** 2 - (2 * np.log(2) - 1) * np.log(c / o) ** 2).rolling(24).mean()
    )
    f["rogers_satchell_24"] = np.sqrt(
        (np.log(h / c) * np.log(h / o) + np.log(l / c) * np.log(l / o)).rolling(24).mean().clip(lower=0)
    )
    f["atr_pct"] = atr / c
    f["rv_ratio"] = rv[12] / rv[288]
    f["vol_of_vol"] = rv[12].rolling(48).std(ddof=0) / rv[12].rolling(48).mean()
    up2, down2 = r2.where(r > 0, 0.0).rolling(48).sum(), r2.where(r < 0, 0.0).rolling(48).sum()
    f["semivar_skew_48"] = (up2 - down2) / r2.rolling(48).sum()
    f["jump_48"] = 1 - np.pi / 2 * (r * r.shift(1)).abs().rolling(48).mean() / r2.rolling(48).mean()
    for n in (7, 14, 21):
        f[f"rsi_{n}"] = rsi(c, n)
    low14, high14 = f["rsi_14"].rolling(14).min(), f["rsi_14"].rolling(14).max()
    f["stochrsi_14"] = (f["rsi_14"] - low14) / (high14 - low14 + EPS)
    bottom, top = l.rolling(14).min(), h.rolling(14).max()
    f["stoch_k"] = (c - bottom) / (top - bottom)
    f["stoch_d"] = f["stoch_k"].rolling(3).mean()
    mean_tp = tp.rolling(20).mean()
    mad = windows(tp, 20, lambda w: np.abs(w - w.mean(axis=1, keepdims=True)).mean(axis=1))
    f["cci_20"] = (tp - mean_tp) / (0.015 * mad) / 100
    flow = tp * v
    positive = flow.where(tp.diff() > 0, 0.0).rolling(14).sum()
    negative = flow.where(tp.diff() < 0, 0.0).rolling(14).sum()
    f["mfi_14"] = 1 / (1 + negative / positive)
    macd, hist = macd_and_histogram(c)
    f["macd"] = macd / atr
    f["macd_hist"] = hist / atr
    f["macd_hist_diff"] = f["macd_hist"].diff()
    f["eff_ratio_24"] = (c - c.shift(24)).abs() / c.diff().abs().rolling(24).sum()
    f["slope_t_24"] = windows(ln_c, 24, slope_t)
    bottom, top = l.rolling(48).min(), h.rolling(48).max()
    f["donchian_48"] = (c - bottom) / (top - bottom)
    for n in (9, 21, 50):
        f[f"ema_dist_{n}"] = (c - ema(c, n)) / atr
    f["sma_dist_200"] = (c - c.rolling(200).mean()) / atr
    f["ema_cross"] = (ema(c, 9) - ema(c, 21)) / atr
    up, down = h.diff(), -l.diff()
    di_up = wilder(up.where((up > down) & (up > 0), 0.0).where(up.notna()), 14) / atr
    di_down = wilder(down.where((down > up) & (down > 0), 0.0).where(up.notna()), 14) / atr
    dx = ((di_up - di_down).abs() / (di_up + di_down)).fillna(0.0).where(up.notna())
    f["adx_14"] = wilder(dx, 14)
    f["di_diff"] = di_up - di_down
    since_high = windows(h, 26, lambda w: 25.0 - (25 - np.argmax(w[:, ::-1], axis=1)))
    since_low = windows(l, 26, lambda w: 25.0 - (25 - np.argmin(w[:, ::-1], axis=1)))
    f["aroon_25"] = (since_low - since_high) / 25
    middle, deviation = c.rolling(20).mean(), c.rolling(20).std(ddof=0)
    upper, lower = middle + 2 * deviation, middle - 2 * deviation
    f["bb_pctb"] = (c - lower) / (upper - lower)
    f["bb_width"] = (upper - lower) / middle
    f["bb_width_rank"] = f["bb_width"].rolling(288).rank(pct=True)
    ln_v = np.log(1 + v)
    f["vol_z_48"] = (ln_v - ln_v.rolling(48).mean()) / ln_v.rolling(48).std(ddof=0)
    f["vol_ratio"] = v.rolling(12).mean() / v.rolling(96).mean()
    f["vol_tod"] = ln_v - sum(ln_v.shift(288 * day) for day in range(1, 8)) / 7
    sign = np.sign(r)
    f["obv_norm_24"] = (sign * v).rolling(24).sum() / v.rolling(24).sum()
    clv = (2 * c - h - l) / (h - l + EPS)
    f["cmf_20"] = (clv * v).rolling(20).sum() / v.rolling(20).sum()
    f["vwap_dist_48"] = (c - flow.rolling(48).sum() / v.rolling(48).sum()) / atr
    day = t // 86_400_000
    f["vwap_dist_day"] = (c - flow.groupby(day).cumsum() / v.groupby(day).cumsum()) / atr
    f["amihud_24"] = np.log((r.abs() / (c * v + EPS)).rolling(24).mean() + EPS)
    f["kyle_48"] = r.rolling(48).corr(sign * np.sqrt(c * v))
    span = h - l + EPS
    f["body"] = (c - o) / span
    f["upper_wick"] = (h - np.maximum(o, c)) / span
    f["lower_wick"] = (np.minimum(o, c) - l) / span
    f["range_atr"] = (h - l) / atr
    f["gap"] = np.log(o / c.shift(1))
    f["clv_6"] = clv.rolling(6).mean()
    hour = 2 * np.pi * (t % 86_400_000) / 86_400_000
    weekday = 2 * np.pi * ((t // 86_400_000 + 3) % 7) / 7
    f["hour_sin"], f["hour_cos"] = np.sin(hour), np.cos(hour)
    f["weekday_sin"], f["weekday_cos"] = np.sin(weekday), np.cos(weekday)
    eight_hours = 8 * 3_600_000
    f["to_funding"] = 1 - (t + BAR_MS) % eight_hours / eight_hours
    quarter, ends = higher(candles, 3)
    f["rsi_14_15m"] = last_closed(rsi(quarter.close, 14), ends, t)
    quarter_atr = wilder(true_range(quarter.high, quarter.low, quarter.close), 14)
    f["ema_dist_21_15m"] = last_closed((quarter.close - ema(quarter.close, 21)) / quarter_atr, ends, t)
    hourly, ends = higher(candles, 12)
    f["rsi_14_1h"] = last_closed(rsi(hourly.close, 14), ends, t)
    hour_atr = wilder(true_range(hourly.high, hourly.low, hourly.close), 14)
    f["macd_hist_1h"] = last_closed(macd_and_histogram(hourly.close)[1] / hour_atr, ends, t)
    hour_r = np.log(hourly.close).diff()
    f["rv_24_1h"] = last_closed(np.sqrt((hour_r**2).rolling(24).mean()), ends, t)
    four, ends = higher(candles, 48)
    f["ret_1_4h"] = last_closed(np.log(four.close).diff(), ends, t)
    btc, index = np.log(candles.btc_close), candles["index"]
    b = btc.diff()
    f["btc_ret_1"], f["btc_ret_12"] = b, btc - btc.shift(12)
    f["beta_96"] = r.rolling(96).cov(b, ddof=0) / b.rolling(96).var(ddof=0)
    f["resid_12"] = f["ret_12"] - f["beta_96"] * f["btc_ret_12"]
    f["funding"] = candles.funding
    f["basis"] = (candles.mark - index) / index
    interest = np.log(candles.open_interest)
    f["oi_chg_12"] = interest - interest.shift(12)
    return pd.DataFrame(f)


def ema(x: pd.Series, n: int) -> pd.Series:
    return x.ewm(span=n, adjust=False).mean()


def wilder(x: pd.Series, n: int) -> pd.Series:
    return x.ewm(alpha=1 / n, adjust=False).mean()


def true_range(h: pd.Series, l: pd.Series, c: pd.Series) -> pd.Series:
    before = c.shift(1)
    return np.fmax(h, before) - np.fmin(l, before)


def rsi(c: pd.Series, n: int) -> pd.Series:
    change = c.diff()
    gain, loss = wilder(change.clip(lower=0), n), wilder(-change.clip(upper=0), n)
    return gain / (gain + loss)


def macd_and_histogram(c: pd.Series) -> tuple[pd.Series, pd.Series]:
    macd = ema(c, 12) - ema(c, 26)
    return macd, macd - ema(macd, 9)


def windows(x: pd.Series, n: int, statistic: object) -> pd.Series:
    """``statistic`` of every window of ``n`` values, given as the rows of a matrix."""
    values = np.full(len(x), np.nan)
    values[n - 1 :] = statistic(sliding_window_view(x.to_numpy(), n))  # type: ignore[operator]
    return pd.Series(values, index=x.index)


def slope_t(w: np.ndarray) -> np.ndarray:
    """Ordinary least squares of each row on 0, 1, 2, ...: slope over its standard error."""
    n = w.shape[1]
    x = np.arange(n) - (n - 1) / 2
    y = w - w.mean(axis=1, keepdims=True)
    slope = y @ x / (x @ x)
    residual = y - slope[:, None] * x
    return slope / np.sqrt((residual**2).sum(axis=1) / (n - 2) / (x @ x))


def higher(candles: pd.DataFrame, bars: int) -> tuple[pd.DataFrame, pd.Series]:
    """Complete candles of ``bars`` 5m candles, and the time each one ends."""
    group = candles.groupby(candles.open_time // (bars * BAR_MS))
    frame = group.agg(high=("high", "max"), low=("low", "min"), close=("close", "last"), n=("close", "size"))
    frame = frame[frame.n == bars]
    return frame, pd.Series((frame.index + 1) * bars * BAR_MS, index=frame.index)


def last_closed(x: pd.Series, ends: pd.Series, t: pd.Series) -> pd.Series:
    """For every 5m candle, the value of the last higher candle that had ended when it ended."""
    position = np.searchsorted(ends.to_numpy(), t.to_numpy() + BAR_MS, side="right") - 1
    values = np.where(position >= 0, x.to_numpy()[np.maximum(position, 0)], np.nan)
    return pd.Series(values, index=t.index)
