"""The nets of ``lorentzian-net`` (models.md sections 5.2 and 5.3). Needs torch.

Only abs, log, softmax and TopK, all of which ONNX has.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from tradebot.forecasters.nets.scaling import Scaler
from tradebot.forecasters.score_calibration import Calibration


class Published(nn.Module):
    """The published net: two layers, a gate that scales their output, distances to two learned prototypes, a logit.

    18 inputs and 64 hidden units make 5 572 parameters. (B, F) → (B, 1), the logit of a rise beyond the threshold.
    """

    def __init__(self, inputs: int = 18, hidden: int = 64, dropout: float = 0.2) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(inputs, hidden),
            nn.LeakyReLU(0.1),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.1),
            nn.Dropout(dropout),
        )
        self.gate = nn.Linear(hidden, 1)
        self.prototypes = nn.Parameter(torch.randn(2, hidden))
        self.head = nn.Linear(2, 1)

    def forward(self, x: Tensor) -> Tensor:
        z = self.body(x)
        z = z * torch.sigmoid(self.gate(z))
        apart = (z.unsqueeze(1) - self.prototypes).square().sum(dim=2)
        logit: Tensor = self.head(torch.log(1.0 + apart))
        return logit


class Metric(nn.Module):
    """``d_j = Σ_f w_f · ln(1 + |x_f − p_jf| / s_f)``, w = softplus(θ), s > 0. (B, F), (P, F) → (B, P)."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.full((inputs,), -2.0))
        self.log_scale = nn.Parameter(torch.zeros(inputs))

    @property
    def weights(self) -> Tensor:
        return functional.softplus(self.theta)

    def forward(self, x: Tensor, points: Tensor) -> Tensor:
        apart = (x.unsqueeze(1) - points).abs() * torch.exp(-self.log_scale)
        return (torch.log(1.0 + apart) * self.weights).sum(dim=2)


class Attention(nn.Module):
    """``a = softmax(−e^τ d)``, ``logits = aᵀV + b``: an average of what P prototypes stand for, the near ones most.

    Prototypes begin at training rows ``points`` (P, F), V at their outcomes ``came`` (P, 3), one-hot. (B, F) → (B, 3).
    """

    def __init__(self, points: Tensor, came: Tensor, base: Tensor) -> None:
        super().__init__()
        self.metric = Metric(points.shape[1])
        self.points = nn.Parameter(points.clone())
        self.values = nn.Parameter(came - came.mean(dim=0))
        self.bias = nn.Parameter(torch.log(base))
        self.tau = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        a = torch.softmax(-torch.exp(self.tau) * self.metric(x, self.points), dim=1)
        return a @ self.values + self.bias


class Memory(nn.Module):
    """The same distance to a bank of remembered rows, of which the k nearest speak. (B, F) → (B, 3) log-probabilities.

    Weights are ``exp(−e^τ d) − exp(−e^τ d₍k+1₎)``: a neighbour that is pushed out of the k fades to nothing first, so
    that rounding cannot change what is said by changing who is among them.
    """

    bank: Tensor
    outcomes: Tensor
    base: Tensor

    def __init__(self, bank: Tensor, outcomes: Tensor, base: Tensor, k: int) -> None:
        super().__init__()
        self.metric = Metric(bank.shape[1])
        self.tau = nn.Parameter(torch.zeros(()))
        self.trust = nn.Parameter(torch.tensor(2.0))
        self.k = k
        self.register_buffer("bank", bank)
        self.register_buffer("outcomes", outcomes)
        self.register_buffer("base", base)

    def forward(self, x: Tensor) -> Tensor:
        near, which = torch.topk(-self.metric(x, self.bank), self.k + 1, dim=1)
        closeness = torch.exp(torch.exp(self.tau) * (near - near[:, :1]))
        weights = closeness[:, : self.k] - closeness[:, self.k :] + 1e-6
        weights = weights / weights.sum(dim=1, keepdim=True)
        said = (weights.unsqueeze(2) * self.outcomes[which[:, : self.k]]).sum(dim=1)
        share = torch.sigmoid(-self.trust)
        return torch.log((1.0 - share) * said + share * self.base)


class Levels(nn.Module):
    """The 18 inputs as published, absolute prices among them, out of columns that are ratios.

    Takes (B, 18) in the order of ``lorentzian_net.PUBLISHED_FROM``; gives open, high, low, close, volume, RSI, MACD,
    its signal and histogram, WaveTrend 1 and 2, ADX, ATR, upper and lower band, CCI, stochastic K and D.
    """

    def forward(self, x: Tensor) -> Tensor:
        close, atr = x[:, 3:4], x[:, 12:13] * x[:, 3:4]
        share, width = x[:, 13:14], x[:, 14:15]
        middle = close / (1.0 + width * (share - 0.5))
        bands = torch.cat([middle * (1.0 + 0.5 * width), middle * (1.0 - 0.5 * width)], dim=1)
        return torch.cat([x[:, :6], x[:, 6:9] * atr, x[:, 9:12], atr, bands, x[:, 15:]], dim=1)


class Inputs(nn.Module):
    """From raw rows to what a net sees: chosen columns, as levels where asked for, standardised, gaps filled."""

    def __init__(self, columns: list[int], levels: bool) -> None:
        super().__init__()
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.int64))
        self.levels = Levels() if levels else None
        self.scaler = Scaler(list(range(len(columns))))

    columns: Tensor

    def chosen(self, rows: Tensor) -> Tensor:
        x = torch.index_select(rows, 1, self.columns)
        return x if self.levels is None else self.levels(x)

    def forward(self, rows: Tensor) -> Tensor:
        scaled: Tensor = self.scaler(self.chosen(rows))
        return scaled


class Served(nn.Module):
    """Raw rows (B, F) → probabilities (B, 3), expected return in bp (B, 1): inputs, net and calibration in one."""

    def __init__(self, inputs: Inputs, net: nn.Module, calibration: Calibration, class_bp: list[float]) -> None:
        super().__init__()
        self.inputs, self.net = inputs, net
        self.register_buffer("weights", torch.tensor(calibration.weights, dtype=torch.float32))
        self.register_buffer("biases", torch.tensor(calibration.biases, dtype=torch.float32))
        self.register_buffer("class_bp", torch.tensor(class_bp, dtype=torch.float32).reshape(3, 1))

    weights: Tensor
    biases: Tensor
    class_bp: Tensor

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        scores = scores_of(self.net(self.inputs(rows)))
        p = torch.softmax(scores @ self.weights + self.biases, dim=1)
        return p, p @ self.class_bp


def scores_of(output: Tensor) -> Tensor:
    """What is calibrated: the logit of a binary net, or a classifier's down and up against neutral. Bounded, so that
    one far row cannot rule the calibration."""
    scores = output if output.shape[1] == 1 else torch.cat([output[:, :1], output[:, 2:]], dim=1) - output[:, 1:2]
    return torch.clamp(scores, -8.0, 8.0)


def parameters_of(net: nn.Module) -> int:
    """How many numbers are learnt.

    >>> parameters_of(Published())
    5572
    """
    return sum(math.prod(weight.shape) for weight in net.parameters())
