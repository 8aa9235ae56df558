"""Learning from other symbols: one net fitted on all of them, its head fitted again on each, against one of its own.

Rows are free of scale, so those of several symbols may stand side by side. The head is a logistic regression from what
a model says to the symbol's own outcomes, on the symbol's validation rows; it takes the place of a symbol embedding and
costs six numbers a symbol. Both models get one, so that a difference is of what they were fitted on, not of the head.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tradebot.errors import DataError
from tradebot.evaluation.bootstrap import Interval, mean_interval
from tradebot.evaluation.walkforward import Window
from tradebot.forecasters.base import Family, Fitted, Floats, Inputs, Params, Sample, Windows
from tradebot.forecasters.score_calibration import calibrate_on, class_weights, log_losses
from tradebot.market.candle import INTERVAL_MS
from tradebot.training.resampling import Resampled
from tradebot.training.splits import Splits, window_split


@dataclass(frozen=True, slots=True, eq=False)
class Transfer:
    """Log-loss (nats) on a symbol's ``rows`` test rows: of the rates of its training rows, of its own model, of the
    pooled one, and of both with a head fitted on the symbol's validation rows. ``gain`` and ``head_gain``: how much
    less the pooled one's is than the own one's, both without and both with their head."""

    symbol: str
    rows: int
    rates_loss: float
    own_loss: float
    pooled_loss: float
    own_head_loss: float
    pooled_head_loss: float
    gain: Interval
    head_gain: Interval


@dataclass(frozen=True, slots=True, eq=False)
class Transfers:
    """Every symbol's, and the mean over symbols of both gains, whose intervals know that symbols move together. The
    rows judged stand for closes from ``from_ms`` on, the last outcome is known at ``to_ms``."""

    symbols: tuple[Transfer, ...]
    gain: Interval
    head_gain: Interval
    from_ms: int
    to_ms: int


def common_splits(
    samples: Mapping[str, Sample], *, validation_share: float, test_share: float, bar_ms: int, embargo_bars: int
) -> dict[str, Splits]:
    """Every symbol cut at the same moments, an embargo between its parts: shares are of the shortest history, longer
    ones have more to train on. Raises DataError for a symbol with an empty part."""
    for symbol, sample in samples.items():
        if len(sample) == 0:
            raise DataError(f"{symbol}: no usable row; use more days, or leave the symbol out")
    begins = {symbol: int(sample.at_ms[0]) for symbol, sample in samples.items()}
    end = min(int(sample.label_end_ms[-1]) for sample in samples.values())
    span, gap = end - max(begins.values()), embargo_bars * bar_ms
    test_from = (end - round(span * test_share)) // bar_ms * bar_ms
    validation_from = (test_from - gap - round(span * validation_share)) // bar_ms * bar_ms
    found = {}
    for number, (symbol, sample) in enumerate(samples.items(), start=1):
        window = Window(
            number=number,
            train_from_ms=begins[symbol],
            fit_to_ms=validation_from - gap,
            validation_from_ms=validation_from,
            validation_to_ms=test_from - gap,
            test_from_ms=test_from,
            test_to_ms=end,
        )
        try:
            found[symbol] = window_split(sample, window, bar_ms)
        except DataError as error:
            raise DataError(f"{symbol}: {str(error).partition(': ')[2]}, or leave the symbol out") from error
    return found


def transfer(
    kind: Family, markets: Mapping[str, Splits], params: Params, *, rounds: int, seed: int = 7, threads: int = 1
) -> Transfers:
    """Fit a pooled model and one for each symbol, and judge them on each symbol's test rows.

    Training and validation rows of every symbol must end before the first test row of any: a pool that knows BTC's
    tomorrow would foretell SOL's. Raises DataError where they do not, or where a symbol has too few rows.
    """
    ends = max(splits.fit_end_ms for splits in markets.values())
    begins = min(splits.test_from_ms for splits in markets.values())
    if len(markets) < 2 or ends > begins:
        raise DataError("a pool needs two symbols or more, whose test rows all begin after every fit has ended")
    train, validation = (pooled([getattr(s, part) for s in markets.values()]) for part in ("train", "validation"))
    together = kind.fit(kind.prepare(train, validation, seed=seed, threads=threads), params, rounds=rounds)
    tests = {symbol: splits.test for symbol, splits in markets.items()}
    found, gains, head_gains = [], [], []
    for symbol, splits in markets.items():
        test = splits.test
        try:
            prepared = kind.prepare(splits.train, splits.validation, seed=seed, threads=threads)
            own, own_head = _said(kind.fit(prepared, params, rounds=rounds), splits)
            both, both_head = _said(together, splits)
        except DataError as error:
            raise DataError(f"{symbol}: {error}, or leave the symbol out") from error
        rates = class_weights(splits.train) / float(splits.train.weight.sum())
        said = (np.broadcast_to(rates, own.shape), own, both, own_head, both_head)
        losses = [log_losses(p, test.classes) for p in said]
        gains.append(losses[1] - losses[2])
        head_gains.append(losses[3] - losses[4])
        rates_loss, own_loss, pooled_loss, own_head_loss, pooled_head_loss = (float(each.mean()) for each in losses)
        found.append(
            Transfer(
                symbol=symbol,
                rows=len(test),
                rates_loss=rates_loss,
                own_loss=own_loss,
                pooled_loss=pooled_loss,
                own_head_loss=own_head_loss,
                pooled_head_loss=pooled_head_loss,
                gain=_interval(gains[-1], kind, seed),
                head_gain=_interval(head_gains[-1], kind, seed),
            )
        )
    return Transfers(
        symbols=tuple(found),
        gain=_interval(_at_each_moment(tests.values(), gains), kind, seed),
        head_gain=_interval(_at_each_moment(tests.values(), head_gains), kind, seed),
        from_ms=min(int(test.at_ms[0]) for test in tests.values()),
        to_ms=max(int(test.label_end_ms[-1]) for test in tests.values()),
    )


def _said(fitted: Fitted, splits: Splits) -> tuple[Floats, Floats]:
    """Probabilities (N, 3) of the test rows, without and with a head fitted on the validation rows."""
    held_out = _scores(fitted.predict(splits.validation.rows)[0])
    head = calibrate_on(held_out, splits.validation, class_weights(splits.train))
    said = fitted.predict(splits.test.rows)[0]
    return said, head(_scores(said))


def _interval(gains: Floats, kind: Family, seed: int) -> Interval:
    rows = Resampled(len(gains), bar_ms=INTERVAL_MS[kind.interval], label_rows=kind.horizon_bars, seed=seed)
    return mean_interval(gains, block=rows.block, seed=seed)


def _at_each_moment(tests: Iterable[Sample], gains: Sequence[Floats]) -> Floats:
    """Mean over the symbols with a row at a moment, oldest first: symbols move together, so the rows of a moment are
    one observation and not as many as there are symbols."""
    moment = np.unique(np.concatenate([test.at_ms for test in tests]), return_inverse=True)[1]
    means: Floats = np.bincount(moment, weights=np.concatenate(gains)) / np.bincount(moment)
    return means


def pooled(samples: Sequence[Sample]) -> Sample:
    """Rows of several symbols in order of time; each symbol counts as much as any other."""
    order = np.argsort(np.concatenate([s.at_ms for s in samples]), kind="stable")
    mean = sum(len(s) for s in samples) / len(samples)

    ranges = [s.range_bp for s in samples if s.range_bp is not None]

    def joined(name: str) -> np.ndarray:
        return np.asarray(np.concatenate([getattr(s, name) for s in samples])[order])

    return Sample(
        rows=_rows([s.rows for s in samples])[order],
        classes=joined("classes"),
        weight=np.concatenate([s.weight * mean / max(float(s.weight.sum()), 1e-12) for s in samples])[order],
        at_ms=joined("at_ms"),
        label_end_ms=joined("label_end_ms"),
        realised_bp=joined("realised_bp"),
        traded_bp=joined("traded_bp"),
        past_bp=joined("past_bp"),
        range_bp=np.concatenate(ranges)[order] if len(ranges) == len(samples) else None,
    )


def _rows(parts: Sequence[Inputs]) -> Inputs:
    arrays = [part for part in parts if not isinstance(part, Windows)]
    if len(arrays) == len(parts):
        return np.concatenate(arrays)
    windows = [part for part in parts if isinstance(part, Windows)]
    starts = np.cumsum([0, *(len(part.base) for part in windows[:-1])])
    index = np.concatenate([part.index + start for part, start in zip(windows, starts, strict=True)])
    return Windows(np.concatenate([part.base for part in windows]), index, windows[0].steps)


def _scores(p: Floats) -> Floats:
    """Down and up against neutral, as logarithms of odds."""
    logs = np.log(np.clip(p, 1e-4, 1.0))
    scores: Floats = logs[:, [0, 2]] - logs[:, 1:2]
    return scores
