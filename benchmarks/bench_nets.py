"""P7: training a net, against the straightforward eager loop with a DataLoader on the same net and the same windows.

    python -m benchmarks.bench_nets [--repeats 3] [--rows 640] [--device cpu]

The reference is what a tutorial has: a data set that cuts one window at a time, a shuffling DataLoader, torch's own
stacked LSTM and dropout, AdamW as it comes, the loss read after every step, float32. Seconds of processor time on a CPU
(one thread, no worker processes: other work on the machine does not count), of the clock on a GPU; the two alternate.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from tradebot.forecasters.base import Windows
from tradebot.forecasters.bilstm_net import BiLstm
from tradebot.forecasters.nets.loop import fit_net, seeded
from tradebot.forecasters.nets.plan import Plan
from tradebot.forecasters.nets.rows import resident

STEPS, INPUTS, BATCH, ACCUMULATION = 60, 30, 32, 2


class Cut(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Windows of a table, one at a time."""

    def __init__(self, base: np.ndarray, target: np.ndarray) -> None:
        self.base, self.target = base, target

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor(self.base[i : i + STEPS]), torch.tensor(self.target[i])


class Stacked(nn.Module):
    """The net of models.md section 6.1 with torch's own stack of layers."""

    def __init__(self, hidden: int, layers: int) -> None:
        super().__init__()
        both = 2 * hidden
        self.norm = nn.LayerNorm(INPUTS)
        self.lstm = nn.LSTM(
            INPUTS, hidden, layers, batch_first=True, bidirectional=True, dropout=0.3 if layers > 1 else 0.0
        )
        self.attention = nn.Sequential(nn.Linear(both, hidden), nn.Tanh(), nn.Linear(hidden, 1))
        self.head = nn.Sequential(
            *(nn.Linear(both, hidden), nn.LayerNorm(hidden), nn.ReLU(), nn.Dropout(0.3)),
            *(nn.Linear(hidden, hidden // 2), nn.LayerNorm(hidden // 2), nn.ReLU(), nn.Dropout(0.3)),
            nn.Linear(hidden // 2, 1),
        )

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        h, _ = self.lstm(self.norm(window))
        share = torch.softmax(self.attention(h), dim=1)
        out: torch.Tensor = self.head((share * h).sum(dim=1))[:, 0]
        return out


def straightforward(net: nn.Module, data: Cut, device: str) -> None:
    """One epoch."""
    net.to(device).train()
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-5)
    for number, (x, y) in enumerate(DataLoader(data, batch_size=BATCH, shuffle=True)):
        loss = nn.functional.huber_loss(net(x.to(device)), y.to(device)) / ACCUMULATION
        loss.backward()
        loss.item()
        if (number + 1) % ACCUMULATION == 0:
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad()


def seconds(work: Callable[[], object], device: str) -> float:
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start


def main() -> None:
    parser = argparse.ArgumentParser(description="the training loop against an eager loop with a DataLoader")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, default=640)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = parser.parse_args()
    rows, device = arguments.rows, arguments.device
    torch.set_num_threads(1)
    random = np.random.default_rng(1)
    base = random.normal(size=(rows + STEPS, INPUTS)).astype(np.float32)
    target = random.normal(size=rows).astype(np.float32)
    windows = Windows(base, np.arange(STEPS - 1, STEPS - 1 + rows), STEPS)
    train = resident(windows, target, np.ones(rows))
    held_out = resident(windows[:2], target[:2], np.ones(2))
    print(f"{'samples/s':<26}{'loop':>12}{'reference':>12}{'faster':>10}")
    for name, hidden, layers in (("full, 3 x 128", 128, 3), ("small, 1 x 64", 64, 1)):
        for precision in ("float32", "bfloat16"):
            plan = Plan(
                epochs=1, batch=BATCH, accumulation=ACCUMULATION, weight_decay=1e-5, device=device, precision=precision
            )  # fmt: skip

            def ours(hidden: int = hidden, layers: int = layers, plan: Plan = plan) -> None:
                net = seeded(1, lambda: BiLstm(INPUTS, hidden, layers, 0.3))
                fit_net(net, train, held_out, _huber, plan)

            def theirs(hidden: int = hidden, layers: int = layers) -> None:
                straightforward(Stacked(hidden, layers), Cut(base, target), device)

            ours(), theirs()
            pairs = [(seconds(ours, device), seconds(theirs, device)) for _ in range(arguments.repeats)]
            fast, slow = median(a for a, _ in pairs), median(b for _, b in pairs)
            ratio = median(b / a for a, b in pairs)
            print(f"{name + ', ' + precision:<26}{rows / fast:>12.0f}{rows / slow:>12.0f}{ratio:>9.2f}x", flush=True)


def _huber(said: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return nn.functional.huber_loss(said, wanted, reduction="none")


if __name__ == "__main__":
    main()
