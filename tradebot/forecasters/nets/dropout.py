"""Dropout whose masks come from a fast generator of their own.

Drawing Bernoulli numbers one by one is a tenth of a training step of a recurrent net on a CPU. Here a mask is made of
random bytes (SFC64), seeded from torch's own numbers, so that runs stay repeatable. The share dropped is a multiple of
1/256. On a GPU, and in ``eval()``, it is torch's dropout.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn


class Dropout(nn.Module):
    """Like ``nn.Dropout``: zeroes a share ``p`` of the values in training and scales the others up."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.dropped = round(p * 256)

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.dropped == 0 or x.device.type != "cpu":
            return nn.functional.dropout(x, self.p, self.training)
        seed = int(torch.randint(0, 2**62, ()).item())
        raw = np.random.Generator(np.random.SFC64(seed)).bytes(x.numel())
        kept = torch.from_numpy(np.frombuffer(bytearray(raw), dtype=np.uint8)) >= self.dropped
        scale = 256.0 / (256 - self.dropped)
        return x * (kept.view(x.shape) * scale).to(x.dtype)
