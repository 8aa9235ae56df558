"""``tradebot walkforward --model NAME``: a forecaster walked by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tradebot.cli.options import settings_of
from tradebot.cli.output import json_line, line, progress
from tradebot.cli.research import Eta, length_of
from tradebot.cli.stopping import stoppable
from tradebot.cli.times import wall_ms
from tradebot.cli.training_options import DeviceName, name_and_interval, pairs_of
from tradebot.errors import UsageError

if TYPE_CHECKING:
    from tradebot.evaluation.walkforward import Window
    from tradebot.forecasters.base import Family
    from tradebot.jobs import CandleSource, ParquetSource
    from tradebot.training.asked import Asked
    from tradebot.training.walk.plan import WalkPlan
    from tradebot.training.walk.results import WalkResult
    from tradebot.training.walk.run import Walked

DAY_MS = 86_400_000
EPOCHS = 30
"""Most epochs of a net's fit in a window, where none are asked for."""


class MetricName(StrEnum):
    """What chooses on validation rows."""

    total_return = "total_return"
    win_rate = "win_rate"
    sharpe_ratio = "sharpe_ratio"
    sortino_ratio = "sortino_ratio"
    calmar_ratio = "calmar_ratio"


class RuleName(StrEnum):
    """How forecasts are traded."""

    threshold = "threshold"
    levels = "levels"
    indicator = "indicator"


@dataclass(frozen=True, slots=True)
class WalkAsked:
    """The command line."""

    model: str
    symbols: Sequence[str]
    data: Sequence[str]
    out: Path
    days: str
    train: str
    test: str
    metric: MetricName
    rule: RuleName | None
    interval: str
    trials: int
    rounds: int
    epochs: int | None
    lr: float | None
    batch_size: int | None
    threads: int | None
    device: DeviceName | None
    seed: int
    seeds: int
    options: Sequence[str]
    deploy: bool
    others: Sequence[Path]
    sizing: bool
    adversarial: bool
    expanding: bool
    store: Path | None
    config: Path | None
    as_json: bool


def days_or_length(option: str, text: str) -> int:
    """A length in ms; a number alone is days. Raises UsageError.

    >>> days_or_length("--train", "30") == days_or_length("--train", "30d")
    True
    """
    return length_of(option, f"{text}d" if text.strip().isdigit() else text)


def walk_forecaster(asked: WalkAsked) -> None:
    """Walk with every seed asked for, write what came of each, and say it."""
    from tradebot.cli.log import quiet
    from tradebot.training.progress import Cancelled

    quiet("walkforward")
    plans = _plans(asked)
    results: list[WalkResult] = []
    with stoppable() as stopped:
        for plan, folder in plans:
            try:
                walked, result = _walked(asked, plan, folder, stopped, len(plans))
                results.append(result)
            except Cancelled:
                progress("stopped; the same command goes on after the windows that are done")
                raise typer.Exit(130) from None
    if len(results) > 1:
        _told_together(asked, results)
    if asked.deploy:
        _deploy(asked, plans[-1][0], walked)


def _plans(asked: WalkAsked) -> list[tuple[WalkPlan, Path]]:
    from tradebot.jobs import RestSource
    from tradebot.training.walk.plan import WalkPlan
    from tradebot.training.walk.studies import check_over

    if len(asked.symbols) > 1 or len(asked.data) > 1:
        raise UsageError("--model walks one market: name one --symbol and one --data file or folder")
    for folder in asked.others:
        check_over(folder)
    settings = settings_of(asked.config).settings
    lengths = {name: days_or_length(f"--{name}", getattr(asked, name)) for name in ("days", "train", "test")}
    for name, length in lengths.items():
        if length % DAY_MS:
            raise UsageError(f"--{name} {getattr(asked, name)}: whole days, please")
    source: CandleSource
    if asked.data:
        source, symbol, end_ms = _recorded(asked)
    else:
        source, end_ms = RestSource(url=settings.exchange.rest_url), wall_ms()
        symbol = asked.symbols[0] if asked.symbols else settings.symbols[0]
    name, interval = name_and_interval(asked.model)
    chosen = _chosen(asked, name, asked.interval or interval, symbol, source, end_ms)
    plan = WalkPlan(
        model=name,
        symbol=symbol,
        source=source,
        as_of_ms=end_ms,
        interval=chosen.kind.interval,
        options=dict(chosen.kind.options),
        params=chosen.fixed,
        days=lengths["days"] // DAY_MS,
        train_days=lengths["train"] // DAY_MS,
        test_days=lengths["test"] // DAY_MS,
        metric=asked.metric.value,
        rule=(asked.rule or _usual_rule(chosen.kind)).value,
        trials=asked.trials,
        rounds=chosen.rounds,
        seed=asked.seed,
        threads=asked.threads or settings.retrain.threads,
        adversarial=asked.adversarial,
        expanding=asked.expanding,
    )
    if asked.seeds == 1:
        return [(plan, asked.out)]
    from msgspec.structs import replace

    seeds = range(asked.seed, asked.seed + asked.seeds)
    return [(replace(plan, seed=seed), asked.out / f"seed-{seed}") for seed in seeds]


def _recorded(asked: WalkAsked) -> tuple[ParquetSource, str, int]:
    """Source, symbol and end of recorded candles."""
    from tradebot.cli.training_options import end_of
    from tradebot.forecasters.base import family
    from tradebot.jobs import ParquetSource
    from tradebot.training.source_files import symbol_told

    path = Path(asked.data[0]).absolute()
    symbol = asked.symbols[0].upper() if asked.symbols else ""
    if path.is_dir() and not symbol:
        raise UsageError(f"--data {path}: a folder; name the --symbol")
    symbol = symbol or symbol_told(path) or path.stem.upper()
    name, interval = name_and_interval(asked.model)
    end_ms = end_of(path, [symbol], family(name, {}, asked.interval or interval).interval)
    return ParquetSource(path=str(path)), symbol, end_ms


def _chosen(asked: WalkAsked, name: str, interval: str, symbol: str, source: CandleSource, end_ms: int) -> Asked:
    """The family as the command line sets it. Raises UsageError for an option it does not have."""
    from tradebot.cli.training_options import check_asked
    from tradebot.forecasters.base import family
    from tradebot.jobs import RetrainJob
    from tradebot.training.asked import asked_for

    counts = family(name, {}, interval).counts
    job = RetrainJob(
        id="walk",
        symbol=symbol,
        model=name,
        as_of_ms=end_ms,
        declared_ms=0,
        days=1,
        source=source,
        store="",
        options=pairs_of(asked.options),
        interval=interval,
        rounds=asked.rounds,
        epochs=asked.epochs or (EPOCHS if counts == "epochs" else None),
        lr=asked.lr,
        batch_size=asked.batch_size,
        device="auto" if asked.device is None else asked.device.value,
    )
    check_asked(job)
    return asked_for(job)


def _usual_rule(kind: Family) -> RuleName:
    """The published net and indicator by their published rules, everything else by its expected return."""
    if kind.name == "lorentzian" and kind.options["form"] == "compat":
        return RuleName.indicator
    if kind.name == "lorentzian-net" and kind.options["kind"] == "published":
        return RuleName.levels
    return RuleName.threshold


def _walked(
    asked: WalkAsked, plan: WalkPlan, folder: Path, stopped: Callable[[], bool], tried: int
) -> tuple[Walked, WalkResult]:
    from tradebot.training.walk.results import result_of, write_results
    from tradebot.training.walk.run import walk

    eta = Eta(f"seed {plan.seed}: window", 0)
    begun: set[int] = set()

    def on_plan(windows: tuple[Window, ...]) -> None:
        eta.total = len(windows)

    def on_window(window: Window, done: bool) -> None:
        if not done:
            begun.add(window.number)
        elif window.number in begun:
            eta.step()
        else:
            eta.skip()

    walked = walk(plan, folder, on_plan=on_plan, on_window=on_window, say=progress, stop=stopped)
    result, curve = result_of(plan, walked, tried=tried)
    write_results(folder, plan, walked, result, curve)
    if asked.as_json:
        json_line(result)
    else:
        _told(result, folder)
    _studied(asked, plan, walked, folder)
    return walked, result


def _studied(asked: WalkAsked, plan: WalkPlan, walked: Walked, folder: Path) -> None:
    """What was asked for beside the walk, each in a file of its own."""
    import msgspec

    from tradebot.ops.files import write_atomic
    from tradebot.training.walk import studies

    if asked.sizing:
        sizing = studies.size(plan, walked)
        write_atomic(folder / "sizing.json", msgspec.json.encode(sizing))
        verdict = "beats the threshold rule" if sizing.beats else "does not beat the threshold rule, which stays"
        said = f"the sizing bandit {verdict}: {sizing.bandit_bp:+.0f} bp against {sizing.rule_bp:+.0f} bp"
        progress(f"{said} in {sizing.rows:,} rows, P(better) {sizing.p_better:.2f}")
    if asked.others:
        stack = studies.stack(plan, walked, folder, asked.others)
        write_atomic(folder / "stacking.json", msgspec.json.encode(stack))
        weights = ", ".join(f"{name} {weight:.2f}" for name, weight in stack.weights.items())
        progress(
            f"{stack.use} of {weights}: log-loss {stack.losses[stack.use]:.4f} against {stack.losses[stack.best]:.4f} "
            f"of {stack.best}, gain {stack.gain:+.4f} [{stack.low:+.4f}, {stack.high:+.4f}]"
        )


def _told(result: WalkResult, folder: Path) -> None:
    line(
        f"{result.symbol} {result.model} {result.interval}: {result.windows} windows put together, {result.trades} "
        f"trades after {result.round_trip_bp:g} bp a round trip: {folder}"
    )
    for name in ("roi", "sharpe", "sortino", "calmar", "max_drawdown", "win_rate", "expected_bp"):
        figure = result.figures[name]
        spread = "" if figure.low is None else f"  [{figure.low:+.3f}, {figure.high:+.3f}]"
        line(f"  {name:<14}{'—' if figure.value is None else f'{figure.value:+.3f}'}{spread}")
    deflated, held = result.deflated_sharpe, result.hold_sharpe
    line(
        f"  deflated Sharpe {'—' if deflated is None else f'{deflated:.2f}'} after {result.trials} trial(s); "
        f"Sharpe of holding {'—' if held is None else f'{held:+.2f}'}"
    )
    for text in result.insufficient:
        line(f"  too little to conclude from: {text}")


def _told_together(asked: WalkAsked, results: Sequence[WalkResult]) -> None:
    """One run proves nothing: mean and spread over the seeds."""
    from tradebot.training.walk.results import over_seeds

    found = over_seeds(results)
    if asked.as_json:
        json_line(found)
        return
    spread = "" if found.deviation is None else f" ± {found.deviation:.2f}"
    line(f"{len(results)} seeds: Sharpe {found.mean:+.2f}{spread} ({', '.join(f'{x:+.2f}' for x in found.sharpes)})")


def _deploy(asked: WalkAsked, plan: WalkPlan, walked: Walked) -> None:
    from tradebot.training.walk.deploy import deploy

    settings = settings_of(asked.config, {"model_store": str(asked.store) if asked.store else None}).settings
    result = deploy(plan, walked, Path(settings.model_store))
    if asked.as_json:
        json_line(result)
    else:
        line(f"{result.version}: {result.verdict}: {result.reason}")
    if result.exit_code:
        raise typer.Exit(result.exit_code)
