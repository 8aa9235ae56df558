"""What every column of a row of the views ``bars-5m``, ``bars-15m`` and ``bars-1h`` is. The order here is that in rows.

From these columns the inputs of the published nets can be made: the eighteen of models.md section 5.2 and the
twenty-nine of 6.1; and the features and filters of the indicator of 5.1.
"""

from __future__ import annotations

from typing import Final

from tradebot.features import catalogue
from tradebot.features.catalogue import APPEL, AVERAGE, BOLLINGER, CANDLE, LEAD, REALISED, VOLUMES, WILDER, over
from tradebot.features.feature import Feature, schema_hash

BARS_VERSION: Final = 1
"""Raised whenever a number that the kernel gives changes without a change of a formula's text."""

RAW = "exchange"
WAVE = "LazyBear's WaveTrend oscillator, 2014; models.md section 5.1"
NADARAYA = "Nadaraya 1964 and Watson 1964; models.md section 5.1"
GRANVILLE = "Granville's on-balance volume, 1963"

_SHARED = {feature.name: feature for feature in catalogue.CATALOGUE}


def _shared(names: str) -> tuple[Feature, ...]:
    """Features that the view ``candles-5m`` has too: the same function of the candles, whatever their interval."""
    return tuple(_SHARED[name] for name in names.split())


BARS: Final[tuple[Feature, ...]] = (
    Feature("open", "o", 0, "USDT", "First price of the candle.", RAW),
    Feature("high", "h", 0, "USDT", "Highest price of the candle.", RAW),
    Feature("low", "l", 0, "USDT", "Lowest price of the candle.", RAW),
    Feature("close", "c", 0, "USDT", "Last price of the candle.", RAW),
    Feature("volume", "v", 0, "base", "What was traded in the candle.", RAW),
    *_shared("ret_1 ret_2 ret_3 ret_6 ret_12 ret_24 ret_48"),
    *(
        Feature(
            f"vol_{n}",
            f"std(r) over {n}",
            n,
            "ln",
            f"How much a candle moved about its mean, over the last {n}.",
            REALISED,
        )
        for n in (10, 20)
    ),
    _SHARED["rv_12"],
    Feature("rv_24", "sqrt(mean(r^2) over 24)", 25, "ln", "How much a candle moved, over the last 24.", REALISED),
    *_shared("rv_48 atr_pct"),
    Feature(
        "rsi_9",
        "W9(gain) / (W9(gain) + W9(loss))",
        36,
        "share",
        "Relative strength: share of the average move of about 9 candles that was upwards.",
        WILDER,
    ),
    *_shared("rsi_14 rsi_21"),
    Feature(
        "wt1",
        "E11((tp - E10(tp)) / (0.015 E10(|tp - E10(tp)|)), 0 where it does not move) / 100",
        84,
        "ratio",
        "How far the typical price has swung from its average, smoothed.",
        WAVE,
    ),
    Feature("wt2", "mean(wt1) over 4", 87, "ratio", "The same, smoothed over four candles.", WAVE),
    Feature("wt_diff", "wt1 - wt2", 87, "ratio", "Whether the swing grows (positive) or turns.", WAVE),
    _SHARED["cci_20"],
    Feature(
        "cci_close_20",
        "(c - mean c) / (0.015 mean|c - mean c|) over 20 / 100",
        20,
        "ratio",
        "How unusually far the close stands from its mean.",
        "Lambert's commodity channel index, Commodities 9, 1980, of closes",
    ),
    _SHARED["adx_14"],
    Feature(
        "adx_20",
        "W20(|W20(DM+) - W20(DM-)| / (W20(DM+) + W20(DM-)), 0 where both are 0)",
        120,
        "share",
        "Strength of a trend over about 20 candles, whichever way it goes.",
        WILDER,
    ),
    *_shared("di_diff macd"),
    Feature(
        "macd_signal",
        "E9(M) / A with M = E12(c) - E26(c)",
        140,
        "atr",
        "Average of the lead of the quick average over the slow one.",
        APPEL,
    ),
    *_shared("macd_hist stoch_k stoch_d mfi_14 bb_pctb bb_width"),
    Feature("zscore_20", "(c - mean c) / std(c) over 20", 20, "z", "How unusual the close is.", BOLLINGER),
    _SHARED["ema_dist_9"],
    *(
        Feature(
            f"ema_dist_{n}",
            f"(c - E{n}(c)) / A",
            4 * n,
            "atr",
            f"How far the close stands above its exponential average over {n} candles.",
            AVERAGE,
        )
        for n in (10, 20)
    ),
    *_shared("ema_dist_21 ema_dist_50"),
    *(
        Feature(
            f"sma_dist_{n}",
            f"(c - mean c over {n}) / A",
            max(n, 56),
            "atr",
            f"How far the close stands above its mean over {n} candles.",
            AVERAGE,
        )
        for n in (5, 10, 20, 50)
    ),
    Feature("vol_ratio_20", "v / mean v over 20", 20, "ratio", "Whether more was traded than of late.", VOLUMES),
    *_shared("vol_z_48 obv_norm_24"),
    Feature(
        "obv_dist_20",
        "(V - E20(V)) / E20(v) with V the running sum of sign(r) v",
        80,
        "ratio",
        "How far on-balance volume stands above its average, in average volumes.",
        GRANVILLE,
    ),
    *_shared("cmf_20 donchian_48 eff_ratio_24 body upper_wick lower_wick range_atr"),
    Feature("tr_atr", "TR / A", 56, "atr", "How large the candle with its gap is compared with the usual.", WILDER),
    _SHARED["gap"],
    Feature(
        "clv",
        "(2 c - h - l) / (h - l + eps)",
        1,
        "share",
        "Whether the close was near the high (1) or the low (-1).",
        "close location value of Chaikin",
    ),
    Feature("high_low", "ln(h / l)", 1, "ln", "How far the candle ranged.", CANDLE),
    Feature("close_open", "ln(c / o)", 1, "ln", "How far the candle moved from its open.", CANDLE),
    *_shared("hour_sin hour_cos weekday_sin weekday_cos"),
    Feature(
        "atr1_atr10",
        "TR / W10(TR)",
        40,
        "ratio",
        "Whether the candle is larger than usual: the volatility filter passes above 1.",
        "models.md section 5.1",
    ),
    Feature(
        "regime",
        "(s - E200(s)) / E200(s); s = |k - k[1 ago]|; k += a (p - k); a = (sqrt(w^4 + 16 w^2) - w^2) / 8; "
        "w = |x / y|, x = .2 (p - p[1 ago]) + .8 x[1 ago], y = .1 (h - l) + .8 y[1 ago], p = (o + h + l + c) / 4",
        800,
        "ratio",
        "Whether an adaptive average slopes more than usual: the regime filter passes at -0.1 and above.",
        "models.md section 5.1",
    ),
    Feature(
        "kernel_rq_slope",
        "(q - q[1 ago]) / c; q = mean of 27 closes weighted (1 + i^2 / 1024)^-8 for the one i ago",
        27,
        "ratio",
        "Whether a kernel regression of the close rises.",
        NADARAYA,
    ),
    Feature(
        "kernel_gauss_diff",
        "(g - q) / c; g as q, weighted exp(-i^2 / 72)",
        27,
        "ratio",
        "Whether the quicker kernel regression lies above the slower one.",
        NADARAYA,
    ),
    *_shared("btc_ret_1 btc_ret_12"),
    *(
        Feature(
            f"eth_ret_{k}",
            f"ln(x / x[{k} ago]) of ETH's close x",
            k,
            "ln",
            f"How far ETH moved over {over(k)}.",
            LEAD,
            ("eth_close",),
        )
        for k in (1, 12)
    ),
    _SHARED["funding"],
)

BARS_NAMES: Final[tuple[str, ...]] = tuple(feature.name for feature in BARS)
COMPAT_ONLY: Final[tuple[str, ...]] = tuple(feature.name for feature in BARS if feature.unit in ("USDT", "base"))
"""Columns that are not free of scale: for nets that copy a published one, and for nothing else."""


def bars_hash(interval: str) -> str:
    """Schema of a bars view."""
    return schema_hash(BARS_VERSION, interval, BARS)


def bars_column(name: str) -> int:
    """Position of a feature in a row of a bars view. Raises KeyError for a name that it does not have.

    >>> bars_column("open"), bars_column("funding") + 1 == len(BARS)
    (0, True)
    """
    return _POSITION[name]


_POSITION: Final = {name: position for position, name in enumerate(BARS_NAMES)}
