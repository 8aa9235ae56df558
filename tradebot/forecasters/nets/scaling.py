"""Raw rows to standardised ones, inside the graph: what is missing becomes the training median, what is far is bounded.

Fitted on training rows only.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor, nn

from tradebot.forecasters.base import Floats, Rows

FARTHEST = 5.0
"""Standard deviations beyond which a value counts as no farther."""


class Scaler(nn.Module):
    """``(x − mean) / deviation`` within ±``farthest``, for the ``columns`` chosen of raw rows (..., F) → (..., K)."""

    columns: Tensor
    mean: Tensor
    deviation: Tensor
    middle: Tensor

    def __init__(self, columns: list[int], farthest: float = FARTHEST) -> None:
        super().__init__()
        self.farthest = farthest
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(len(columns)))
        self.register_buffer("deviation", torch.ones(len(columns)))
        self.register_buffer("middle", torch.zeros(len(columns)))

    def fit(self, rows: Rows) -> Scaler:
        """Take mean, deviation and median from rows (N, F), each over the values that are there.

        A column without any value, or with a single one, gives 0 throughout.
        """
        x = rows[:, self.columns.tolist()].astype(np.float64)
        x[~np.isfinite(x)] = np.nan
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            mean, deviation, middle = np.nanmean(x, axis=0), np.nanstd(x, axis=0), np.nanmedian(x, axis=0)
        flat = ~(deviation > 1e-12 * np.maximum(1.0, np.abs(mean)))
        self.mean = _tensor(np.where(np.isfinite(mean), mean, 0.0))
        self.deviation = _tensor(np.where(flat, 1.0, deviation))
        self.middle = _tensor(np.where(flat, self.mean.numpy(), middle))
        return self

    def forward(self, rows: Tensor) -> Tensor:
        x = torch.index_select(rows, rows.dim() - 1, self.columns)
        x = torch.where(torch.isnan(x), self.middle, x)
        return torch.clamp((x - self.mean) / self.deviation, -self.farthest, self.farthest)


def _tensor(values: Floats) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
