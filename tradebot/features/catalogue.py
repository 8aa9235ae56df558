"""What every column of a row of the view ``candles-5m`` is. The order here is the order in rows.

The list is that of models.md section 4.3.
"""

from __future__ import annotations

from typing import Final

from tradebot.features.epoch import INTERVAL
from tradebot.features.feature import Feature, schema_hash

KERNEL_VERSION: Final = 3
"""Raised whenever a number that the kernel gives changes without a change of a formula's text."""

RETURN = "log return"
REALISED = "realised volatility: Andersen & Bollerslev, International Economic Review 39, 1998"
WILDER = "Wilder, New Concepts in Technical Trading Systems, 1978"
LANE = "Lane's stochastic oscillator, 1950s"
APPEL = "Appel's moving average convergence divergence, 1979"
BOLLINGER = "Bollinger, Bollinger on Bollinger Bands, 2001"
VOLUMES = "quotient of two averages of volume"
CANDLE = "shape of a candle"
CLOCK = "seasonality of day and week"
HIGHER_TIMEFRAME = "the same feature of a longer candle"
LEAD = "lead and lag of the leading coins"
AVERAGE = "distance from a moving average"


def over(candles: int) -> str:
    """So many candles, in words."""
    return f"the last {candles} candles" if candles > 1 else "the last candle"


CATALOGUE: Final[tuple[Feature, ...]] = (
    *(
        Feature(f"ret_{k}", f"ln(c / c[{k} ago])", k, "ln", f"How far the price moved over {over(k)}.", RETURN)
        for k in (1, 2, 3, 6, 12, 24, 48, 96)
    ),
    Feature("ret_z", "ret_1 / rv_48", 49, "z", "The last move in units of what has been usual of late.", REALISED),
    Feature(
        "accel", "ret_3 - ret_3[3 ago]", 6, "ln", "Whether the last three candles moved more than those before.", RETURN
    ),
    Feature(
        "ac1_48",
        "corr(r, r[1 ago]) over 48",
        50,
        "corr",
        "Whether moves have been followed by moves the same way (positive) or back (negative).",
        "first-order autocorrelation: Lo & MacKinlay, Review of Financial Studies 1, 1988",
    ),
    Feature("up_share_12", "mean(1 where r > 0) over 12", 13, "share", "How many of the last candles rose.", RETURN),
    *(
        Feature(
            f"rv_{n}",
            f"sqrt(mean(r^2) over {n})",
            n + 1,
            "ln",
            f"How much a candle moved, over the last {n}.",
            REALISED,
        )
        for n in (12, 48, 288)
    ),
    Feature(
        "parkinson_24",
        "sqrt(mean(ln(h/l)^2) over 24 / (4 ln 2))",
        24,
        "ln",
        "Volatility from highs and lows, which sees moves that closes miss.",
        "Parkinson, Journal of Business 53, 1980",
    ),
    Feature(
        "garman_klass_24",
        "sqrt(mean(ln(h/l)^2 / 2 - (2 ln 2 - 1) ln(c/o)^2) over 24)",
        24,
        "ln",
        "Volatility from the whole candle, with less noise than from closes.",
        "Garman & Klass, Journal of Business 53, 1980",
    ),
    Feature(
        "rogers_satchell_24",
        "sqrt(mean(ln(h/c) ln(h/o) + ln(l/c) ln(l/o)) over 24)",
        24,
        "ln",
        "Volatility from the whole candle that a trend does not inflate.",
        "Rogers & Satchell, Annals of Applied Probability 1, 1991",
    ),
    Feature("atr_pct", "A / c", 56, "ratio", "Average true range as a fraction of the price.", WILDER),
    Feature(
        "rv_ratio", "rv_12 / rv_288", 289, "ratio", "Whether the last hour moved more than the last day.", REALISED
    ),
    Feature(
        "vol_of_vol",
        "std(rv_12) / mean(rv_12) over 48",
        60,
        "ratio",
        "How much volatility itself changed.",
        "volatility of volatility: Corsi et al., Econometric Reviews 27, 2008",
    ),
    Feature(
        "semivar_skew_48",
        "(sum(r^2 where r > 0) - sum(r^2 where r < 0)) / sum(r^2) over 48",
        49,
        "share",
        "Whether volatility came from rises (positive) or from falls.",
        "realised semivariance: Barndorff-Nielsen, Kinnebrock & Shephard, 2010",
    ),
    Feature(
        "jump_48",
        "1 - pi/2 mean(|r r[1 ago]|) / mean(r^2) over 48",
        50,
        "ratio",
        "Share of the variance that came in single jumps.",
        "bipower variation: Barndorff-Nielsen & Shephard, Journal of Financial Econometrics 2, 2004",
    ),
    *(
        Feature(
            f"rsi_{n}",
            f"W{n}(gain) / (W{n}(gain) + W{n}(loss))",
            4 * n,
            "share",
            f"Relative strength: share of the average move of about {n} candles that was upwards.",
            WILDER,
        )
        for n in (7, 14, 21)
    ),
    Feature(
        "stochrsi_14",
        "(rsi_14 - min) / (max - min + eps) over 14",
        70,
        "share",
        "Where relative strength stands between its own extremes.",
        "Chande & Kroll, The New Technical Trader, 1994",
    ),
    Feature(
        "stoch_k",
        "(c - min l) / (max h - min l) over 14",
        14,
        "share",
        "Where the close stands in the range of 14 candles.",
        LANE,
    ),
    Feature("stoch_d", "mean(stoch_k) over 3", 16, "share", "The same, smoothed over three candles.", LANE),
    Feature(
        "cci_20",
        "(tp - mean tp) / (0.015 mean|tp - mean tp|) over 20 / 100",
        20,
        "ratio",
        "How unusually far the typical price stands from its mean.",
        "Lambert's commodity channel index, Commodities 9, 1980",
    ),
    Feature(
        "mfi_14",
        "up / (up + down), sums over 14 of tp v where tp rose or fell",
        15,
        "share",
        "Relative strength weighted by money: share of turnover that came with a rise.",
        "Quong & Soudack's money flow index, 1989",
    ),
    Feature(
        "macd", "(E12(c) - E26(c)) / A", 140, "atr", "Whether the quick average runs ahead of the slow one.", APPEL
    ),
    Feature(
        "macd_hist",
        "(M - E9(M)) / A with M = E12(c) - E26(c)",
        140,
        "atr",
        "Whether that lead grows (positive) or shrinks.",
        APPEL,
    ),
    Feature("macd_hist_diff", "macd_hist - macd_hist[1 ago]", 140, "atr", "How the growth of the lead changed.", APPEL),
    Feature(
        "eff_ratio_24",
        "|c - c[24 ago]| / sum(|c - c[1 ago]|) over 24",
        25,
        "share",
        "How straight the way was: 1 a line, 0 back and forth.",
        "Kaufman's efficiency ratio, Smarter Trading, 1995",
    ),
    Feature(
        "slope_t_24",
        "t-statistic of the slope of ln c on time over 24",
        24,
        "t",
        "How clear a straight trend is against the scatter about it.",
        "ordinary least squares on time",
    ),
    Feature(
        "donchian_48",
        "(c - min l) / (max h - min l) over 48",
        48,
        "share",
        "Where the close stands in the range of 48 candles.",
        "Donchian's channel, 1960s",
    ),
    *(
        Feature(
            f"ema_dist_{n}",
            f"(c - E{n}(c)) / A",
            4 * n,
            "atr",
            f"How far the close stands above its exponential average over {n} candles.",
            AVERAGE,
        )
        for n in (9, 21, 50)
    ),
    Feature(
        "sma_dist_200",
        "(c - mean c over 200) / A",
        200,
        "atr",
        "How far the close stands above its mean over 200 candles.",
        AVERAGE,
    ),
    Feature(
        "ema_cross",
        "(E9(c) - E21(c)) / A",
        84,
        "atr",
        "Whether the average over 9 candles lies above that over 21.",
        AVERAGE,
    ),
    Feature(
        "adx_14",
        "W14(|DI+ - DI-| / (DI+ + DI-), 0 where both are 0)",
        84,
        "share",
        "Strength of a trend, whichever way it goes.",
        WILDER,
    ),
    Feature("di_diff", "DI+ - DI- with DI = W14(DM) / A", 84, "share", "Direction of a trend.", WILDER),
    Feature(
        "aroon_25",
        "(bars since lowest l - bars since highest h) / 25 over 26, latest of equals",
        26,
        "share",
        "Whether the highest high (positive) or the lowest low is more recent.",
        "Chande's Aroon oscillator, 1995",
    ),
    Feature(
        "bb_pctb",
        "(c - low) / (up - low), bands at mean c over 20 plus and minus 2 std",
        20,
        "ratio",
        "Where the close stands between the bands: 0 the lower, 1 the upper.",
        BOLLINGER,
    ),
    Feature(
        "bb_width", "(up - low) / mean c over 20", 20, "ratio", "Width of the bands relative to the price.", BOLLINGER
    ),
    Feature(
        "bb_width_rank",
        "(below + (equal + 1) / 2) / 288 of bb_width among its last 288",
        308,
        "share",
        "How wide the bands are compared with the last day.",
        BOLLINGER,
    ),
    Feature(
        "vol_z_48",
        "(x - mean) / std over 48 of x = ln(1 + v)",
        48,
        "z",
        "How unusual the volume of the candle is.",
        "standard score",
    ),
    Feature(
        "vol_ratio", "mean v over 12 / mean v over 96", 96, "ratio", "Whether more is traded than of late.", VOLUMES
    ),
    Feature(
        "vol_tod",
        "ln(1 + v) - its mean at the same time of the 7 days before",
        2016,
        "ratio",
        "How unusual the volume is for the time of day.",
        CLOCK,
    ),
    Feature(
        "obv_norm_24",
        "sum(sign(r) v) / sum(v) over 24",
        25,
        "share",
        "Share of volume in rising candles less that in falling ones.",
        "Granville's on-balance volume, 1963, over a window",
    ),
    Feature(
        "cmf_20",
        "sum(clv v) / sum(v) over 20",
        20,
        "share",
        "Whether volume came with closes near the highs (positive) or the lows.",
        "Chaikin's money flow, 1980s",
    ),
    Feature(
        "vwap_dist_48",
        "(c - sum(tp v) / sum(v)) / A over 48",
        48,
        "atr",
        "How far the close stands above the average price paid over 48 candles.",
        "Berkowitz, Logue & Noser, Journal of Finance 43, 1988",
    ),
    Feature(
        "vwap_dist_day",
        "(c - sum(tp v) / sum(v)) / A since 00:00 UTC",
        1,
        "atr",
        "How far the close stands above the average price paid today.",
        "Berkowitz, Logue & Noser, Journal of Finance 43, 1988",
    ),
    Feature(
        "amihud_24",
        "ln(mean(|r| / (c v + eps)) over 24 + eps)",
        25,
        "ln(1/USDT)",
        "How far a traded dollar moves the price: illiquidity.",
        "Amihud, Journal of Financial Markets 5, 2002",
    ),
    Feature(
        "kyle_48",
        "corr(r, sign(r) sqrt(c v)) over 48",
        49,
        "corr",
        "How closely moves follow the size of trading: price impact.",
        "after Kyle, Econometrica 53, 1985",
    ),
    Feature("body", "(c - o) / (h - l + eps)", 1, "share", "Body of the candle as a share of its range.", CANDLE),
    Feature("upper_wick", "(h - max(o, c)) / (h - l + eps)", 1, "share", "Share of the range above the body.", CANDLE),
    Feature("lower_wick", "(min(o, c) - l) / (h - l + eps)", 1, "share", "Share of the range below the body.", CANDLE),
    Feature("range_atr", "(h - l) / A", 56, "atr", "How large the candle is compared with the usual.", WILDER),
    Feature("gap", "ln(o / c[1 ago])", 2, "ln", "What happened between the last close and this open.", CANDLE),
    Feature(
        "clv_6",
        "mean(clv) over 6 with clv = (2 c - h - l) / (h - l + eps)",
        6,
        "share",
        "Whether closes were near the highs (1) or the lows (-1).",
        "close location value of Chaikin",
    ),
    Feature(
        "hour_sin", "sin(2 pi time of day of the open, UTC / 24 h)", 1, "share", "Time of day, first coordinate.", CLOCK
    ),
    Feature(
        "hour_cos",
        "cos(2 pi time of day of the open, UTC / 24 h)",
        1,
        "share",
        "Time of day, second coordinate.",
        CLOCK,
    ),
    Feature(
        "weekday_sin",
        "sin(2 pi weekday / 7), Monday 0, of the open, UTC",
        1,
        "share",
        "Day of the week, first coordinate.",
        CLOCK,
    ),
    Feature(
        "weekday_cos",
        "cos(2 pi weekday / 7), Monday 0, of the open, UTC",
        1,
        "share",
        "Day of the week, second coordinate.",
        CLOCK,
    ),
    Feature(
        "to_funding",
        "time from the close to the next 00, 08 or 16 h UTC / 8 h, in (0, 1]",
        1,
        "share",
        "How long until funding is usually settled.",
        CLOCK,
    ),
    Feature(
        "rsi_14_15m",
        "rsi_14 of the last closed 15m candle",
        252,
        "share",
        "Relative strength of 15m candles.",
        HIGHER_TIMEFRAME,
    ),
    Feature(
        "ema_dist_21_15m",
        "ema_dist_21 of the last closed 15m candle, in its own ATR14",
        252,
        "atr",
        "How far the 15m close stands above its average.",
        HIGHER_TIMEFRAME,
    ),
    Feature(
        "rsi_14_1h",
        "rsi_14 of the last closed 1h candle",
        1680,
        "share",
        "Relative strength of 1h candles.",
        HIGHER_TIMEFRAME,
    ),
    Feature(
        "macd_hist_1h",
        "macd_hist of the last closed 1h candle, in its own ATR14",
        1680,
        "atr",
        "Whether the lead of the quick average of 1h closes grows.",
        HIGHER_TIMEFRAME,
    ),
    Feature(
        "rv_24_1h",
        "rv_24 of the last closed 1h candle",
        1680,
        "ln",
        "How much an hour moved over the last day.",
        HIGHER_TIMEFRAME,
    ),
    Feature(
        "ret_1_4h",
        "ret_1 of the last closed 4h candle",
        96,
        "ln",
        "How far the last four hours moved.",
        HIGHER_TIMEFRAME,
    ),
    *(
        Feature(
            f"btc_ret_{k}",
            f"ln(b / b[{k} ago]) of BTC's close b",
            k,
            "ln",
            f"How far BTC moved over {over(k)}.",
            LEAD,
            ("btc_close",),
        )
        for k in (1, 12)
    ),
    Feature(
        "beta_96",
        "cov(r, btc_ret_1) / var(btc_ret_1) over 96",
        97,
        "ratio",
        "How much the coin moves when BTC moves by one.",
        "market beta: Sharpe, Journal of Finance 19, 1964",
        ("btc_close",),
    ),
    Feature(
        "resid_12",
        "ret_12 - beta_96 btc_ret_12",
        97,
        "ln",
        "How far the coin moved beyond what BTC explains: what it may catch up or give back.",
        LEAD,
        ("btc_close",),
    ),
    Feature(
        "funding",
        "rate of the last settlement at or before the close",
        0,
        "rate",
        "What longs paid shorts last.",
        "exchange",
        ("funding",),
    ),
    Feature(
        "basis",
        "(mark - index) / index, last at or before the close",
        0,
        "ratio",
        "How far the perpetual trades above spot.",
        "exchange",
        ("mark", "index"),
    ),
    Feature(
        "oi_chg_12",
        "ln(q / q[12 ago]) of open interest q, last at or before the close",
        12,
        "ln",
        "Whether positions were opened or closed over the last 12 candles.",
        "exchange",
        ("open_interest",),
    ),
)

NAMES: Final[tuple[str, ...]] = tuple(feature.name for feature in CATALOGUE)

SCHEMA_HASH: Final[str] = schema_hash(KERNEL_VERSION, INTERVAL, CATALOGUE)
"""Names, formulas and kernel version in one number. A model serves only rows of the schema it was trained on."""


def column(name: str) -> int:
    """Position of a feature in a row. Raises KeyError for a name that the catalogue does not have.

    >>> column("ret_1"), column("ret_1_4h")
    (0, 73)
    """
    return _POSITION[name]


_POSITION: Final = {name: position for position, name in enumerate(NAMES)}
