"""Train, validation and test slices in time order, with nothing that one knows reaching into the next.

One fixed cut, or many that walk forward through time (expanding: everything before; rolling: a span of fixed length).

::

    train | purge + embargo | validation | purge + embargo | test

A row belongs to a slice only when its whole life, from the close it stands for to the moment its label is known, lies
in it; the embargo keeps a further gap after each slice (López de Prado 2018, chapter 7). Validation decides when to
stop and where to trade; test decides nothing. The weights of each slice are scaled to a mean of 1, so that a parameter
that counts weight (leaf sizes, penalties) means the same whatever else was in the sample.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tradebot.data.columns import utc
from tradebot.errors import DataError
from tradebot.evaluation.walkforward import Window
from tradebot.forecasters.base import Family, Inputs, Sample, Windows, as_served
from tradebot.market.candle import HOUR_MS, INTERVAL_MS

SHARED_BARS = 12
"""Look-back that neighbouring rows share (models.md section 4.3)."""
LONGEST_BAR_MS = 4 * HOUR_MS
"""The longest candle that a row may show: two rows within it show the same one."""


def embargo_bars(kind: Family) -> int:
    """Bars between two slices: the longer of what a forecast looks at (its window, the look-back that neighbouring
    rows share, the 4 h candle they lie in) and what its label spans."""
    bar_ms = INTERVAL_MS[kind.interval]
    context = kind.steps - 1 + SHARED_BARS + max(1, LONGEST_BAR_MS // bar_ms)
    return max(context, kind.horizon_bars)


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """``fit_end_ms``: no price after this moment influenced weights, stopping or threshold."""

    train: Sample
    validation: Sample
    test: Sample
    fit_end_ms: int
    test_from_ms: int


def split_by_time(
    sample: Sample,
    *,
    validation_share: float,
    test_share: float,
    bar_ms: int,
    embargo_bars: int,
    test_from_ms: int | None = None,
) -> Splits:
    """Cut a sample at two moments of its time span. Raises DataError when a slice would be empty.

    ``test_from_ms``: the moment from which on rows are tested, in place of ``test_share``.

    The purge needs no parameter: a row whose label ends after a slice's end is in no slice.
    """
    if len(sample) == 0:
        raise DataError("no usable row: history is shorter than the features' warm-up plus the label's horizon")
    first, last = int(sample.at_ms[0]), int(sample.label_end_ms[-1])
    span = last - first
    if test_from_ms is None:
        test_from = _on_bar(first + round(span * (1.0 - test_share)), bar_ms)
    else:
        test_from, test_share = test_from_ms, (last - test_from_ms) / span
    validation_from = _on_bar(first + round(span * (1.0 - test_share - validation_share)), bar_ms)
    embargo = embargo_bars * bar_ms
    train = _slice(sample, sample.label_end_ms <= validation_from - embargo)
    validation = _slice(sample, (sample.at_ms >= validation_from) & (sample.label_end_ms <= test_from - embargo))
    test = _slice(sample, sample.at_ms >= test_from)
    for name, part in (("training", train), ("validation", validation), ("test", test)):
        if len(part) == 0:
            raise DataError(f"{len(sample)} usable rows leave none for the {name} slice; use more days")
    # a traded return is known one bar after the label, at the open that ends the position
    fit_end = int(max(train.label_end_ms[-1], validation.label_end_ms[-1])) + bar_ms
    return Splits(train=train, validation=validation, test=test, fit_end_ms=fit_end, test_from_ms=test_from)


def require_moves(part: Sample, name: str) -> None:
    """Raises DataError for a slice without a single move: the market stood still, and nothing can be learnt from it, or
    judged on it."""
    if not np.any(part.classes != 1):
        raise DataError(
            f"not one of {len(part)} rows of the {name} slice ({utc(int(part.at_ms[0]))} to "
            f"{utc(int(part.label_end_ms[-1]))}) moves beyond the threshold: halted, delisted or filled up there; "
            "use other days"
        )


def newest_share(sample: Sample, share: float) -> Sample:
    """The last part of a sample by time."""
    first, last = int(sample.at_ms[0]), int(sample.at_ms[-1])
    return sample.where(sample.at_ms >= last - round((last - first) * share))


def tuning_split(train: Sample, *, share: float, validation_share: float, bar_ms: int, embargo_bars: int) -> Splits:
    """A purged train/validation pair inside the last part of the training slice, so tuning sees nothing later."""
    recent = newest_share(train, share)
    cut = _on_bar(
        int(recent.label_end_ms[-1]) - round((int(recent.label_end_ms[-1]) - int(recent.at_ms[0])) * validation_share),
        bar_ms,
    )
    return _pair(recent, cut, int(recent.label_end_ms[-1]), bar_ms * embargo_bars)


def expanding_folds(train: Sample, *, folds: int, bar_ms: int, embargo_bars: int) -> list[Splits]:
    """``folds`` purged pairs: the span is cut into ``folds + 1`` parts of equal length, and each part but the first is
    forecast from everything before it. Oldest first. Raises DataError when a part would be empty."""
    first, last = int(train.at_ms[0]), int(train.label_end_ms[-1])
    cuts = [_on_bar(first + (last - first) * part // (folds + 1), bar_ms) for part in range(1, folds + 1)]
    ends = [*cuts[1:], last]
    return [_pair(train, cut, end, bar_ms * embargo_bars) for cut, end in zip(cuts, ends, strict=True)]


def window_split(sample: Sample, window: Window, bar_ms: int) -> Splits:
    """The rows of one window of a walk-forward (``evaluation.walkforward.windows``), whose gaps are the embargo.

    Raises DataError when a part holds no row.
    """
    at, known = sample.at_ms, sample.label_end_ms
    masks = {
        "training": (at >= window.train_from_ms) & (known <= window.fit_to_ms),
        "validation": (at >= window.validation_from_ms) & (known <= window.validation_to_ms),
        "test": (at >= window.test_from_ms) & (at < window.test_to_ms),
    }
    for name, mask in masks.items():
        if not mask.any():
            raise DataError(f"window {window.number}: no usable row in its {name} part; use longer parts or more days")
    train, validation, test = (_slice(sample, mask) for mask in masks.values())
    fit_end = int(max(train.label_end_ms[-1], validation.label_end_ms[-1])) + bar_ms
    return Splits(train, validation, test, fit_end_ms=fit_end, test_from_ms=window.test_from_ms)


def _pair(sample: Sample, cut: int, end: int, embargo_ms: int) -> Splits:
    """Rows known before ``cut`` and rows from ``cut`` whose outcome is known by ``end``; nothing to test."""
    fitting = _slice(sample, sample.label_end_ms <= cut - embargo_ms)
    held_out = _slice(sample, (sample.at_ms >= cut) & (sample.label_end_ms <= end))
    if len(fitting) == 0 or len(held_out) == 0:
        raise DataError(f"{len(sample)} training rows are too few to tune on; use more days")
    return Splits(fitting, held_out, held_out.where(np.zeros(len(held_out), dtype=np.bool_)), cut, cut)


def joined(earlier: Sample, later: Sample) -> Sample:
    """Two slices of one sample as one, its rows in their order."""
    rows: Inputs
    if isinstance(earlier.rows, Windows) and isinstance(later.rows, Windows):
        rows = replace(earlier.rows, index=np.concatenate([earlier.rows.index, later.rows.index]))
    else:
        rows = np.concatenate([as_served(earlier.rows), as_served(later.rows)])
    named = ("classes", "weight", "at_ms", "label_end_ms", "realised_bp", "traded_bp", "past_bp")
    columns = {name: np.concatenate([getattr(earlier, name), getattr(later, name)]) for name in named}
    ranges = (earlier.range_bp, later.range_bp)
    known = [part for part in ranges if part is not None]
    return Sample(rows=rows, range_bp=np.concatenate(known) if len(known) == len(ranges) else None, **columns)


def weighed(part: Sample) -> Sample:
    """A slice with its weights scaled to a mean of 1."""
    return part if len(part) == 0 else replace(part, weight=part.weight / float(part.weight.mean()))


def _slice(sample: Sample, mask: npt.NDArray[np.bool_]) -> Sample:
    return weighed(sample.where(mask))


def _on_bar(moment_ms: int, bar_ms: int) -> int:
    return moment_ms // bar_ms * bar_ms
