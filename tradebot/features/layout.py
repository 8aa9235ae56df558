"""Where things lie in a symbol's feature state: one flat float64 ``memory`` and one int64 ``marks``.

Rings are addressed by absolute bar number ``n = open_time_ms // BAR_MS``, so the same candle always has the same
slot, whenever the state was started. What the rings hold depends on the last few candles only and is kept once; what
remembers for ever (the lanes) is kept twice, started on alternate Mondays: one lane serves while the other warms up.
"""

from __future__ import annotations

# --- marks ----------------------------------------------------------------------------------------------------------
LAST_OPEN = 0
"""Open time (ms) of the last candle, or -1."""
LANE_EPOCH = 1
"""Open time (ms) of the first candle of lanes 0 and 1, or -1: index LANE_EPOCH + lane."""
MARKS = 3

# --- bars: one row per candle, 64 candles. The first SUMMED columns are also kept as sums over four candles -----------
(
    # of which windows of 24 are taken
    HL2,  # ln(h/l) squared
    GK,  # Garman-Klass term
    RS,  # Rogers-Satchell term
    ABS_DC,  # |c - previous c|
    SIGN_V,  # sign(r) * v
    ILLIQ,  # |r| / (c*v)
    UP,  # 1 where r > 0
    V,
    # and 48, V included
    R,  # ln return
    R2,  # squared
    R2_UP,  # squared where positive
    R_LAG,  # previous r
    R2_LAG,
    RR,  # r * previous r
    ABS_RR,
    RV12,  # root mean square r over 12
    RV12_SQ,
    LNV,  # ln(1+v)
    LNV_SQ,
    TPV,  # tp * v
    Q,  # sign(r) * sqrt(c*v)
    Q_SQ,
    RQ,  # r * q
    # and others
    CLOSE,
    TP,  # typical price (h+l+c)/3
    FLOW_UP,  # tp * v where tp rose
    FLOW_DOWN,
    CLV,  # close location value
    CLV_V,
) = range(29)
SUMMED = 29
FIRST_48, LAST_48 = V, RQ
HIGH, LOW, HIGH4, LOW4 = 29, 30, 31, 32
COLUMNS = 33
BARS = 64

# --- far: columns needed further back, 512 candles ------------------------------------------------------------------
LNC, R2_12, V_12, C_20 = range(4)
"""ln c; sums of r² and v over 12 candles; sum of c over 20."""
FAR_COLUMNS = 4
FAR = 512

# --- beside: what was known beside candles, NaN where it was not, 128 candles ---------------------------------------
LN_BTC, LN_ETH, LN_OI, B, B2, RB, B2_12, RB_12 = range(8)
"""ln of BTC's and ETH's close and of open interest; b, the return of BTC, its square and its product with r; sums of
these two over 12 candles."""
BESIDE_COLUMNS = 8
BESIDE = 128

RANKED = 288
"""Bollinger widths that the current one is ranked among; their order does not matter, so the ring is exactly full."""
CLOCKED = 2048
"""ln volumes for the mean at the same time of day over seven days."""

# --- once: scalars --------------------------------------------------------------------------------------------------
DAY_TPV, DAY_V, HOUR_RV, BB_WIDTH, BB_SD, GAP = range(6)
LAST_O, LAST_H, LAST_L, LAST_C, LAST_V = range(6, 11)
ONCE = 11

# --- lanes: what remembers for ever ---------------------------------------------------------------------------------
(
    EMA9,
    EMA12,
    EMA21,
    EMA26,
    EMA50,
    SIGNAL,
    HIST,  # MACD histogram in ATR
    HIST_BEFORE,
    ATR,
    GAIN7,
    LOSS7,
    GAIN14,
    LOSS14,
    GAIN21,
    LOSS21,
    DM_UP,
    DM_DOWN,
    ADX,
    QUARTER_GAIN,  # 15m
    QUARTER_LOSS,
    QUARTER_EMA21,
    QUARTER_ATR,
    HOUR_GAIN,  # 1h
    HOUR_LOSS,
    HOUR_EMA12,
    HOUR_EMA26,
    HOUR_SIGNAL,
    HOUR_ATR,
) = range(28)
RSI_RING = 28
"""The last 16 values of RSI 14 start here."""
RSIS = 16
LANE = RSI_RING + RSIS

# --- offsets into memory --------------------------------------------------------------------------------------------
AT_BARS = 0
AT_FOURS = AT_BARS + BARS * COLUMNS
AT_FAR = AT_FOURS + BARS * SUMMED
AT_BESIDE = AT_FAR + FAR * FAR_COLUMNS
AT_RANKED = AT_BESIDE + BESIDE * BESIDE_COLUMNS
AT_CLOCKED = AT_RANKED + RANKED
AT_ONCE = AT_CLOCKED + CLOCKED
AT_LANES = AT_ONCE + ONCE
MEMORY = AT_LANES + 2 * LANE
