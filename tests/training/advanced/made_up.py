"""Samples whose outcome follows columns that are known, for studies that need no candles."""

from __future__ import annotations

import numpy as np

from tradebot.forecasters.base import Floats, Sample

BAR_MS = 300_000
COLUMNS = tuple(f"x{j}" for j in range(8))


def sample(rows: np.ndarray, chance: Floats, *, seed: int, start: int = 0) -> Sample:
    """Rows with classes drawn from ``chance`` (N, 3); labels last two bars."""
    rng = np.random.default_rng(seed)
    classes = (rng.random(len(rows))[:, None] > np.cumsum(chance, axis=1)).sum(axis=1).clip(0, 2).astype(np.int8)
    at = (start + np.arange(len(rows))) * BAR_MS
    move = (classes.astype(np.float64) - 1) * 30 + rng.normal(0, 5, len(rows))
    return Sample(
        rows=rows.astype(np.float32),
        classes=classes,
        weight=np.ones(len(rows)),
        at_ms=at,
        label_end_ms=at + 2 * BAR_MS,
        realised_bp=move,
        traded_bp=move,
        past_bp=np.zeros((len(rows), 5)),
    )


def softmax(scores: Floats) -> Floats:
    grown = np.exp(scores - scores.max(axis=1, keepdims=True))
    p: Floats = grown / grown.sum(axis=1, keepdims=True)
    return p


def scores(down: Floats, up: Floats) -> Floats:
    return np.stack([down, np.zeros(len(up)), up], axis=1)
