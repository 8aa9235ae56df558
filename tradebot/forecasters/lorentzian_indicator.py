"""The indicator *Machine Learning: Lorentzian Classification* on closed candles (jdehorty; models.md section 5.1).

Five inputs, a distance ``d(x, y) = Σ_f ln(1 + |x_f − y_f|)``, and the labels of some earlier bars summed to a score in
[−k, k]. Two forms of which bars those are:

``compat``
    As published. The label kept for a bar is of the same time and contrarian: short when the close rose over the last
    four bars, long when it fell. The stored bars are never trimmed and searched from the oldest on, at most ``memory``
    of them, so that a long history is searched in its *first* bars. A bar counts when it is at least as far as the
    last one that counted and its number is no multiple of four; with more than k neighbours the bar falls back to the
    distance at three quarters of the list and the oldest neighbour goes. The list lives on from bar to bar.

``proper``
    A true label, the return over the *next* bars; only bars whose label was known; the k nearest, exactly; candidates
    at least ``spacing`` bars apart; the newest ``memory`` of them.
"""

from __future__ import annotations

from typing import Final

import numba
import numpy as np
import numpy.typing as npt

from tradebot.forecasters.base import Floats

Scores = npt.NDArray[np.int64]

NEIGHBOURS: Final = 8
MEMORY: Final = 2_000
LABEL_BARS: Final = 4
INPUTS: Final = ("rsi_14", "wt_diff", "cci_close_20", "adx_20", "rsi_9")
"""Their names in the views ``bars-*``."""


@numba.njit(cache=True, nogil=True, error_model="numpy")
def indicator_inputs(high: Floats, low: Floats, close: Floats) -> Floats:
    """The five inputs (N, 5) as the indicator scales them; NaN while they warm up.

    RSI(14) and RSI(9) of the close, ADX(20): over 100. WaveTrend(10, 11) of hlc3 less its average of 4, and CCI(20) of
    the close: rescaled to [0, 1] by the least and the greatest value seen *so far*. Exponential averages begin with
    their first value, Wilder's with the mean of their first ``n``; the candle before the first moved nothing.
    """
    rows = len(close)
    out = np.full((rows, 5), np.nan)
    out[:, 0] = _rsi(close, 14) / 100.0
    out[:, 1] = _rescaled(_wave_trend_difference(high, low, close))
    out[:, 2] = _rescaled(_cci(close, 20))
    out[:, 3] = _adx(high, low, close, 20) / 100.0
    out[:, 4] = _rsi(close, 9) / 100.0
    return out


def contrarian_labels(close: Floats) -> npt.NDArray[np.int8]:
    """What ``compat`` stores for a bar: −1 where the close rose over the last four bars, 1 where it fell, else 0.

    >>> contrarian_labels(np.array([1.0, 1.0, 1.0, 1.0, 2.0, 0.5, 1.0])).tolist()
    [0, 0, 0, 0, -1, 1, 0]
    """
    labels = np.zeros(len(close), dtype=np.int8)
    labels[LABEL_BARS:] = -np.sign(close[LABEL_BARS:] - close[:-LABEL_BARS]).astype(np.int8)
    return labels


def forward_labels(close: Floats, bars: int = LABEL_BARS) -> npt.NDArray[np.int8]:
    """What ``proper`` stores: the sign of the move over the next ``bars``; 0 for the newest, whose label nobody knows.

    >>> forward_labels(np.array([1.0, 2.0, 3.0, 1.0]), 2).tolist()
    [1, -1, 0, 0]
    """
    labels = np.zeros(len(close), dtype=np.int8)
    labels[:-bars] = np.sign(close[bars:] - close[:-bars]).astype(np.int8)
    return labels


@numba.njit(cache=True, nogil=True, error_model="numpy")
def compat_scores(x: Floats, labels: npt.NDArray[np.int8], k: int = NEIGHBOURS, memory: int = MEMORY) -> Scores:
    """The published prediction at every bar (N,), from −k to k. ``x`` (N, F) inputs, ``labels`` (N,) contrarian ones.

    Needs the whole history: bar t depends on the first ``memory`` bars and on every list since.
    """
    rows, width = x.shape
    scores = np.zeros(rows, dtype=np.int64)
    distances, votes = np.empty(k + 1), np.empty(k + 1, dtype=np.int64)
    held = 0
    back = int(np.floor(3.0 * k / 4.0 + 0.5))
    for t in range(rows):
        last = -1.0
        for i in range(min(memory - 1, t) + 1):
            if i % 4 == 0:
                continue
            d = 0.0
            for f in range(width):
                d += np.log(1.0 + abs(x[t, f] - x[i, f]))
            if not d >= last:  # nothing is at least as far as what is missing
                continue
            last = d
            distances[held], votes[held] = d, labels[i]
            held += 1
            if held > k:
                last = distances[back]
                for j in range(k):
                    distances[j], votes[j] = distances[j + 1], votes[j + 1]
                held = k
        total = 0
        for j in range(held):
            total += votes[j]
        scores[t] = total
    return scores


@numba.njit(cache=True, nogil=True, error_model="numpy")
def proper_scores(
    x: Floats,
    labels: npt.NDArray[np.int8],
    k: int = NEIGHBOURS,
    memory: int = MEMORY,
    spacing: int = LABEL_BARS,
    label_bars: int = LABEL_BARS,
) -> Scores:
    """Sum of the labels of the k nearest at every bar (N,). ``labels`` (N,) tell of the ``label_bars`` after their bar.

    Candidates of bar t are t − label_bars, and from there every ``spacing`` bars back, ``memory`` of them; those that
    miss an input are left out. Of equal distances the newer bar is taken.
    """
    rows, width = x.shape
    scores = np.zeros(rows, dtype=np.int64)
    nearest, votes = np.empty(k), np.empty(k, dtype=np.int64)
    for t in range(rows):
        held = 0
        for n in range(memory):
            i = t - label_bars - n * spacing
            if i < 0:
                break
            d = 0.0
            for f in range(width):
                d += np.log(1.0 + abs(x[t, f] - x[i, f]))
            if np.isnan(d) or (held == k and d >= nearest[k - 1]):
                continue
            at = held if held < k else k - 1
            while at > 0 and nearest[at - 1] > d:
                nearest[at], votes[at] = nearest[at - 1], votes[at - 1]
                at -= 1
            nearest[at], votes[at] = d, labels[i]
            held = min(held + 1, k)
        total = 0
        for j in range(held):
            total += votes[j]
        scores[t] = total
    return scores


# --- inputs ---------------------------------------------------------------------------------------------------------


@numba.njit(cache=True, error_model="numpy")
def _wilder(x: Floats, n: int) -> Floats:
    """Wilder's average; NaN before ``n`` values, missing values before the first are skipped."""
    out = np.full(len(x), np.nan)
    total, count, value = 0.0, 0, 0.0
    for t in range(len(x)):
        if np.isnan(x[t]):
            continue
        count += 1
        if count < n:
            total += x[t]
            continue
        value = (total + x[t]) / n if count == n else value + (x[t] - value) / n
        out[t] = value
    return out


@numba.njit(cache=True, error_model="numpy")
def _rsi(close: Floats, n: int) -> Floats:
    up, down = np.full(len(close), np.nan), np.full(len(close), np.nan)
    for t in range(1, len(close)):
        up[t], down[t] = max(close[t] - close[t - 1], 0.0), max(close[t - 1] - close[t], 0.0)
    risen, fallen = _wilder(up, n), _wilder(down, n)
    out = np.full(len(close), np.nan)
    for t in range(len(close)):
        if not np.isnan(risen[t]):
            out[t] = 100.0 if fallen[t] == 0.0 else 100.0 - 100.0 / (1.0 + risen[t] / fallen[t])
    return out


@numba.njit(cache=True, error_model="numpy")
def _wave_trend_difference(high: Floats, low: Floats, close: Floats) -> Floats:
    out = np.full(len(close), np.nan)
    slow, apart, wave, known = 0.0, 0.0, 0.0, 0
    recent = np.zeros(4)
    for t in range(len(close)):
        price = (high[t] + low[t] + close[t]) / 3.0
        slow = price if t == 0 else slow + (price - slow) * 2.0 / 11.0
        apart = abs(price - slow) if t == 0 else apart + (abs(price - slow) - apart) * 2.0 / 11.0
        if apart == 0.0:
            continue
        index = (price - slow) / (0.015 * apart)
        wave = index if known == 0 else wave + (index - wave) * 2.0 / 12.0
        recent[known % 4] = wave
        known += 1
        if known >= 4:
            out[t] = wave - (recent[0] + recent[1] + recent[2] + recent[3]) / 4.0
    return out


@numba.njit(cache=True, error_model="numpy")
def _cci(close: Floats, n: int) -> Floats:
    out = np.full(len(close), np.nan)
    for t in range(n - 1, len(close)):
        mean = close[t - n + 1 : t + 1].mean()
        spread = np.abs(close[t - n + 1 : t + 1] - mean).mean()
        if spread > 0.0:
            out[t] = (close[t] - mean) / (0.015 * spread)
    return out


@numba.njit(cache=True, error_model="numpy")
def _adx(high: Floats, low: Floats, close: Floats, n: int) -> Floats:
    trend = np.full(len(close), np.nan)
    ranged, rose, fell = 0.0, 0.0, 0.0
    for t in range(len(close)):
        before = close[t - 1] if t else close[0]
        up, down = (high[t] - high[t - 1], low[t - 1] - low[t]) if t else (0.0, 0.0)
        ranged += max(high[t], before) - min(low[t], before) - ranged / n
        rose += (up if up > down and up > 0.0 else 0.0) - rose / n
        fell += (down if down > up and down > 0.0 else 0.0) - fell / n
        if ranged > 0.0 and rose + fell > 0.0:
            trend[t] = abs(rose - fell) / (rose + fell) * 100.0
    return _wilder(trend, n)


@numba.njit(cache=True, error_model="numpy")
def _rescaled(x: Floats) -> Floats:
    out = np.full(len(x), np.nan)
    least, most = np.inf, -np.inf
    for t in range(len(x)):
        if not np.isnan(x[t]):
            least, most = min(least, x[t]), max(most, x[t])
            out[t] = (x[t] - least) / max(most - least, 1e-9)
    return out
