"""Options that the commands which fit, walk, trade or judge models share, and what they become in a job.

``train``, ``retrain``, ``walkforward``, ``evaluate`` and ``backtest`` take all of them. Where one cannot change
anything the command goes on and says so (``say_unused``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradebot.cli.options import MAX_SEED
from tradebot.cli.output import progress
from tradebot.errors import ConfigError, DataError, LibraryMissing, UsageError

if TYPE_CHECKING:
    from tradebot.jobs import RetrainJob
    from tradebot.settings import Settings


class DeviceName(StrEnum):
    """Where nets are fitted."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


ModelOption = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="Family, or NAME-INTERVAL, like bilstm-1h.")
]
DaysOption = Annotated[int | None, typer.Option("--days", min=1, help="Days of candles.")]
TestSizeOption = Annotated[
    float | None, typer.Option("--test-size", min=0.02, max=0.5, help="Newest share of the time, judged on.")
]
EpochsOption = Annotated[int | None, typer.Option("--epochs", min=1, help="Most epochs (nets).")]
RateOption = Annotated[
    float | None, typer.Option("--lr", metavar="RATE", min=1e-9, max=1.0, help="Learning rate, not searched then.")
]
BatchOption = Annotated[int | None, typer.Option("--batch-size", min=1, help="Rows of one step (nets).")]
TrialsOption = Annotated[int | None, typer.Option("--trials", min=1, help="Parameter sets tried.")]
RoundsOption = Annotated[int | None, typer.Option("--rounds", min=1, help="Most boosting rounds.")]
ThreadsOption = Annotated[
    int | None, typer.Option("--jobs", "--threads", min=1, envvar="N_JOBS", help="Threads of one training.")
]
TrainSeedOption = Annotated[int | None, typer.Option("--seed", min=0, max=MAX_SEED)]
DeviceOption = Annotated[DeviceName | None, typer.Option("--device", help="Where nets are fitted.")]
SourceOption = Annotated[
    Path | None,
    typer.Option(
        "--data", "--candles", metavar="PATH", help="Recorded candles: a file, a folder of files, or a data store."
    ),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", "--store", metavar="DIR", help="Model store (default: that of the settings).")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the family; repeat it.")
]


def settings_overrides(
    *,
    days: int | None = None,
    test_size: float | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    batch_size: int | None = None,
    trials: int | None = None,
    rounds: int | None = None,
    threads: int | None = None,
    seed: int | None = None,
    device: DeviceName | None = None,
    out: Path | None = None,
    state: Path | None = None,
) -> dict[str, Any]:
    """The keys of the settings that these options are."""
    return {
        "retrain.days": days,
        "retrain.test_size": test_size,
        "retrain.epochs": epochs,
        "retrain.lr": lr,
        "retrain.batch_size": batch_size,
        "retrain.trials": trials,
        "retrain.rounds": rounds,
        "retrain.threads": threads,
        "retrain.seed": seed,
        "retrain.device": None if device is None else device.value,
        "model_store": None if out is None else str(out),
        "state_dir": None if state is None else str(state),
    }


def trained_so(settings: Settings, overrides: Mapping[str, Any], options: Sequence[str] | None) -> Settings:
    """``settings`` whose trainings are as ``overrides`` (of ``settings_overrides``) and ``--set`` say.

    Raises UsageError for what a family that is trained does not have, naming what it has.
    """
    from tradebot.daemon.retraining import RetrainPlan

    section = "retrain."
    chosen = {key.removeprefix(section): value for key, value in overrides.items()
              if key.startswith(section) and value is not None}  # fmt: skip
    pairs = pairs_of(options)
    if pairs:
        chosen["options"] = set_of(settings, settings.retrain.options, pairs)
    if not chosen:
        return settings
    settings = settings.model_copy(update={"retrain": settings.retrain.model_copy(update=chosen)})
    plan = RetrainPlan.of(settings)
    for model in plan.train:
        check_asked(plan.job("ANY", 0, model=model))
    return settings


def set_of(
    settings: Settings, own: Mapping[str, Mapping[str, Any]], pairs: Mapping[str, Any]
) -> dict[str, Mapping[str, Any]]:
    """``own`` options by model or family, with ``pairs`` over those of every model that is trained."""
    from tradebot.events.models import full_name, of_model
    from tradebot.settings import trained_models

    base = settings.trading.interval
    named = {full_name(name, base): {**(of_model(own, name, base) or {}), **pairs} for name in trained_models(settings)}
    return {**own, **named}


def say_unused(why: str, **given: object) -> None:
    """One line on stderr that names the options which were given (neither None nor empty) and change nothing."""
    names = [f"--{name.replace('_', '-')}" for name, value in given.items() if value not in (None, [], ())]
    if names:
        progress(f"{why}: {', '.join(names)} change{'s' if len(names) == 1 else ''} nothing")


def pairs_of(given: Sequence[str] | None) -> dict[str, float | int | str | bool]:
    """``KEY=VALUE`` texts as a mapping. Raises UsageError.

    >>> pairs_of(["horizon=3"])
    {'horizon': '3'}
    """
    found: dict[str, float | int | str | bool] = {}
    for text in given or ():
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise UsageError(f"--set {text}: write it as KEY=VALUE, for instance --set horizon=3")
        found[key.strip().replace("-", "_")] = value
    return found


def name_and_interval(model: str) -> tuple[str, str]:
    """A family and the interval of a name like ``bilstm-1h``; an empty interval is the family's own.

    >>> name_and_interval("lorentzian-net-1h"), name_and_interval("lorentzian-net")
    (('lorentzian-net', '1h'), ('lorentzian-net', ''))
    """
    from tradebot.market.candle import INTERVAL_MS

    name, _, interval = model.rpartition("-")
    return (name, interval) if interval in INTERVAL_MS and name else (model, "")


def check_asked(job: RetrainJob) -> None:
    """Raises UsageError for an option that the job's family does not have, naming those it has."""
    from tradebot.training.asked import asked_for

    try:
        asked_for(job)
    except ConfigError as error:
        raise UsageError(str(error)) from error


def check_models(settings: Settings) -> list[str]:
    """Raises ConfigError for a model whose family there is not, and for what a family to be trained does not have.

    Gives a line for each family whose options are not known, because a library that trains it is not here.
    """
    from tradebot.daemon.retraining import RetrainPlan
    from tradebot.events.models import split_model
    from tradebot.forecasters.base import FAMILIES
    from tradebot.settings import served_models, trained_models
    from tradebot.training.asked import asked_for

    named = {"strategy.models": served_models(settings), "retrain.models": trained_models(settings)}
    for where, models in named.items():
        for model in models:
            family = split_model(model, settings.trading.interval)[0]
            if family not in FAMILIES:
                raise ConfigError(f"{where}: there is no model family {family!r}; known: {', '.join(sorted(FAMILIES))}")
    plan, unknown = RetrainPlan.of(settings), []
    for model in plan.train if plan.enabled else ():
        try:
            asked_for(plan.job("BTCUSDT", 0, model=model))
        except LibraryMissing as error:
            unknown.append(f"retrain: {error}")
        except ConfigError as error:
            raise ConfigError(f"retrain: {error}") from error
    return unknown


def end_of(data: Path, symbols: Sequence[str], interval: str) -> int:
    """When the newest candle of ``symbols`` in a file, folder or store ends. Raises DataError when there is none."""
    from tradebot.jobs import ParquetSource
    from tradebot.market.candle import INTERVAL_MS
    from tradebot.training.candles import load_candles
    from tradebot.training.scoring import ALL_DAYS, FAR_MS

    newest, problem = 0, None
    for symbol in symbols:
        try:
            found = load_candles(ParquetSource(path=str(data)), symbol, interval, as_of_ms=FAR_MS, days=ALL_DAYS)
            newest = max(newest, int(found.open_ms[-1]) + INTERVAL_MS[interval])
        except DataError as error:
            problem = error
    if not newest:
        raise problem or DataError(f"{data}: holds no candles")
    return newest
