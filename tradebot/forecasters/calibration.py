"""Isotonic calibration that an ONNX graph can hold: piecewise linear, strictly rising, so no two rows change places.

Pool-adjacent-violators (Ayer et al. 1955; Zadrozny & Elkan 2002) on validation rows gives steps. They are drawn as a
line through the middle of each block and on to (0, 0) and (1, 1), and blocks are joined until no stretch is steeper
than ``STEEPEST``: float32 rounding of a graph's input then stays rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from onnx import helper, numpy_helper

from tradebot.forecasters.base import Floats

MIN_BLOCK_SHARE: Final = 0.02
"""Least share of the validation weight in a block: fewer rows say too little about a rate."""
STEEPEST: Final = 4.0
FLATTEST: Final = 1e-3
"""A flat stretch keeps so much slope that order survives."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """``x`` and ``y`` rise from 0 to 1 (K,): a probability of ``x[k]`` becomes ``y[k]``, straight in between."""

    x: Floats
    y: Floats

    def __call__(self, p: Floats) -> Floats:
        found: Floats = np.interp(p, self.x, self.y)
        return found


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """``P = 1 / (1 + exp(−(slope · x + intercept)))`` (Platt 1999); the slope is never negative."""

    slope: float
    intercept: float

    def __call__(self, x: Floats) -> Floats:
        found: Floats = 1.0 / (1.0 + np.exp(-np.clip(self.slope * x + self.intercept, -40.0, 40.0)))
        return found


def fit_sigmoid(
    x: Floats, happened: npt.NDArray[np.bool_], weight: Floats, start: Sigmoid | None = None, steps: int = 20
) -> Sigmoid:
    """Maximum likelihood by Newton's method, from ``start`` where one is near; slope 0 where ``x`` says nothing.

    >>> x = np.array([-1.0, -1.0, -1.0, 1.0, 1.0, 1.0])
    >>> came = np.array([True, False, False, True, True, False])
    >>> found = fit_sigmoid(x, came, np.ones(6))
    >>> round(found.slope, 2), round(abs(found.intercept), 2)
    (0.69, 0.0)
    """
    y, w = happened.astype(np.float64), weight / float(weight.sum())
    rate = min(max(float((w * y).sum()), 1e-6), 1.0 - 1e-6)
    now = start or Sigmoid(0.0, float(np.log(rate / (1.0 - rate))))
    for _ in range(steps):
        p = now(x)
        off, curve = w * (y - p), w * p * (1.0 - p)
        a, b, c = float((curve * x * x).sum()) + 1e-9, float((curve * x).sum()), float(curve.sum()) + 1e-9
        g, h = float((off * x).sum()), float(off.sum())
        det = a * c - b * b
        if not det > 1e-15:
            break
        up, across = (c * g - b * h) / det, (a * h - b * g) / det
        scale = min(1.0, 2.0 / max(abs(up), abs(across), 1e-12))
        now = Sigmoid(now.slope + scale * up, now.intercept + scale * across)
        if max(abs(up), abs(across)) < 1e-7:
            break
    return now if now.slope >= 0.0 else Sigmoid(0.0, float(np.log(rate / (1.0 - rate))))


def fit_calibration(p: Floats, happened: npt.NDArray[np.bool_], weight: Floats) -> Calibration | None:
    """Rising map from what was said (N,) to how often it happened; None where the rows cannot tell (fewer than two
    blocks).

    >>> said = np.tile([0.2, 0.4, 0.6], 1_000)
    >>> came = np.tile([False, True, True, True, False, True, False, False, True], 1_000)[:3_000]
    >>> bool((np.diff(fit_calibration(said, came, np.ones(3_000)).y) > 0).all())
    True
    """
    if len(p) == 0 or not float(weight.sum()) > 0.0:
        return None
    blocks = _blocks(p, happened, weight)
    while (steep := _too_steep(blocks)) is not None:
        blocks = _joined(blocks, steep)
    if len(blocks) < 2:
        return None
    x = np.concatenate([[0.0], blocks[:, 0], [1.0]])
    y = np.concatenate([[0.0], blocks[:, 1], [1.0]])
    return Calibration(x, y)


def keep_if_better(
    p: Floats,
    happened: npt.NDArray[np.bool_],
    weight: Floats,
    apart: int,
    *,
    at_ms: npt.NDArray[np.int64],
    label_end_ms: npt.NDArray[np.int64],
) -> tuple[Calibration | None, float]:
    """The calibration of all rows, if one fitted on the first half lowers the log-loss of the second, and by how much.

    Rows are in order of ``at_ms``; those of several symbols share moments. Each label overlaps with those of the
    ``apart − 1`` moments after it: so many moments between the halves are left out, with every row whose outcome is
    known only in the second. The rows of a moment count as one observation in the standard error that the gain must
    exceed, which is so much wider as labels overlap. None and 0.0 where calibrating does not clearly help rows that it
    did not see.
    """
    if len(p) == 0:
        return None, 0.0
    half = len(p) // 2
    moment = np.unique(at_ms, return_inverse=True)[1]
    before = (moment < moment[half] - apart) & (label_end_ms <= at_ms[half])
    after = moment >= moment[half]
    tried = fit_calibration(p[before], happened[before], weight[before])
    if tried is None or not happened[after].any() or happened[after].all():
        return None, 0.0
    own, came, counted = p[after], happened[after], weight[after] / float(weight[after].mean())
    gains = counted * (_log_losses(own, came) - _log_losses(tried(own), came))
    together = np.bincount(moment[after] - moment[half], weights=gains)
    each = together / (len(gains) / len(together))
    gain, error = float(gains.mean()), float(each.std()) * (apart / len(each)) ** 0.5
    return (fit_calibration(p, happened, weight), gain) if gain > error else (None, 0.0)


def calibration_nodes(calibration: Calibration, source: str, target: str) -> tuple[list[Any], list[Any]]:
    """ONNX nodes and initialisers that map ``source`` (B, 1) to ``target`` (B, 1), both float32 probabilities.

    A line through the knots is the sum of its stretches: ``Σ slope_k · clip(p − x_k, 0, x_{k+1} − x_k)``.
    """
    widths = np.diff(calibration.x)
    slopes = np.diff(calibration.y) / widths
    names = [f"{target}_{part}" for part in ("knots", "widths", "slopes", "past", "above", "within")]
    knots, width, slope, past, above, within = names
    constants = [
        numpy_helper.from_array(calibration.x[:-1].astype(np.float32).reshape(1, -1), knots),
        numpy_helper.from_array(widths.astype(np.float32).reshape(1, -1), width),
        numpy_helper.from_array(slopes.astype(np.float32).reshape(-1, 1), slope),
    ]
    nodes = [
        helper.make_node("Sub", [source, knots], [past], name=past),
        helper.make_node("Relu", [past], [above], name=above),
        helper.make_node("Min", [above, width], [within], name=within),
        helper.make_node("MatMul", [within, slope], [target], name=target),
    ]
    return nodes, constants


def _blocks(p: Floats, happened: npt.NDArray[np.bool_], weight: Floats) -> Floats:
    """Rows (mean p, rate, weight) of rising p and rising rate, each with at least the least share of the weight."""
    order = np.argsort(p, kind="stable")
    x, y, w = p[order], happened[order].astype(np.float64), weight[order]
    ends = np.flatnonzero(np.append(np.diff(x) > 0.0, True)) + 1  # equal p stay together
    passed = np.concatenate([[0.0], np.cumsum(w)])
    least = MIN_BLOCK_SHARE * passed[-1]
    found: list[list[float]] = []
    begin = 0
    for end in ends:
        if passed[end] - passed[begin] < least and end < len(x):
            continue
        own = slice(begin, int(end))
        begin = int(end)
        total = float(w[own].sum())
        if not total > 0.0:
            continue
        # a rate of 0 or 1 in one block is chance: half a row of the block's mean weight on either side
        half = 0.5 * total / (own.stop - own.start)
        rate = (float((w[own] * y[own]).sum()) + half) / (total + 2.0 * half)
        found.append([float(np.average(x[own], weights=w[own])), rate, total])
        while len(found) > 1 and found[-1][1] <= found[-2][1] + FLATTEST * (found[-1][0] - found[-2][0]):
            found[-2:] = [_mean(found[-2], found[-1])]
    return np.array(found, dtype=np.float64).reshape(-1, 3)


def _too_steep(blocks: Floats) -> int | None:
    """The first stretch that rises too fast, as the number of the block before it; -1 and K-1 are the ends."""
    x = np.concatenate([[0.0], blocks[:, 0], [1.0]])
    y = np.concatenate([[0.0], blocks[:, 1], [1.0]])
    dx, dy = np.diff(x), np.diff(y)
    wrong = np.flatnonzero((dy > STEEPEST * dx) | (dy < FLATTEST * dx))
    return int(wrong[0]) - 1 if len(blocks) and len(wrong) else None


def _joined(blocks: Floats, steep: int) -> Floats:
    """Blocks with the two around a steep stretch made one; the outermost is dropped where its end is steep."""
    if steep < 0:
        return blocks[1:]
    if steep >= len(blocks) - 1:
        return blocks[:-1]
    one = np.array([_mean(blocks[steep].tolist(), blocks[steep + 1].tolist())])
    return np.concatenate([blocks[:steep], one, blocks[steep + 2 :]])


def _mean(a: list[float], b: list[float]) -> list[float]:
    total = a[2] + b[2]
    return [(a[0] * a[2] + b[0] * b[2]) / total, (a[1] * a[2] + b[1] * b[2]) / total, total]


def _log_losses(p: Floats, happened: npt.NDArray[np.bool_]) -> Floats:
    found: Floats = -np.log(np.clip(np.where(happened, p, 1.0 - p), 1e-7, 1.0))
    return found
