"""One training loop for every net.

Seeds, schedule, accumulation, clipping, mixed precision, early stopping with the best weights restored, checkpoints.
An epoch's order and dropout depend on the seed and its number alone, so a run that was interrupted gives, taken up
again, the weights an uninterrupted one gives, to the last bit (same machine, device and number of threads).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from tradebot.errors import DataError
from tradebot.forecasters.base import OnRound, Round
from tradebot.forecasters.nets import checkpoint
from tradebot.forecasters.nets.device import at_home, autocast, chosen_device
from tradebot.forecasters.nets.plan import Plan, learning_rate, warmed
from tradebot.forecasters.nets.rows import Resident

RowLoss = Callable[[Any, Tensor], Tensor]
"""(output of the net, targets) → loss of each row (B,)."""

Penalty = Callable[[nn.Module], Tensor]
"""A term on the weights, added to every step's mean loss; not part of the validation loss."""

AT_ONCE = 512
"""Validation rows that go through the net together."""


@dataclass(frozen=True, slots=True)
class Trained:
    """``epochs``: the one whose weights were kept (from 1); ``loss``: weighted mean on validation rows there."""

    epochs: int
    loss: float
    history: tuple[Round, ...]


def seeded(seed: int, make: Callable[[], nn.Module]) -> nn.Module:
    """A net whose first weights depend on ``seed`` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def fit_net(
    net: nn.Module,
    train: Resident,
    validation: Resident,
    loss: RowLoss,
    plan: Plan,
    *,
    penalty: Penalty | None = None,
    on_round: OnRound | None = None,
    work: Path | None = None,
    name: str = "net",
) -> Trained:
    """Train ``net`` in place; it ends with its best weights, in ``eval()``, on the CPU.

    With ``work``, ``work/NAME.ckpt`` is replaced after every epoch, before ``on_round`` hears of it, and a run of the
    same settings, rows and first weights goes on from there; one that had ended goes on when ``epochs`` is higher now.
    Raises DataError when the loss is no number, BusyError when memory or disk does not suffice, ConfigError for a
    device that is not there.
    """
    device = chosen_device(plan.device)
    path = None if work is None else work / f"{name}.ckpt"
    with at_home(plan, device):
        run = "" if path is None else checkpoint.fingerprint(_settings(plan), net, train, validation)
        net.to(device)
        state = _State(net, plan)
        if path is not None and (saved := checkpoint.load(path, run)) is not None:
            state.restore(saved)
        train, validation = train.to(device), validation.to(device)
        while not state.over:
            trained = _epoch(state, train, loss, penalty, device)
            judged = _validate(net, validation, loss, device)
            _check(trained, judged, len(state.history) + 1, plan)
            state.keep(trained, judged)
            if path is not None:
                checkpoint.save(path, state.saved(run))
            if on_round is not None and on_round(len(state.history), judged):
                break
        net.load_state_dict(state.best)
        net.eval().to("cpu")
    return Trained(state.best_epoch, state.best_loss, tuple(state.history))


class _State:
    """Where a run is."""

    def __init__(self, net: nn.Module, plan: Plan) -> None:
        self.net, self.plan = net, plan
        kind = torch.optim.AdamW if plan.optimiser == "adamw" else torch.optim.Adam
        weights = [weight for weight in net.parameters() if weight.requires_grad]
        self.optimiser = kind(weights, lr=plan.learning_rate, weight_decay=plan.weight_decay, fused=True)
        self.steps = 0
        self.history: list[Round] = []
        self.best: dict[str, Tensor] = copy.deepcopy(net.state_dict())
        self.best_epoch, self.best_loss = 0, math.inf

    @property
    def over(self) -> bool:
        done = len(self.history)
        return done >= self.plan.epochs or done - self.best_epoch >= self.plan.patience

    def rate(self) -> float:
        return learning_rate(self.plan, len(self.history), [past.validation_loss for past in self.history])

    def keep(self, trained: float, judged: float) -> None:
        self.history.append(Round(len(self.history) + 1, trained, judged))
        if judged < self.best_loss:
            self.best_loss, self.best_epoch = judged, len(self.history)
            self.best = {name: tensor.detach().clone() for name, tensor in self.net.state_dict().items()}

    def saved(self, run: str) -> dict[str, Any]:
        return {
            "run": run,
            "net": self.net.state_dict(),
            "best": self.best,
            "optimiser": self.optimiser.state_dict(),
            "steps": self.steps,
            "best_epoch": self.best_epoch,
            "best_loss": self.best_loss,
            "history": [tuple(past) for past in self.history],
        }

    def restore(self, saved: dict[str, Any]) -> None:
        self.net.load_state_dict(saved["net"])
        self.optimiser.load_state_dict(saved["optimiser"])
        self.best = saved["best"]
        self.steps, self.best_epoch, self.best_loss = saved["steps"], saved["best_epoch"], saved["best_loss"]
        self.history = [Round(*past) for past in saved["history"]]


def _epoch(state: _State, train: Resident, loss: RowLoss, penalty: Penalty | None, device: torch.device) -> float:
    """One pass over the training rows in a random order. Returns the weighted mean loss."""
    net, plan = state.net.train(), state.plan
    seed = plan.seed * 1_000_003 + len(state.history)
    torch.manual_seed(seed)
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed)).to(device)
    rate = state.rate()
    total = torch.zeros((), device=device)
    for start in range(0, len(order), plan.batch * plan.accumulation):
        step = order[start : start + plan.batch * plan.accumulation]
        weight = train.weight[step].sum()
        for first in range(0, len(step), plan.batch):
            rows = step[first : first + plan.batch]
            with autocast(plan, device):
                each = loss(net(train.inputs(rows)), train.target[rows])
            part = (each.float() * train.weight[rows]).sum()
            (part / weight).backward()  # type: ignore[no-untyped-call]
            total += part.detach()
        if penalty is not None:
            penalty(net).backward()  # type: ignore[no-untyped-call]
        if plan.clip > 0:
            nn.utils.clip_grad_norm_(net.parameters(), plan.clip)
        for group in state.optimiser.param_groups:
            group["lr"] = rate * warmed(plan, state.steps)
        state.optimiser.step()
        state.optimiser.zero_grad()
        state.steps += 1
    return float(total / train.weight.sum())


@torch.inference_mode()
def _validate(net: nn.Module, rows: Resident, loss: RowLoss, device: torch.device) -> float:
    """Weighted mean loss in float32, as the net will serve."""
    net.eval()
    total = torch.zeros((), dtype=torch.float64, device=device)
    for start in range(0, len(rows), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        each = loss(net(rows.inputs(part)), rows.target[part])
        total += (each.double() * rows.weight[part]).sum()
    return float(total / rows.weight.sum())


def _check(trained: float, judged: float, epoch: int, plan: Plan) -> None:
    if not (math.isfinite(trained) and math.isfinite(judged)):
        raise DataError(
            f"the loss is no number any more in epoch {epoch} (training {trained}, validation {judged}): lower the "
            f"learning rate ({plan.learning_rate:g}) or the bound on gradients ({plan.clip:g})"
        )


def _settings(plan: Plan) -> bytes:
    """What the weights depend on: not how long the run is, unless the schedule does; not where it ran."""
    shown = msgspec.to_builtins(plan)
    for name in ("patience", "device", "threads", *(() if plan.schedule == "cosine" else ("epochs",))):
        del shown[name]
    return msgspec.json.encode(shown)
