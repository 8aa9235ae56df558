"""Train, validation and test slices in time order, with nothing that one knows reaching into the next.

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

from tradebot.errors import DataError
from tradebot.forecasters.base import Sample


@dataclass(frozen=True, slots=True, eq=False)
class Splits:
    """``fit_end_ms``: no price after this moment influenced weights, stopping or threshold."""

    train: Sample
    validation: Sample
    test: Sample
    fit_end_ms: int
    test_from_ms: int


def split_by_time(
    sample: Sample, *, validation_share: float, test_share: float, bar_ms: int, embargo_bars: int
) -> Splits:
    """Cut a sample at two moments of its time span. Raises DataError when a slice would be empty.

    The purge needs no parameter: a row whose label ends after a slice's end is in no slice.
    """
    if len(sample) == 0:
        raise DataError("no usable row: history is shorter than the features' warm-up plus the label's horizon")
    first, last = int(sample.at_ms[0]), int(sample.label_end_ms[-1])
    span = last - first
    test_from = _on_bar(first + round(span * (1.0 - test_share)), bar_ms)
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
    fitting = _slice(recent, recent.label_end_ms <= cut - embargo_bars * bar_ms)
    held_out = _slice(recent, recent.at_ms >= cut)
    if len(fitting) == 0 or len(held_out) == 0:
        raise DataError(f"{len(train)} training rows are too few to tune on; use more days")
    return Splits(fitting, held_out, held_out.where(np.zeros(len(held_out), dtype=np.bool_)), cut, cut)


def weighed(part: Sample) -> Sample:
    """A slice with its weights scaled to a mean of 1."""
    return part if len(part) == 0 else replace(part, weight=part.weight / float(part.weight.mean()))


def _slice(sample: Sample, mask: npt.NDArray[np.bool_]) -> Sample:
    return weighed(sample.where(mask))


def _on_bar(moment_ms: int, bar_ms: int) -> int:
    return moment_ms // bar_ms * bar_ms
