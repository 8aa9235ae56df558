"""Fitting the nets of ``lorentzian-net``. Needs torch; imported when a net is fitted, never before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from tradebot.errors import ConfigError, DataError
from tradebot.forecasters.base import (
    Exported,
    Floats,
    Inputs,
    OnRound,
    Params,
    Round,
    Sample,
    class_returns_bp,
    newest_rows,
)
from tradebot.forecasters.lorentzian import spaced
from tradebot.forecasters.lorentzian_modules import Attention, Memory, Published, Served, scores_of
from tradebot.forecasters.lorentzian_modules import Inputs as InputsModule
from tradebot.forecasters.lorentzian_net import LorentzianNet, setting
from tradebot.forecasters.nets.checkpoint import packed
from tradebot.forecasters.nets.export import INPUT, run, to_onnx
from tradebot.forecasters.nets.loop import RowLoss, fit_net, seeded
from tradebot.forecasters.nets.plan import Plan
from tradebot.forecasters.nets.rows import resident
from tradebot.forecasters.score_calibration import calibrate_on, class_weights, halves_loss
from tradebot.market.candle import INTERVAL_MS

SPARSE = 1e-4
"""Weight of the sum of the metric's weights in the loss: features that tell nothing fade."""
UP = 2
AT_ONCE = 256


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What several fits on the same rows share."""

    family: LorentzianNet
    train: Sample
    validation: Sample
    seed: int
    threads: int


def fit(
    prepared: Prepared, params: Params, *, rounds: int, on_round: OnRound | None = None, work: Path | None = None
) -> FittedNet:
    """Train, keep the best epoch's weights, calibrate on the validation rows."""
    family, train, validation = prepared.family, prepared.train, prepared.validation
    given = family.given
    columns = [family.features.index(name) for name in family.inputs]
    inputs = InputsModule(columns, given.compat)
    inputs.scaler.fit(_chosen(inputs, newest_rows(train.rows)))
    x, y = _inputs(inputs, newest_rows(train.rows)), _inputs(inputs, newest_rows(validation.rows))
    plan = Plan(
        epochs=rounds,
        batch=int(params.get("batch", 64)),
        learning_rate=float(params.get("learning_rate", 1e-3)),
        optimiser="adam" if given.kind == "published" else "adamw",
        weight_decay=0.0 if given.kind == "published" else 1e-4,
        schedule="constant" if given.kind == "published" else "cosine",
        patience=given.patience,
        seed=prepared.seed,
        threads=prepared.threads,
        device=given.device,
    )
    fitting = np.ones(len(train), dtype=np.bool_)
    net: nn.Module
    if given.kind == "published":
        hidden, dropout = int(setting(given, params, "hidden")), float(setting(given, params, "dropout"))
        net = seeded(prepared.seed, lambda: Published(x.shape[1], hidden, dropout))
    elif given.kind == "attention":
        net = _attention(x, train, int(setting(given, params, "prototypes")))
    else:
        net, fitting = _memory(family, x, train)
    weight = train.weight * _balance(train.classes) if setting(given, params, "class_weights") else train.weight
    loss, targets = _objective(given.kind)
    trained = fit_net(
        net,
        resident(x[fitting], targets(train.classes)[fitting], weight[fitting]),
        resident(y, targets(validation.classes), validation.weight),
        loss,
        plan,
        penalty=None if given.kind == "published" else _sparse,
        on_round=on_round,
        work=work,
        name="lorentzian-net",
    )
    if isinstance(net, Memory):
        _remember(net, family, x, train)
    scores = _scores(net, y)
    before = class_weights(train)
    served = Served(inputs, net, calibrate_on(scores, validation, before), class_returns_bp(train).tolist()).eval()
    config: dict[str, float | int | str | bool] = {"family": family.name, "interval": family.interval}
    config |= family.options | params
    return FittedNet(
        served, family.inputs, config, trained.epochs, halves_loss(scores, validation, before), trained.history
    )


@dataclass(frozen=True, slots=True, eq=False)
class FittedNet:
    """A trained net. ``validation_loss``: of its calibrated probabilities, each half of the validation rows judged by
    the calibration of the other; ``history`` holds the losses the net was trained by."""

    served: Served
    inputs: tuple[str, ...]
    config: Mapping[str, float | int | str | bool]
    rounds: int
    validation_loss: float
    history: tuple[Round, ...]

    @property
    def importance(self) -> Mapping[str, float]:
        """Share of the metric's weights; nothing for the published net, which has none."""
        net = self.served.net
        if not isinstance(net, Attention | Memory):
            return {}
        weights = net.metric.weights.detach().double()
        return dict(zip(self.inputs, (weights / weights.sum()).tolist(), strict=True))

    def predict(self, rows: Inputs) -> tuple[Floats, Floats]:
        return run(self.served, rows)

    def rise(self, rows: Inputs) -> Floats:
        """The net's own probability of a rise (N,), before the calibration; of the published net only."""
        if not isinstance(self.served.net, Published):
            raise ConfigError("rule levels is of lorentzian-net with kind published: its signals are 0.7 and 0.3")
        x = _inputs(self.served.inputs, newest_rows(rows))
        probabilities: Floats = 1.0 / (1.0 + np.exp(-_scores(self.served.net, x)[:, 0]))
        return probabilities

    def export(self, check: Inputs) -> Exported:
        return Exported(
            onnx=to_onnx(self.served, check), files={"model.pt": packed(self.served, self.config)}, input_name=INPUT
        )


# --- inside ---------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def _chosen(inputs: InputsModule, rows: np.ndarray) -> np.ndarray:
    found: np.ndarray = inputs.chosen(torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32))).numpy()
    return found


@torch.inference_mode()
def _inputs(inputs: InputsModule, rows: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = inputs(torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32))).numpy()
    return scaled


@torch.inference_mode()
def _scores(net: nn.Module, x: np.ndarray) -> Floats:
    parts = [scores_of(net(torch.from_numpy(x[i : i + AT_ONCE]))) for i in range(0, len(x), AT_ONCE)]
    scores: Floats = torch.cat(parts).double().numpy()
    return scores


def _attention(x: np.ndarray, train: Sample, prototypes: int) -> Attention:
    chosen = _spread(train.classes, min(prototypes, len(x)))
    came = torch.eye(3)[torch.from_numpy(train.classes[chosen].astype(np.int64))]
    return Attention(torch.from_numpy(x[chosen]), came, _base(train))


def _spread(classes: np.ndarray, count: int) -> np.ndarray:
    """Rows of every class, as often as it comes, spread evenly over time."""
    chosen = []
    for c in np.unique(classes):
        own = np.flatnonzero(classes == c)
        take = max(1, round(count * len(own) / len(classes)))
        chosen.append(own[np.unique(np.linspace(0, len(own) - 1, min(take, len(own))).round().astype(int))])
    return np.sort(np.concatenate(chosen))


def _memory(family: LorentzianNet, x: np.ndarray, train: Sample) -> tuple[Memory, np.ndarray]:
    """A net that learns its metric on the newer half of the rows by remembering the older one."""
    middle = int(train.at_ms[len(train) // 2])
    fitting = train.at_ms >= middle
    old = np.flatnonzero(train.label_end_ms <= middle)
    bank = old[_remembered(family, train.where(train.label_end_ms <= middle))]
    if len(bank) < 2 * (family.given.k + 1):
        raise DataError(f"{len(bank)} rows to remember are too few for {family.given.k} neighbours: use more days")
    return Memory(*_bank(x, train, bank), _base(train), family.given.k), fitting


def _remember(net: Memory, family: LorentzianNet, x: np.ndarray, train: Sample) -> None:
    """The newest rows in place of those the metric was learnt with."""
    net.bank, net.outcomes = _bank(x, train, _remembered(family, train))


def _remembered(family: LorentzianNet, sample: Sample) -> np.ndarray:
    """The newest rows whose labels overlap by no more than three quarters."""
    bar_ms = INTERVAL_MS[family.interval]
    return spaced(sample.at_ms, max(1, family.given.horizon // 4) * bar_ms, family.given.memory)


def _bank(x: np.ndarray, train: Sample, chosen: np.ndarray) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(x[chosen]), torch.eye(3)[torch.from_numpy(train.classes[chosen].astype(np.int64))]


def _base(train: Sample) -> Tensor:
    counts = class_weights(train) + 1.0
    return torch.from_numpy((counts / counts.sum()).astype(np.float32))


def _balance(classes: np.ndarray) -> Floats:
    counts = np.bincount(classes, minlength=3)
    share: Floats = len(classes) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    balance: Floats = share[classes]
    return balance


def _objective(kind: str) -> tuple[RowLoss, Callable[[np.ndarray], np.ndarray]]:
    """Loss of each row, and its targets out of classes."""
    if kind == "published":
        return _rise, lambda classes: (classes == UP).astype(np.float32)
    return _surprise if kind == "memory" else _cross_entropy, lambda classes: classes.astype(np.int64)


def _rise(output: Tensor, target: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(output[:, 0], target, reduction="none")


def _cross_entropy(output: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(output, target, reduction="none")


def _surprise(output: Tensor, target: Tensor) -> Tensor:
    return functional.nll_loss(output, target, reduction="none")


def _sparse(net: nn.Module) -> Tensor:
    assert isinstance(net, Attention | Memory)
    return SPARSE * net.metric.weights.sum()
