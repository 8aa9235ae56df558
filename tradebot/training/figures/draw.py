"""The figures of a version: how it was fitted, how far its probabilities hold, what it looks at, what it would earn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tradebot.evaluation.forecasts import correlation, rank, wilson
from tradebot.evaluation.trades import Trades
from tradebot.forecasters.base import Family, Fitted, Floats, Sample
from tradebot.market.candle import DAY_MS
from tradebot.training.evaluate import Predictions
from tradebot.training.figures.charts import Curve, bars, curves

BINS = 10
FEATURES_SHOWN = 20
IC_MS = 7 * DAY_MS


def draw(
    kind: Family,
    fitted: Fitted,
    said: Predictions,
    test: Sample,
    trades: Trades,
    *,
    name: str,
    losses: Sequence[float | None],
) -> dict[str, bytes]:
    """PNG files by their names in the version. ``trades`` are those of the threshold rule on the test rows; ``losses``
    those of the search's trials, None where one was stopped."""
    found = {
        "loss.png": _loss(kind, fitted, name),
        "reliability.png": reliability(said.p_up, test.classes == 2, f"{name}: P(up), untouched rows"),
        "calibration_move.png": reliability(said.p_move, test.classes != 1, f"{name}: P(move), untouched rows"),
        "ic.png": _ic(said.expected_bp, test, name),
        "equity.png": _equity(trades, test, name),
    }
    importance = sorted(fitted.importance.items(), key=lambda item: -item[1])[:FEATURES_SHOWN]
    if importance:
        found["importance.png"] = bars(
            f"{name}: what the features took of the loss", importance, across="share of what all took"
        )
    if any(loss is not None for loss in losses):
        found["search.png"] = _search(losses, name, kind.loss)
    return {f"figures/{file}": content for file, content in found.items()}


def reliability(p: Floats, happened: np.ndarray, title: str) -> bytes:
    """How often it happened beside how likely it was said to be, in ten bins of equally many rows, with intervals."""
    edges = np.unique(np.quantile(p, np.arange(1, BINS) / BINS, method="higher"))
    where = np.searchsorted(edges, p, side="right")
    count = np.bincount(where, minlength=len(edges) + 1)
    kept = count > 0
    mean = np.bincount(where, weights=p, minlength=len(count))[kept] / count[kept]
    share = np.bincount(where, weights=happened, minlength=len(count))[kept] / count[kept]
    spread = [wilson(float(s), float(n)) for s, n in zip(share, count[kept], strict=True)]
    low, high = np.array([one.low for one in spread]), np.array([one.high for one in spread])
    ends = np.array([min(mean.min(), share.min()), max(mean.max(), share.max())])
    shown = {"happened": Curve(mean, share, low, high), "as said": Curve(ends, ends)}
    return curves(title, shown, across="probability said", up="share that happened, 95 % interval")


def _loss(kind: Family, fitted: Fitted, name: str) -> bytes:
    number = np.array([one.number for one in fitted.history], dtype=np.float64)
    lines: Mapping[str, Floats] = {
        "validation": np.array([one.validation_loss for one in fitted.history], dtype=np.float64),
        "training": np.array([one.train_loss for one in fitted.history], dtype=np.float64),
    }
    shown = {f"{part} rows": Curve(number, loss) for part, loss in lines.items() if np.isfinite(loss).any()}
    across = {"rounds": "boosting round", "epochs": "epoch", "none": "fit"}[kind.counts]
    kept = float(fitted.rounds), f"kept: {fitted.rounds}"
    return curves(f"{name}: loss of the fit", shown, across=across, up=kind.loss, marked=kept, whole=True)


def _search(losses: Sequence[float | None], name: str, unit: str) -> bytes:
    """Every trial that was fitted to its end, and the best of those before it."""
    number = np.arange(1, len(losses) + 1, dtype=np.float64)
    told = np.array([np.nan if loss is None else loss for loss in losses], dtype=np.float64)
    best = np.fmin.accumulate(told)
    shown = {"best so far": Curve(number, best), "trial": Curve(number, told, dots=True)}
    title = f"{name}: search, {int(np.isnan(told).sum())} of {len(told)} trials stopped early"
    return curves(title, shown, across="trial", up=f"mean over folds: {unit}", whole=True)


def _ic(expected_bp: Floats, test: Sample, name: str) -> bytes:
    """Rank correlation of forecast and outcome, week by week."""
    week = (test.at_ms - test.at_ms[0]) // IC_MS
    at, values = [], []
    for number in np.unique(week):
        rows = week == number
        if rows.sum() >= 30:
            ic = correlation(rank(expected_bp[rows]), rank(test.realised_bp[rows]))
            at.append(float(test.at_ms[rows].mean()))
            values.append(np.nan if ic is None else ic)
    shown = {"a week": Curve(np.array(at), np.array(values), dots=True)}
    title = f"{name}: rank correlation of forecast and return, untouched rows"
    return curves(title, shown, across="middle of the week, UTC", up="rank correlation", level=0.0, time=True)


def _equity(trades: Trades, test: Sample, name: str) -> bytes:
    times = test.at_ms.astype(np.float64)
    shown = {"net of costs": Curve(times, np.cumsum(trades.per_row_bp()))}
    title = f"{name}: threshold rule after costs, {len(trades)} trades"
    return curves(title, shown, across="entry, UTC", up="sum of bp", level=0.0, time=True)
