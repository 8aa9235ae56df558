"""Candles → rows, labels and weights, refusing data that cannot teach anything."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from tradebot.errors import DataError
from tradebot.features.side import SIDE
from tradebot.forecasters.base import (
    PAST_BARS,
    CandleColumns,
    Classes,
    Family,
    Floats,
    Inputs,
    Sample,
    Windows,
)
from tradebot.market.candle import DAY_MS, INTERVAL_MS

MIN_CANDLES = 1_000
MIN_DECIDED = 300
"""Fewest candles and fewest non-neutral labels worth a fit (models.md section 7, item 9, family D)."""


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Everything a training run reads. ``sha256`` hashes the candles, and what was known beside them, that it was made
    from; ``absent`` names the features that had no value because nobody recorded what they are made of."""

    sample: Sample
    candles: int
    data_from_ms: int
    data_to_ms: int
    sha256: str
    absent: tuple[str, ...] = ()


def build_dataset(family: Family, candles: CandleColumns, *, to_learn: bool = True) -> Dataset:
    """Rows whose features are warm and whose outcome is known, weighted and dated.

    Raises DataError for gaps, duplicates, impossible prices, a price that never moves, a feature that is never
    present although what it is made of is, or too little of anything (``to_learn``: to learn from; else to judge on).
    """
    bar_ms = INTERVAL_MS[family.interval]
    _check(candles, bar_ms, MIN_CANDLES if to_learn else 2)
    rows, usable = family.rows(candles)
    labels = family.label(candles)
    horizon = family.horizon_bars
    traded = _open_to_open(candles, horizon)
    past = np.full((len(candles), len(PAST_BARS)), np.nan)
    for j, span in enumerate(PAST_BARS):
        past[span:, j] = candles.close[span:] / candles.close[:-span] - 1.0
    usable = _whole_windows(usable, family.steps)
    keep = usable & (labels.classes >= 0) & np.isfinite(traded) & np.isfinite(past).all(axis=1)
    if not keep.any():
        days = len(candles) * bar_ms / DAY_MS
        raise DataError(
            f"{len(candles)} candles ({days:.1f} days) are all within the features' warm-up or the label's horizon; "
            "use more days"
        )
    found = np.isfinite(rows[keep]).any(axis=0)
    absent = tuple(name for name, seen in zip(family.features, found, strict=True) if not seen)
    broken = [name for name in absent if name not in _made_of_absent(family, candles, absent)]
    if broken and to_learn:
        raise DataError(f"feature {', '.join(broken[:5])} has no value in any of {keep.sum()} rows; check the candles")
    inputs: Inputs = np.ascontiguousarray(rows[keep])
    if family.steps > 1:
        inputs = Windows(rows, np.flatnonzero(keep), family.steps)
    if to_learn:
        _enough(family, labels.classes[keep])
    at_ms = candles.open_ms[keep] + bar_ms
    label_end_ms = at_ms + horizon * bar_ms
    weight = family.weight(at_ms, label_end_ms, int(at_ms[-1]))
    sample = Sample(
        rows=inputs,
        classes=labels.classes[keep],
        weight=weight / float(np.mean(weight)),
        at_ms=at_ms,
        label_end_ms=label_end_ms,
        realised_bp=labels.realised[keep] * 1e4,
        traded_bp=traded[keep] * 1e4,
        past_bp=past[keep] * 1e4,
        range_bp=None if labels.range_bp is None else labels.range_bp[keep],
    )
    return Dataset(
        sample=sample,
        candles=len(candles),
        data_from_ms=int(candles.open_ms[0]),
        data_to_ms=int(candles.open_ms[-1]) + bar_ms,
        sha256=candles_sha256(candles),
        absent=absent,
    )


def _enough(family: Family, classes: Classes) -> None:
    """Raises DataError for fewer usable rows than the family's option ``min_samples``, or too few moves."""
    least = int(family.options.get("min_samples", 0))
    if len(classes) < least:
        raise DataError(f"{len(classes)} usable rows, at least {least} are needed (min_samples); use more days")
    decided = int(np.count_nonzero(classes != 1))
    if decided < MIN_DECIDED:
        raise DataError(
            f"{decided} of {len(classes)} labels are moves beyond the threshold, at least {MIN_DECIDED} are needed: "
            "use more days or a livelier symbol"
        )


def _made_of_absent(family: Family, candles: CandleColumns, absent: tuple[str, ...]) -> frozenset[str]:
    """Those of ``absent`` features that have a value once everything beside the candles is known: what they lack is
    not in the data."""
    if not absent:
        return frozenset()
    known = {"btc_close": candles.close, "eth_close": candles.close, "mark": candles.close, "index": candles.close}
    side = np.stack([known.get(name, np.full(len(candles), 1e-4)) for name in SIDE], axis=1)
    rows, usable = family.rows(replace(candles, side=side))
    filled = rows[usable]
    return frozenset(name for name in absent if np.isfinite(filled[:, list(family.features).index(name)]).any())


def _whole_windows(usable: npt.NDArray[np.bool_], steps: int) -> npt.NDArray[np.bool_]:
    """Where the last ``steps`` rows, this one included, may all be used."""
    if steps == 1:
        return usable
    unusable = np.concatenate([[0], np.cumsum(~usable)])
    whole = np.zeros(len(usable), dtype=np.bool_)
    whole[steps - 1 :] = unusable[steps:] == unusable[: len(usable) - steps + 1]
    return whole


def candles_sha256(candles: CandleColumns) -> str:
    """SHA-256 over the columns, little-endian, in declaration order; side columns only where one is known."""
    digest = hashlib.sha256()
    for column, kind in (
        (candles.open_ms, "<i8"),
        (candles.open, "<f8"),
        (candles.high, "<f8"),
        (candles.low, "<f8"),
        (candles.close, "<f8"),
        (candles.volume, "<f8"),
    ):
        digest.update(np.ascontiguousarray(column, dtype=kind).tobytes())
    if candles.side is not None and np.isfinite(candles.side).any():
        digest.update(np.ascontiguousarray(candles.side, dtype="<f8").tobytes())
    return digest.hexdigest()


def _open_to_open(candles: CandleColumns, horizon: int) -> Floats:
    """Return of a position opened at the first price after the signal and closed at the first after the horizon."""
    traded = np.full(len(candles), np.nan)
    reach = horizon + 1
    if len(candles) > reach:
        traded[:-reach] = candles.open[reach:] / candles.open[1 : len(candles) - horizon] - 1.0
    return traded


def _check(candles: CandleColumns, bar_ms: int, least: int) -> None:
    if len(candles) < least:
        raise DataError(f"{len(candles)} candles, at least {least} are needed; use more days")
    steps = np.diff(candles.open_ms)
    wrong = np.flatnonzero(steps != bar_ms)
    if len(wrong):
        i = int(wrong[0])
        kind = "out of order or twice" if steps[i] <= 0 else f"missing ({int(steps[i]) // bar_ms - 1})"
        raise DataError(
            f"candles {kind} after {_when(int(candles.open_ms[i]))}, {len(wrong)} such place(s); "
            "repair or refetch the history"
        )
    prices = np.stack([candles.open, candles.high, candles.low, candles.close])
    broken = ~np.isfinite(prices).all(axis=0) | (prices <= 0).any(axis=0)
    broken |= ~np.isfinite(candles.volume) | (candles.volume < 0)
    broken |= (candles.high < prices.max(axis=0)) | (candles.low > prices.min(axis=0))
    if broken.any():
        i = int(np.flatnonzero(broken)[0])
        raise DataError(
            f"candle of {_when(int(candles.open_ms[i]))} is impossible (open {candles.open[i]}, high "
            f"{candles.high[i]}, low {candles.low[i]}, close {candles.close[i]}, volume {candles.volume[i]})"
        )
    if float(candles.close.min()) == float(candles.close.max()):
        raise DataError(f"the price never moved in {len(candles)} candles; there is nothing to learn")


def _when(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
