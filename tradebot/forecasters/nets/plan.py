"""How a net is trained, as plain numbers, and the learning rate that follows from them.

The rate is a function of what has been (epoch, step, past losses), so that a run that is taken up again needs no
scheduler's memory to go on exactly as it would have.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``batch`` rows go through the net at once; the gradients of ``accumulation`` batches make one step. A step is the
    weighted mean over all its rows, also the last one of an epoch, which may have fewer.

    ``warmup_steps`` raise the rate linearly. ``schedule``: ``constant``; ``cosine`` to ``eta_min`` over ``epochs``;
    ``restarts`` (SGDR, Loshchilov & Hutter 2017: cycles of ``t0``, ``t0·t_mult``, … epochs); ``plateau`` (times
    ``factor`` after ``plateau_patience`` epochs without gain). ``clip`` bounds the gradient's norm; 0 leaves it.
    ``patience`` epochs without gain end the run. ``precision`` ``auto`` is bfloat16 where a GPU has it.
    """

    epochs: int = 100
    batch: int = 32
    accumulation: int = 1
    optimiser: Literal["adamw", "adam"] = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: Literal["constant", "cosine", "restarts", "plateau"] = "constant"
    warmup_steps: int = 0
    t0: int = 10
    t_mult: int = 2
    eta_min: float = 0.0
    factor: float = 0.5
    plateau_patience: int = 3
    clip: float = 1.0
    patience: int = 20
    seed: int = 7
    threads: int = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"


def learning_rate(plan: Plan, epoch: int, losses: Sequence[float]) -> float:
    """Rate in ``epoch`` (from 0), before the warm-up; ``losses`` are the validation losses of the epochs before.

    >>> plan = Plan(schedule="restarts", t0=10, t_mult=2, learning_rate=1.0)
    >>> [round(learning_rate(plan, epoch, []), 3) for epoch in (0, 5, 9, 10, 20, 29, 30)]
    [1.0, 0.5, 0.024, 1.0, 0.5, 0.006, 1.0]
    >>> learning_rate(Plan(schedule="plateau", plateau_patience=1, learning_rate=1.0), 4, [3.0, 2.0, 2.0, 2.5])
    0.5
    """
    if plan.schedule == "cosine":
        return _cosine(plan, epoch / max(1, plan.epochs))
    if plan.schedule == "restarts":
        start, length = 0, plan.t0
        while epoch >= start + length:
            start, length = start + length, length * plan.t_mult
        return _cosine(plan, (epoch - start) / length)
    if plan.schedule == "plateau":
        return _plateau(plan, losses)
    return plan.learning_rate


def warmed(plan: Plan, step: int) -> float:
    """Share of the rate in optimiser step ``step`` (from 0).

    >>> [warmed(Plan(warmup_steps=4), step) for step in (0, 3, 4)]
    [0.25, 1.0, 1.0]
    """
    return min(1.0, (step + 1) / plan.warmup_steps) if plan.warmup_steps else 1.0


def _cosine(plan: Plan, done: float) -> float:
    return plan.eta_min + (plan.learning_rate - plan.eta_min) * 0.5 * (1.0 + math.cos(math.pi * done))


def _plateau(plan: Plan, losses: Sequence[float]) -> float:
    rate, best, waited = plan.learning_rate, math.inf, 0
    for loss in losses:
        waited = 0 if loss < best else waited + 1
        best = min(best, loss)
        if waited > plan.plateau_patience:
            rate, waited = max(rate * plan.factor, plan.eta_min), 0
    return rate
