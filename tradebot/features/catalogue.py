"""What every column of a candle feature row is: name, formula, warm-up, unit. The order here is the order in rows."""

from __future__ import annotations

import hashlib
import json
from typing import Final, Literal

import msgspec

from tradebot.features.epoch import INTERVAL

KERNEL_VERSION: Final = 2
"""Raised whenever a number that the kernel gives changes without a change of a formula's text."""

Unit = Literal["ln", "ratio", "share", "z", "t", "atr", "ln(1/USDT)", "corr"]


class Feature(msgspec.Struct, frozen=True):
    """One column. ``warmup`` is how many candles must come before the current one for the value to mean something.

    ``unit``: ``ln`` a log return or volatility per candle; ``atr`` multiples of the 5m ATR14; ``share`` in [0, 1] or
    [-1, 1]; ``ratio`` dimensionless; ``z`` standard deviations; ``t`` a t-statistic; ``corr`` a correlation.
    """

    name: str
    formula: str
    warmup: int
    unit: Unit


CATALOGUE: Final[tuple[Feature, ...]] = (
    *(Feature(f"ret_{k}", f"ln(c / c[{k} ago])", k, "ln") for k in (1, 2, 3, 6, 12, 24, 48, 96)),
    Feature("ret_z", "ret_1 / rv_48", 49, "z"),
    Feature("accel", "ret_3 - ret_3[3 ago]", 6, "ln"),
    Feature("ac1_48", "corr(r, r[1 ago]) over 48", 50, "corr"),
    Feature("up_share_12", "mean(1 where r > 0) over 12", 13, "share"),
    *(Feature(f"rv_{n}", f"sqrt(mean(r^2) over {n})", n + 1, "ln") for n in (12, 48, 288)),
    Feature("parkinson_24", "sqrt(mean(ln(h/l)^2) over 24 / (4 ln 2))", 24, "ln"),
    Feature("garman_klass_24", "sqrt(mean(ln(h/l)^2 / 2 - (2 ln 2 - 1) ln(c/o)^2) over 24)", 24, "ln"),
    Feature("rogers_satchell_24", "sqrt(mean(ln(h/c) ln(h/o) + ln(l/c) ln(l/o)) over 24)", 24, "ln"),
    Feature("atr_pct", "A / c", 56, "ratio"),
    Feature("rv_ratio", "rv_12 / rv_288", 289, "ratio"),
    Feature("vol_of_vol", "std(rv_12) / mean(rv_12) over 48", 60, "ratio"),
    Feature("semivar_skew_48", "(sum(r^2 where r > 0) - sum(r^2 where r < 0)) / sum(r^2) over 48", 49, "share"),
    Feature("jump_48", "1 - pi/2 mean(|r r[1 ago]|) / mean(r^2) over 48", 50, "ratio"),
    *(Feature(f"rsi_{n}", f"W{n}(gain) / (W{n}(gain) + W{n}(loss))", 4 * n, "share") for n in (7, 14, 21)),
    Feature("stochrsi_14", "(rsi_14 - min) / (max - min + eps) over 14", 70, "share"),
    Feature("stoch_k", "(c - min l) / (max h - min l) over 14", 14, "share"),
    Feature("stoch_d", "mean(stoch_k) over 3", 16, "share"),
    Feature("cci_20", "(tp - mean tp) / (0.015 mean|tp - mean tp|) over 20 / 100", 20, "ratio"),
    Feature("mfi_14", "up / (up + down), sums over 14 of tp v where tp rose or fell", 15, "share"),
    Feature("macd", "(E12(c) - E26(c)) / A", 140, "atr"),
    Feature("macd_hist", "(M - E9(M)) / A with M = E12(c) - E26(c)", 140, "atr"),
    Feature("macd_hist_diff", "macd_hist - macd_hist[1 ago]", 140, "atr"),
    Feature("eff_ratio_24", "|c - c[24 ago]| / sum(|c - c[1 ago]|) over 24", 25, "share"),
    Feature("slope_t_24", "t-statistic of the slope of ln c on time over 24", 24, "t"),
    Feature("donchian_48", "(c - min l) / (max h - min l) over 48", 48, "share"),
    *(Feature(f"ema_dist_{n}", f"(c - E{n}(c)) / A", 4 * n, "atr") for n in (9, 21, 50)),
    Feature("sma_dist_200", "(c - mean c over 200) / A", 200, "atr"),
    Feature("ema_cross", "(E9(c) - E21(c)) / A", 84, "atr"),
    Feature("adx_14", "W14(|DI+ - DI-| / (DI+ + DI-), 0 where both are 0)", 84, "share"),
    Feature("di_diff", "DI+ - DI- with DI = W14(DM) / A", 84, "share"),
    Feature("aroon_25", "(bars since lowest l - bars since highest h) / 25 over 26, latest of equals", 26, "share"),
    Feature("bb_pctb", "(c - low) / (up - low), bands at mean c over 20 plus and minus 2 std", 20, "ratio"),
    Feature("bb_width", "(up - low) / mean c over 20", 20, "ratio"),
    Feature("bb_width_rank", "(below + (equal + 1) / 2) / 288 of bb_width among its last 288", 308, "share"),
    Feature("vol_z_48", "(x - mean) / std over 48 of x = ln(1 + v)", 48, "z"),
    Feature("vol_ratio", "mean v over 12 / mean v over 96", 96, "ratio"),
    Feature("vol_tod", "ln(1 + v) - its mean at the same time of the 7 days before", 2016, "ratio"),
    Feature("obv_norm_24", "sum(sign(r) v) / sum(v) over 24", 25, "share"),
    Feature("cmf_20", "sum(clv v) / sum(v) over 20", 20, "share"),
    Feature("vwap_dist_48", "(c - sum(tp v) / sum(v)) / A over 48", 48, "atr"),
    Feature("vwap_dist_day", "(c - sum(tp v) / sum(v)) / A since 00:00 UTC", 1, "atr"),
    Feature("amihud_24", "ln(mean(|r| / (c v + eps)) over 24 + eps)", 25, "ln(1/USDT)"),
    Feature("kyle_48", "corr(r, sign(r) sqrt(c v)) over 48", 49, "corr"),
    Feature("body", "(c - o) / (h - l + eps)", 1, "share"),
    Feature("upper_wick", "(h - max(o, c)) / (h - l + eps)", 1, "share"),
    Feature("lower_wick", "(min(o, c) - l) / (h - l + eps)", 1, "share"),
    Feature("range_atr", "(h - l) / A", 56, "atr"),
    Feature("gap", "ln(o / c[1 ago])", 2, "ln"),
    Feature("clv_6", "mean(clv) over 6 with clv = (2 c - h - l) / (h - l + eps)", 6, "share"),
    Feature("hour_sin", "sin(2 pi time of day of the open, UTC / 24 h)", 1, "share"),
    Feature("hour_cos", "cos(2 pi time of day of the open, UTC / 24 h)", 1, "share"),
    Feature("weekday_sin", "sin(2 pi weekday / 7), Monday 0, of the open, UTC", 1, "share"),
    Feature("weekday_cos", "cos(2 pi weekday / 7), Monday 0, of the open, UTC", 1, "share"),
    Feature("to_funding", "time from the close to the next 00, 08 or 16 h UTC / 8 h, in (0, 1]", 1, "share"),
    Feature("rsi_14_15m", "rsi_14 of the last closed 15m candle", 252, "share"),
    Feature("ema_dist_21_15m", "ema_dist_21 of the last closed 15m candle, in its own ATR14", 252, "atr"),
    Feature("rsi_14_1h", "rsi_14 of the last closed 1h candle", 1680, "share"),
    Feature("macd_hist_1h", "macd_hist of the last closed 1h candle, in its own ATR14", 1680, "atr"),
    Feature("rv_24_1h", "rv_24 of the last closed 1h candle", 1680, "ln"),
    Feature("ret_1_4h", "ret_1 of the last closed 4h candle", 96, "ln"),
)

NAMES: Final[tuple[str, ...]] = tuple(feature.name for feature in CATALOGUE)

SCHEMA_HASH: Final[str] = hashlib.sha256(
    json.dumps(
        [KERNEL_VERSION, INTERVAL, [[feature.name, feature.formula] for feature in CATALOGUE]], separators=(",", ":")
    ).encode()
).hexdigest()
"""Names, formulas and kernel version in one number. A model serves only rows of the schema it was trained on."""


def column(name: str) -> int:
    """Position of a feature in a row. Raises KeyError for a name that the catalogue does not have.

    >>> column("ret_1"), column("ret_1_4h")
    (0, 73)
    """
    return _POSITION[name]


_POSITION: Final = {name: position for position, name in enumerate(NAMES)}
