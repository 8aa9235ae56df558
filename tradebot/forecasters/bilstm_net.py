"""The network of models.md section 6.1, and the graph around it that is served.

window (B, T, F) raw → scaler → principal components (B, T, n) → LayerNorm → bidirectional LSTM → attention pooling →
MLP → one number; beside it a linear forecast of the newest row; blended, scaled back, as probabilities and bp.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tradebot.forecasters.nets.dropout import Dropout
from tradebot.forecasters.nets.scaling import Scaler


class BiLstm(nn.Module):
    """Windows of components (B, T, ``inputs``) → (B,). 1 029 054 parameters at 30 inputs, 3 layers of 128.

    Both directions are legal: they run inside the closed window. ``e_t = vᵀ tanh(W h_t)``, ``α = softmax_t(e)``,
    context ``Σ α_t h_t``.
    """

    def __init__(self, inputs: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        both = 2 * hidden
        self.norm = nn.LayerNorm(inputs)
        self.lstm = nn.ModuleList(
            nn.LSTM(inputs if i == 0 else both, hidden, batch_first=True, bidirectional=True) for i in range(layers)
        )
        self.between = Dropout(dropout)
        self.attention = nn.Sequential(nn.Linear(both, hidden), nn.Tanh(), nn.Linear(hidden, 1))
        self.head = nn.Sequential(
            nn.Linear(both, hidden),
            nn.LayerNorm(hidden),
            nn.ReLU(),
            Dropout(dropout),
            nn.Linear(hidden, hidden // 2),
            nn.LayerNorm(hidden // 2),
            nn.ReLU(),
            Dropout(dropout),
            nn.Linear(hidden // 2, 1),
        )
        _initialise(self)

    def forward(self, window: Tensor) -> Tensor:
        h = self.norm(window)
        for i, layer in enumerate(self.lstm):
            h = layer(h if i == 0 else self.between(h))[0]
        share = torch.softmax(self.attention(h), dim=1)
        out: Tensor = self.head((share * h).sum(dim=1))[:, 0]
        return out


def _initialise(net: nn.Module) -> None:
    """Xavier for what is fed forward, orthogonal for what is fed back, zero biases."""
    for name, weight in net.named_parameters():
        if "weight_hh" in name:
            nn.init.orthogonal_(weight)
        elif "norm" not in name and weight.dim() > 1:
            nn.init.xavier_uniform_(weight)
        elif "bias" in name:
            nn.init.zeros_(weight)


@dataclass(frozen=True, slots=True)
class Blend:
    """The forecast in units of its target: ``gain · (share · nets + (1 − share) · linear)``; ``spread`` scales the
    deviation that the probabilities are read off."""

    gain: float
    share: float
    spread: float


class Components(nn.Module):
    """Raw rows (..., F) → principal components of the standardised ones (..., n). An affine map after the scaler."""

    weight: Tensor
    bias: Tensor

    def __init__(self, scaler: Scaler, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.scaler = scaler
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, rows: Tensor) -> Tensor:
        shown: Tensor = self.scaler(rows) @ self.weight + self.bias
        return shown


class Linear(nn.Module):
    """A linear forecast from the newest row's components, (B, n) → (B,)."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, newest: Tensor) -> Tensor:
        return newest @ self.weight + self.bias


class Level(nn.Module):
    """One raw column of the newest row, (B, T, F) → (B,), the training median where it is missing."""

    middle: Tensor

    def __init__(self, column: int, middle: float) -> None:
        super().__init__()
        self.column = column
        self.register_buffer("middle", torch.tensor(middle, dtype=torch.float32))

    def forward(self, window: Tensor) -> Tensor:
        x = window[:, -1, self.column]
        return torch.where(torch.isfinite(x) & (x > 0), x, self.middle)


class Served(nn.Module):
    """Raw window → (probabilities (B, 3) [down, neutral, up], expected return in bp (B, 1)).

    ``level`` is the volatility σ (target: log return / σ), or, with ``price_range`` (low, high), the close (target: the
    next close between them). Probabilities: a normal distribution around the forecast log return, its deviation
    ``spread · σ`` (``spread`` alone for a price), neutral within ±``threshold``.
    """

    def __init__(
        self,
        components: Components,
        nets: Sequence[BiLstm],
        linear: Linear,
        level: Level,
        blend: Blend,
        threshold: float,
        price_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self.components, self.nets = components, nn.ModuleList(nets)
        self.linear, self.level, self.blend = linear, level, blend
        self.up, self.down = math.log1p(threshold), math.log1p(-threshold)
        self.price_range = price_range

    def forward(self, window: Tensor) -> tuple[Tensor, Tensor]:
        x = self.components(window)
        nets = torch.stack([net(x) for net in self.nets]).mean(dim=0)
        blend = self.blend
        y = blend.gain * (blend.share * nets + (1.0 - blend.share) * self.linear(x[:, -1]))
        level = self.level(window)
        if self.price_range is None:
            expected, deviation = y * level, blend.spread * level
        else:
            low, high = self.price_range
            price = torch.clamp(y * (high - low) + low, min=1e-3 * low)
            expected, deviation = torch.log(price / level), torch.full_like(y, blend.spread)
        up = _normal_cdf((expected - self.up) / deviation)
        down = _normal_cdf((self.down - expected) / deviation)
        probabilities = torch.stack([down, torch.clamp(1.0 - up - down, min=0.0), up], dim=1)
        return probabilities, (1e4 * torch.expm1(expected))[:, None]


def _normal_cdf(z: Tensor) -> Tensor:
    return 0.5 * (1.0 + torch.erf(z * math.sqrt(0.5)))
