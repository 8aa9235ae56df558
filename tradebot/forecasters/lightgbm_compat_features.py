"""The 58 indicators of the original recipe (models.md section 4.1), price levels included.

For comparison only: levels tell the epoch of a row, and averages with infinite memory start with the first candle
given. The product's features are those of ``tradebot.features``.
"""

from __future__ import annotations

import numpy as np

from tradebot.forecasters.base import CandleColumns, Floats
from tradebot.market.candle import DAY_MS

NAMES = (
    *(f"return_{k}" for k in (1, 3, 5, 10, 15)),
    "log_return",
    "range",
    "body",
    *(f"std_{n}" for n in (5, 10, 20)),
    "rsi_14",
    "rsi_21",
    "stoch_rsi",
    "macd",
    "macd_signal",
    "macd_hist",
    *(
        f"{kind}_{n}{what}"
        for kind, ns in (("ema", (9, 21, 50)), ("sma", (20, 50, 200)))
        for n in ns
        for what in ("", "_dist")
    ),
    "bb_upper",
    "bb_middle",
    "bb_lower",
    "bb_width",
    "bb_position",
    "atr",
    "atr_pct",
    "adx",
    "plus_di",
    "minus_di",
    *(f"volume_{what}_{n}" for n in (5, 10, 20) for what in ("ma", "ratio")),
    "obv",
    "obv_ema",
    "obv_change",
    "mfi_14",
    "williams_r",
    "cci_20",
    *(f"roc_{n}" for n in (5, 10, 20)),
    "hour",
    "weekday",
    "hour_sin",
    "hour_cos",
)
"""Columns of ``table`` in order."""


def table(candles: CandleColumns) -> Floats:
    """Indicators (N, 58) of closed candles, oldest first; NaN while an indicator has too few."""
    o, h, low, c, v = candles.open, candles.high, candles.low, candles.close, candles.volume
    with np.errstate(divide="ignore", invalid="ignore"):
        ret = c / _before(c, 1) - 1.0
        change = c - _before(c, 1)
        columns = [c / _before(c, k) - 1.0 for k in (1, 3, 5, 10, 15)]
        columns += [np.log(c / _before(c, 1)), (h - low) / c, (c - o) / o]
        columns += [_deviation(ret, n) for n in (5, 10, 20)]
        rsi = {n: _rsi(change, n) for n in (14, 21)}
        lowest, highest = _window(rsi[14], 14).min(axis=1), _window(rsi[14], 14).max(axis=1)
        columns += [rsi[14], rsi[21], (rsi[14] - lowest) / (highest - lowest)]
        macd = _ema(c, 2 / 13) - _ema(c, 2 / 27)
        signal = _ema(macd, 2 / 10)
        columns += [macd, signal, macd - signal]
        for averages in ([_ema(c, 2 / (n + 1)) for n in (9, 21, 50)], [_mean(c, n) for n in (20, 50, 200)]):
            for average in averages:
                columns += [average, c / average - 1.0]
        middle, spread = _mean(c, 20), 2 * _deviation(c, 20)
        columns += [middle + spread, middle, middle - spread, 2 * spread / middle, (c - middle + spread) / (2 * spread)]
        last = _before(c, 1)
        true_range = np.fmax(h - low, np.fmax(np.abs(h - last), np.abs(low - last)))
        atr = _ema(true_range, 1 / 14)
        columns += [atr, atr / c]
        up, down = h - _before(h, 1), _before(low, 1) - low
        plus = 100 * _ema(np.where((up > down) & (up > 0), up, 0.0), 1 / 14) / atr
        minus = 100 * _ema(np.where((down > up) & (down > 0), down, 0.0), 1 / 14) / atr
        columns += [_ema(np.nan_to_num(100 * np.abs(plus - minus) / (plus + minus)), 1 / 14), plus, minus]
        for n in (5, 10, 20):
            columns += [_mean(v, n), v / _mean(v, n)]
        obv = np.cumsum(np.sign(np.nan_to_num(change)) * v)
        columns += [obv, _ema(obv, 2 / 21), obv - _before(obv, 1)]
        typical = (h + low + c) / 3
        rose = np.sign(np.nan_to_num(typical - _before(typical, 1))) * typical * v
        gained, lost = _mean(np.maximum(rose, 0.0), 14), _mean(np.maximum(-rose, 0.0), 14)
        columns += [100 * gained / (gained + lost)]
        top, bottom = _window(h, 14).max(axis=1), _window(low, 14).min(axis=1)
        columns += [-100 * (top - c) / (top - bottom)]
        away = np.abs(_window(typical, 20) - _mean(typical, 20)[:, None]).mean(axis=1)
        columns += [(typical - _mean(typical, 20)) / (0.015 * away)]
        columns += [100 * (c / _before(c, n) - 1.0) for n in (5, 10, 20)]
    hour = (candles.open_ms % DAY_MS) / (DAY_MS / 24)
    weekday = (candles.open_ms // DAY_MS + 3) % 7
    turn = 2 * np.pi * np.floor(hour) / 24
    columns += [np.floor(hour), weekday.astype(np.float64), np.sin(turn), np.cos(turn)]
    found = np.stack(columns, axis=1)
    found[~np.isfinite(found)] = np.nan
    return found


def _before(x: Floats, k: int) -> Floats:
    return np.concatenate([np.full(k, np.nan), x[:-k]])


def _window(x: Floats, n: int) -> Floats:
    """The last ``n`` values at each row (N, n)."""
    return np.lib.stride_tricks.sliding_window_view(np.concatenate([np.full(n - 1, np.nan), x]), n)


def _mean(x: Floats, n: int) -> Floats:
    mean: Floats = _window(x, n).mean(axis=1)
    return mean


def _deviation(x: Floats, n: int) -> Floats:
    deviation: Floats = _window(x, n).std(axis=1, ddof=1)
    return deviation


def _ema(x: Floats, weight: float) -> Floats:
    """Exponential average from the first value on; a missing value counts as none."""
    average = 0.0
    found = np.empty(len(x))
    begun = False
    for i, value in enumerate(x.tolist()):
        if value == value:
            average = average + weight * (value - average) if begun else value
            begun = True
        found[i] = average if begun else np.nan
    return found


def _rsi(change: Floats, n: int) -> Floats:
    gain, loss = _ema(np.maximum(change, 0.0), 1 / n), _ema(np.maximum(-change, 0.0), 1 / n)
    strength: Floats = 100 * gain / (gain + loss)
    return strength
