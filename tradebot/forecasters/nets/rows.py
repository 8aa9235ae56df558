"""Rows that stay on the device, taken by number: no loader, no copies of windows, no worker processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from tradebot.forecasters.base import Inputs, Windows


@dataclass(frozen=True, slots=True, eq=False)
class Resident:
    """``base`` (M, F) are rows; moment i sees the ``steps`` rows that end with ``index[i]``. ``target`` (N, ...) and
    ``weight`` (N,) belong to the moments."""

    base: torch.Tensor
    index: torch.Tensor
    steps: int
    target: torch.Tensor
    weight: torch.Tensor
    reach: torch.Tensor

    def __len__(self) -> int:
        return len(self.index)

    def inputs(self, chosen: torch.Tensor | slice) -> torch.Tensor:
        """What the net sees at some moments: (B, F), or (B, steps, F)."""
        newest = self.index[chosen]
        return self.base[newest] if self.steps == 1 else self.base[newest[:, None] + self.reach]

    def to(self, device: torch.device) -> Resident:
        return Resident(
            base=self.base.to(device),
            index=self.index.to(device),
            steps=self.steps,
            target=self.target.to(device),
            weight=self.weight.to(device),
            reach=self.reach.to(device),
        )


def resident(inputs: Inputs, target: npt.NDArray[np.generic], weight: npt.NDArray[np.float64]) -> Resident:
    """Rows or windows with their targets: float targets as float32, classes as int64."""
    windows = inputs if isinstance(inputs, Windows) else Windows(inputs, np.arange(len(inputs)), 1)
    integral = np.issubdtype(target.dtype, np.integer)
    return Resident(
        base=torch.from_numpy(np.ascontiguousarray(windows.base, dtype=np.float32)),
        index=torch.from_numpy(np.ascontiguousarray(windows.index, dtype=np.int64)),
        steps=windows.steps,
        target=torch.from_numpy(np.array(target, dtype=np.int64 if integral else np.float32)),
        weight=torch.from_numpy(np.array(weight, dtype=np.float32)),
        reach=torch.arange(1 - windows.steps, 1),
    )
