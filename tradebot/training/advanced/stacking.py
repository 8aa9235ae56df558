"""Several models as one: non-negative logistic weights on what each said of rows it was not fitted on.

``p = softmax(Σ_m w_m ln p_m + b)``, w ≥ 0, fitted on purged out-of-fold probabilities (Wolpert 1992; Breiman 1996 for
w ≥ 0: with weights of both signs members that agree are played off against each other). Where that is no better than
the best member alone, members' ranks are averaged, which fits nothing and cannot overfit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from tradebot.errors import DataError
from tradebot.evaluation.bootstrap import Interval, mean_interval
from tradebot.forecasters.base import Classes, Family, Floats, Params, Sample
from tradebot.forecasters.score_calibration import Calibration, calibrate, independent_labels, log_losses
from tradebot.market.candle import DAY_MS
from tradebot.training.splits import Splits

LEAST = 1e-6
RIDGE = 1e-3


@dataclass(frozen=True, slots=True, eq=False)
class Stack:
    """``weights`` (M,) of the members, not negative; ``bias`` (3,), 0 for neutral."""

    weights: Floats
    bias: Floats

    def __call__(self, members: Sequence[Floats]) -> Floats:
        """Probabilities (N, 3) from the members' (N, 3), in the order they were fitted in."""
        scores = np.tensordot(self.weights, _logs(members), axes=1) + self.bias
        grown = np.exp(scores - scores.max(axis=1, keepdims=True))
        p: Floats = grown / grown.sum(axis=1, keepdims=True)
        return p


@dataclass(frozen=True, slots=True, eq=False)
class RankAverage:
    """Where a member's lean and its chance of a move stand among what it said before, averaged over the members and
    calibrated. ``known`` (M, 2, K): sorted values of each."""

    known: tuple[tuple[Floats, Floats], ...]
    calibration: Calibration

    def __call__(self, members: Sequence[Floats]) -> Floats:
        return self.calibration(_ranks(members, self.known))


@dataclass(frozen=True, slots=True, eq=False)
class Stacked:
    """What a stack came to on later rows: log-loss (nats) of every member and of ``use``, which is ``stack`` or
    ``rank average``, and how much less than the best member's (chosen before) it is."""

    use: str
    members: tuple[str, ...]
    stack: Stack
    ranks: RankAverage
    losses: Mapping[str, float]
    best: str
    gain: Interval

    def __call__(self, members: Sequence[Floats]) -> Floats:
        return self.stack(members) if self.use == "stack" else self.ranks(members)


def out_of_fold(kind: Family, folds: Sequence[Splits], params: Params, *, rounds: int, seed: int) -> Floats:
    """What a family says of every fold's validation rows (N, 3), fitted on the rows before (``expanding_folds``)."""
    said = []
    for fold in folds:
        prepared = kind.prepare(fold.train, fold.validation, seed=seed, threads=1)
        said.append(kind.fit(prepared, params, rounds=rounds).predict(fold.validation.rows)[0])
    return np.concatenate(said)


def fit_stack(members: Sequence[Floats], classes: Classes, weight: Floats) -> Stack:
    """Weights that make the outcomes most likely. A little ridge draws them to the plain average of logarithms, so
    that members which say the same share. Raises DataError for members that tell of different rows."""
    if not members or any(len(p) != len(classes) for p in members):
        raise DataError("a stack needs members that all tell of the same rows")
    logs, count = _logs(members), len(members)
    rows, share = np.arange(len(classes)), weight / weight.sum()

    def loss(x: Floats) -> tuple[float, Floats]:
        scores = np.tensordot(x[:count], logs, axes=1)
        scores[:, 0] += x[count]
        scores[:, 2] += x[count + 1]
        top = scores.max(axis=1, keepdims=True)
        grown = np.exp(scores - top)
        p = grown / grown.sum(axis=1, keepdims=True)
        off = p.copy()
        off[rows, classes] -= 1.0
        off *= share[:, None]
        away = x[:count] - 1.0 / count
        gradient = np.concatenate([(logs * off).sum(axis=(1, 2)) + 2 * RIDGE * away, off[:, [0, 2]].sum(axis=0)])
        said = -np.log(np.maximum(p[rows, classes], 1e-12))
        return float((share * said).sum() + RIDGE * (away**2).sum()), gradient

    start = np.concatenate([np.full(count, 1.0 / count), np.zeros(2)])
    bounds = [(0.0, None)] * count + [(None, None)] * 2
    found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x
    return Stack(found[:count], np.array([found[count], 0.0, found[count + 1]]))


def fit_rank_average(members: Sequence[Floats], sample: Sample) -> RankAverage:
    """Ranks among these rows, calibrated on them: two slopes and two intercepts."""
    known = tuple((np.sort(p[:, 2] - p[:, 0]), np.sort(1.0 - p[:, 1])) for p in members)
    scores, independent = _ranks(members, known), independent_labels(sample)
    return RankAverage(known, calibrate(scores, sample.classes, sample.weight, independent=independent))


def stacked(members: Mapping[str, Floats], sample: Sample, later: Mapping[str, Floats], test: Sample) -> Stacked:
    """Fit on what members said out of fold of ``sample``, judge on what they say of the ``test`` rows after it.

    The newest third of ``sample`` decides between stack and rank average, fitted on the rest; both are then fitted on
    all of it. Nothing is decided on the test rows.
    """
    names, said = tuple(members), list(members.values())
    cut = sample.at_ms[len(sample) * 2 // 3]
    old, new = sample.label_end_ms <= cut, sample.at_ms >= cut
    before, after = [p[old] for p in said], [p[new] for p in said]
    newest = sample.classes[new]
    trial = float(log_losses(fit_stack(before, sample.classes[old], sample.weight[old])(after), newest).mean())
    alone = {name: float(log_losses(p, newest).mean()) for name, p in zip(names, after, strict=True)}
    best = min(alone, key=lambda name: alone[name])
    stack, ranks = fit_stack(said, sample.classes, sample.weight), fit_rank_average(said, sample)
    use = "stack" if trial < alone[best] else "rank average"
    final = [later[name] for name in names]
    own = log_losses((stack if use == "stack" else ranks)(final), test.classes)
    each = {name: log_losses(p, test.classes) for name, p in zip(names, final, strict=True)}
    bar_ms = float(np.median(np.diff(test.at_ms)))
    block = max(1.0, min(DAY_MS / bar_ms, len(test) / 4))
    return Stacked(
        use=use,
        members=names,
        stack=stack,
        ranks=ranks,
        losses={name: float(loss.mean()) for name, loss in {**each, use: own}.items()},
        best=best,
        gain=mean_interval(each[best] - own, block=block),
    )


def _logs(members: Sequence[Floats]) -> Floats:
    return np.log(np.clip(np.stack(members), LEAST, 1.0))


def _ranks(members: Sequence[Floats], known: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Mean rank in [0, 1] of lean and of move (N, 2)."""
    each = [
        np.stack([_rank(p[:, 2] - p[:, 0], leans), _rank(1.0 - p[:, 1], moves)], axis=1)
        for p, (leans, moves) in zip(members, known, strict=True)
    ]
    ranks: Floats = np.mean(each, axis=0)
    return ranks


def _rank(values: Floats, known: Floats) -> Floats:
    middle: Floats = (np.searchsorted(known, values, "left") + np.searchsorted(known, values, "right")) / (
        2.0 * len(known)
    )
    return middle
