"""Fitting ``bilstm``: components and linear head in closed form, nets by the loop, the blend on validation rows."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from tradebot.errors import DataError
from tradebot.forecasters.base import Exported, Floats, Inputs, OnRound, Params, Round, Rows, Sample, Windows
from tradebot.forecasters.bilstm_blend import blend, ridge
from tradebot.forecasters.bilstm_net import BiLstm, Blend, Components, Level, Linear, Served
from tradebot.forecasters.nets.checkpoint import packed
from tradebot.forecasters.nets.export import INPUT, run, to_onnx
from tradebot.forecasters.nets.loop import fit_net, seeded
from tradebot.forecasters.nets.plan import Plan
from tradebot.forecasters.nets.rows import Resident, resident
from tradebot.forecasters.nets.scaling import Scaler

log = logging.getLogger(__name__)

EXPLAINED = 0.95
"""Share of the variance that the components must keep; where the number asked for does not, there are more."""
FARTHEST = 4.0
"""Targets beyond ±4 σ count as no farther: a crash must not decide the weights."""
RIDGE = 1.0
MIN_ROWS = 300
FIGURES_FILE = "fit.json"
"""In a version: losses, epochs, price errors on validation rows, the blend and the net's size."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is fitted. ``columns`` of the view are inputs; ``level_column`` is the volatility, or the close where the
    target is a price; ``day_rows`` are the rows of a day."""

    hidden: int
    layers: int
    components: int
    columns: tuple[int, ...]
    level_column: int
    price: bool
    linear: bool
    members: int
    threshold: float
    robust: bool
    day_rows: int


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What every fit on the same rows shares."""

    components: Components
    explained: float
    level: Level
    linear: Linear
    price_range: tuple[float, float] | None
    train: Resident
    validation: Resident
    validation_windows: Windows
    validation_level: Floats
    validation_return: Floats
    validation_classes: np.ndarray
    linear_said: Floats | None
    seed: int
    threads: int


def prepare(shape: Shape, train: Sample, validation: Sample, *, seed: int, threads: int) -> Prepared:
    """Fit scaler, components and linear head on the training rows and lay both slices out as components.

    Raises DataError for too few rows.
    """
    if len(train) < MIN_ROWS:
        raise DataError(
            f"{len(train)} training rows are too few for bilstm, {MIN_ROWS} are the least: use more days (3000 candles "
            "do, 20000 are better)"
        )
    windows = _windows(train.rows)
    first = int(windows.index.min()) - windows.steps + 1
    fitting = windows.base[first : int(windows.index.max()) + 1]
    components, explained = principal(fitting, shape.columns, shape.components)
    count = len(components.bias)
    if count > shape.components:
        log.warning(
            "%d components keep less than %.0f%% of the variance; %d do", shape.components, 1e2 * EXPLAINED, count
        )
    level = Level(shape.level_column, _middle(fitting[:, shape.level_column]))
    price_range = _price_range(train, level) if shape.price else None
    parts = [_resident(part, components, level, price_range) for part in (train, validation)]
    x, y = (parts[0].base[parts[0].index].numpy().astype(np.float64), parts[0].target.numpy().astype(np.float64))
    beta, intercept = ridge(x, y, train.weight, RIDGE)
    linear = Linear(torch.from_numpy(beta.astype(np.float32)), torch.tensor(intercept, dtype=torch.float32))
    newest = parts[1].base[parts[1].index]
    return Prepared(
        components=components,
        explained=explained,
        level=level,
        linear=linear,
        price_range=price_range,
        train=parts[0],
        validation=parts[1],
        validation_windows=_windows(validation.rows),
        validation_level=_levels(validation, level),
        validation_return=np.log1p(validation.realised_bp * 1e-4),
        validation_classes=validation.classes,
        linear_said=linear(newest).numpy().astype(np.float64) if shape.linear and not shape.price else None,
        seed=seed,
        threads=threads,
    )


def fit(
    shape: Shape, prepared: Prepared, params: Params, plan: Plan, on_round: OnRound | None, work: Path | None
) -> FittedBiLstm:
    """Fit ``members`` nets that differ in their seed alone, and the blend."""
    dropout = float(params["dropout"])
    count = len(prepared.components.bias)
    nets: list[BiLstm] = []
    history: list[Round] = []
    best_epochs: list[int] = []
    losses: list[float] = []
    for member in range(shape.members):
        net = seeded(plan.seed + member, lambda: BiLstm(count, shape.hidden, shape.layers, dropout))
        before = len(history)

        def heard(done: int, loss: float, before: int = before) -> bool:
            return on_round is not None and on_round(before + done, loss)

        trained = fit_net(
            net,
            prepared.train,
            prepared.validation,
            _huber if shape.robust else _squared,
            plan,
            on_round=heard,
            work=work,
            name=f"bilstm-{member}",
        )
        assert isinstance(net, BiLstm)
        nets.append(net)
        history += [Round(before + past.number, past.train_loss, past.validation_loss) for past in trained.history]
        best_epochs.append(trained.epochs)
        losses.append(trained.loss)
    served = Served(
        prepared.components,
        nets,
        prepared.linear,
        prepared.level,
        _blend(shape, prepared, nets),
        shape.threshold,
        prepared.price_range,
    )
    figures = {
        "best_val_loss": float(np.mean(losses)),
        "best_epoch": best_epochs[0],
        "total_epochs": len(history),
        "explained_variance": prepared.explained,
        **_errors(served, prepared),
    }
    return FittedBiLstm(served, tuple(history), params, figures)


class FittedBiLstm:
    """The served module and how it came about. ``figures`` are of the fit and the validation rows."""

    def __init__(
        self, served: Served, history: tuple[Round, ...], params: Params, figures: Mapping[str, float]
    ) -> None:
        self.served = served.eval()
        self.rounds = int(figures["best_epoch"])
        self.validation_loss = float(figures["best_val_loss"])
        self.history: Sequence[Round] = history
        self.importance: Mapping[str, float] = {}
        self.figures = figures
        self._params = params

    def predict(self, rows: Inputs) -> tuple[Floats, Floats]:
        return run(self.served, rows)

    def export(self, check: Inputs) -> Exported:
        first = self.served.nets[0]
        assert isinstance(first, BiLstm)
        blend = self.served.blend
        config = {
            "inputs": len(self.served.components.bias),
            "hidden": first.lstm[0].hidden_size,
            "layers": len(first.lstm),
            "members": len(self.served.nets),
            "gain": blend.gain,
            "share": blend.share,
            "spread": blend.spread,
            "params": dict(self._params),
        }
        return Exported(
            onnx=to_onnx(self.served, check),
            files={
                "model.pt": packed(self.served, config),
                FIGURES_FILE: msgspec.json.format(msgspec.json.encode({**self.figures, **config})),
            },
            input_name=INPUT,
        )


def principal(rows: Rows, columns: Sequence[int], wanted: int) -> tuple[Components, float]:
    """Scaler and principal components of training rows (M, F), and the share of the variance they keep.

    ``wanted`` components, or as many as keep 95 %. Each component's largest weight is positive, so that the same rows
    give the same signs. Not whitened.
    """
    scaler = Scaler(list(columns)).fit(rows)
    z = scaler(torch.from_numpy(np.ascontiguousarray(rows))).numpy().astype(np.float64)
    mean = z.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(z - mean, rowvar=False))
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    share = np.cumsum(values) / max(float(values.sum()), 1e-12)
    count = min(len(columns), max(wanted, int(np.searchsorted(share, EXPLAINED)) + 1))
    kept = vectors[:, :count]
    kept = kept * np.sign(kept[np.abs(kept).argmax(axis=0), np.arange(count)])
    weight, bias = torch.from_numpy(kept.astype(np.float32)), torch.from_numpy((-mean @ kept).astype(np.float32))
    return Components(scaler, weight, bias), float(share[count - 1])


def _resident(
    sample: Sample, components: Components, level: Level, price_range: tuple[float, float] | None
) -> Resident:
    """A slice as windows of components: each row is scaled and projected once, not once in each window."""
    windows = _windows(sample.rows)
    first = int(windows.index.min()) - windows.steps + 1
    base = torch.from_numpy(np.ascontiguousarray(windows.base[first : int(windows.index.max()) + 1]))
    with torch.inference_mode():
        projected = components(base).numpy()
    at = _levels(sample, level)
    if price_range is None:
        target = np.clip(np.log1p(sample.realised_bp * 1e-4) / at, -FARTHEST, FARTHEST)
    else:
        low, high = price_range
        target = (at * (1.0 + sample.realised_bp * 1e-4) - low) / (high - low)
    return resident(Windows(projected, windows.index - first, windows.steps), target, sample.weight)


def _levels(sample: Sample, level: Level) -> Floats:
    newest = torch.from_numpy(_windows(sample.rows).newest())
    levels: Floats = level(newest[:, None]).numpy().astype(np.float64)
    return levels


def _price_range(train: Sample, level: Level) -> tuple[float, float]:
    coming = _levels(train, level) * (1.0 + train.realised_bp * 1e-4)
    return float(coming.min()), float(coming.max())


def _blend(shape: Shape, prepared: Prepared, nets: Sequence[nn.Module]) -> Blend:
    rows, level = prepared.validation, prepared.validation_level
    with torch.inference_mode():
        said = np.mean([_said(net, rows) for net in nets], axis=0)
    if prepared.price_range is None:
        return blend(
            said,
            prepared.linear_said,
            level,
            prepared.validation_return,
            prepared.validation_classes,
            shape.threshold,
            shape.day_rows,
        )
    low, high = prepared.price_range
    price = np.maximum(said * (high - low) + low, 1e-3 * low)
    wrong = prepared.validation_return - np.log(price / level)
    return Blend(gain=1.0, share=1.0, spread=max(float(wrong.std()), 1e-6))


def _errors(served: Served, prepared: Prepared) -> dict[str, float]:
    """Error of the price on validation rows in per cent, beside that of no change at all."""
    expected_bp = run(served, prepared.validation_windows)[1]
    realised = np.expm1(prepared.validation_return)
    wrong, moved = np.abs(realised - expected_bp * 1e-4), np.abs(realised)
    coming = 1.0 + realised
    return {
        "val_mape": 1e2 * float((wrong / coming).mean()),
        "val_mape_persistence": 1e2 * float((moved / coming).mean()),
        "val_mase": float(wrong.mean() / max(float(moved.mean()), 1e-12)),
    }


def _said(net: nn.Module, rows: Resident) -> Floats:
    parts = [net(rows.inputs(slice(at, at + 512))) for at in range(0, len(rows), 512)]
    said: Floats = torch.cat(parts).numpy().astype(np.float64)
    return said


def _middle(values: np.ndarray) -> float:
    known = values[np.isfinite(values) & (values > 0)]
    if len(known) == 0:
        raise DataError("the price did not move in the training rows; there is nothing to learn")
    return float(np.median(known))


def _windows(inputs: Inputs) -> Windows:
    assert isinstance(inputs, Windows), "bilstm reads windows"
    return inputs


def _huber(said: Tensor, target: Tensor) -> Tensor:
    return nn.functional.huber_loss(said, target, reduction="none")


def _squared(said: Tensor, target: Tensor) -> Tensor:
    return (said - target) ** 2
