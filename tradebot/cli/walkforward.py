"""``tradebot walkforward``: fit on the past, trade the week after it, move on by a week."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradebot.cli import training_options
from tradebot.cli.bot import SeedOption, files_of
from tradebot.cli.configured import BotOption
from tradebot.cli.options import JsonOption, StoreOption, SymbolsOption
from tradebot.cli.output import json_line, line, progress
from tradebot.cli.research import (
    DataOption,
    Eta,
    NoModelOption,
    ParamOption,
    Research,
    StrategiesOption,
    StrategyOption,
)
from tradebot.cli.stopping import stoppable
from tradebot.cli.walk import MetricName, RuleName, WalkAsked, days_or_length, walk_forecaster
from tradebot.errors import UsageError

if TYPE_CHECKING:
    from tradebot.backtest.walkforward import Fitted
    from tradebot.evaluation.walkforward import Window

DAY_MS = 86_400_000
ROUNDS = 200
"""Most boosting rounds of a window's fit, where none are asked for."""


def walkforward(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where it is kept; an unfinished one goes on.")],
    data: DataOption = None,
    symbols: SymbolsOption = None,
    strategy: StrategyOption = None,
    param: ParamOption = None,
    strategies: StrategiesOption = None,
    config: BotOption = None,
    train: Annotated[str, typer.Option("--train", metavar="30d", help="History a model is fitted on.")] = "30d",
    test: Annotated[str, typer.Option("--test", metavar="7d", help="Time it trades; the next one follows.")] = "7d",
    for_: Annotated[
        str | None,
        typer.Option(
            "--for", "--days", metavar="90d", help="How much of the end of the data (default: all; a model: 180d)."
        ),
    ] = None,
    no_model: NoModelOption = False,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME", help="Walk a forecaster by itself; NAME-INTERVAL, like lightgbm-5m."),
    ] = None,
    interval: Annotated[
        str, typer.Option("--interval", metavar="1h", help="Candles of the forecaster (default: its own).")
    ] = "",
    metric: Annotated[
        MetricName, typer.Option("--metric", help="By what validation rows choose parameters and level.")
    ] = MetricName.sharpe_ratio,
    rule: Annotated[
        RuleName | None, typer.Option("--rule", help="How forecasts are traded (default: what the model was made for).")
    ] = None,
    test_size: training_options.TestSizeOption = None,
    epochs: training_options.EpochsOption = None,
    lr: training_options.RateOption = None,
    batch_size: training_options.BatchOption = None,
    threads: training_options.ThreadsOption = None,
    device: training_options.DeviceOption = None,
    set_: training_options.SetOption = None,
    expanding: Annotated[
        bool, typer.Option("--expanding", help="Fit each window of a --model on everything before it, not on --train.")
    ] = False,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, max=100, help="Walks, one with each seed from --seed on.")
    ] = 1,
    with_: Annotated[
        list[Path] | None,
        typer.Option("--with", metavar="DIR", help="Stack the model's walk with the one in DIR; repeat it."),
    ] = None,
    sizing: Annotated[bool, typer.Option("--sizing", help="Try the sizing bandit on the walk's forecasts.")] = False,
    adversarial: Annotated[
        bool, typer.Option("--adversarial", help="Weigh training rows by how much they look like the newest.")
    ] = False,
    deploy: Annotated[bool, typer.Option("--deploy", help="Put the newest window's fit before the gate.")] = False,
    store: StoreOption = None,
    trials: training_options.TrialsOption = None,
    rounds: training_options.RoundsOption = None,
    seed: SeedOption = 7,
    as_json: JsonOption = False,
) -> None:
    """Fit on the past, trade the time after it, move on; figures come from the traded times put together, only.

    At the start of every window each symbol's model is trained on the days before it, tuned on their last part, and
    passes the gate or leaves the champion of the window before: what the running bot does. --no-model walks a strategy
    that needs none. A walk that was stopped goes on with the same command. Without --data a market is generated.

    --model walks one forecaster without the engine: fitted, chosen by --metric on the last 15 % of the training span,
    traded after costs from open to open. It writes best_model_window_N, the final model, window_metrics.csv,
    out_of_sample.parquet, figures and walk.json. Its candles come from --data, or from the exchange.

    A search tries 4 parameter sets (--model: 1) of at most 200 rounds unless --trials and --rounds say otherwise.
    --test-size is the share that the gate judges a training on; with --model there is no gate but --test.
    """
    if model is not None:
        training_options.say_unused("a walk of a model is judged on --test alone", test_size=test_size)
        walk_forecaster(
            WalkAsked(
                model=model, symbols=symbols or [], data=data or [], out=out, days=for_ or "180d", train=train,
                test=test, metric=metric, rule=rule, interval=interval, trials=trials or 1, rounds=rounds or ROUNDS,
                epochs=epochs, lr=lr, batch_size=batch_size, threads=threads, device=device, seed=seed,
                seeds=seeds, options=set_ or [], deploy=deploy, others=with_ or [], sizing=sizing,
                adversarial=adversarial, expanding=expanding, store=store, config=config, as_json=as_json,
            )
        )  # fmt: skip
        return
    if expanding:
        raise UsageError("--expanding is of --model: the bot's own trainings are of --train days")
    from tradebot.backtest.report import REPORT_HTML, REPORT_JSON, write_report
    from tradebot.backtest.walkforward import Fitted, span_of, walk_forward
    from tradebot.cli.backtest import parameters_of
    from tradebot.cli.headline import render_headline
    from tradebot.cli.log import quiet
    from tradebot.cli.view import page
    from tradebot.evaluation.walkforward import windows

    quiet("walkforward")
    if no_model:
        training_options.say_unused(
            "--no-model trains nothing", test_size=test_size, epochs=epochs, lr=lr, batch_size=batch_size,
            trials=trials, rounds=rounds, device=device, set=set_,
        )  # fmt: skip
    trials, rounds = trials or 4, rounds or ROUNDS
    train_ms, test_ms = days_or_length("--train", train), days_or_length("--test", test)
    if train_ms % DAY_MS:
        raise UsageError(f"--train {train}: whole days, please")
    total_ms = None if for_ is None else days_or_length("--days", for_)
    research = Research(
        out,
        data=files_of("--data", data),
        symbols=list(symbols or []),
        seed=seed,
        strategy=strategy,
        params=parameters_of(param or []),
        strategies=strategies,
        config=config,
        generated_ms=total_ms or train_ms + 4 * test_ms,
        train_days=train_ms // DAY_MS,
        trials=trials,
        rounds=rounds,
        training={} if no_model else training_options.settings_overrides(
            test_size=test_size, epochs=epochs, lr=lr, batch_size=batch_size, threads=threads, device=device
        ),
        options=None if no_model else set_,
    )  # fmt: skip
    research.check_parameters()

    def planned() -> tuple[Window, ...]:
        from_ms, to_ms = span_of(research.spec)
        if total_ms is not None:
            from_ms = max(from_ms, (to_ms - total_ms) // DAY_MS * DAY_MS)
        return windows(from_ms, to_ms, train_ms=train_ms, test_ms=test_ms, gap_ms=research.label_ms())

    if research.spec.data:
        planned()  # too few data are told before the directory is taken, so that the command put right may have it
    research.claim("walkforward", (train_ms, test_ms, total_ms, no_model, trials, rounds))
    research.begin()
    plan = planned()
    with_models = not no_model and research.asks_models()
    eta = Eta("window", len(plan))
    with stoppable() as stopped:

        def fit(window: Window) -> Fitted | None:
            if not with_models:
                return Fitted(research.spec)
            training = research.trained(window.test_from_ms, stopped)
            return None if training is None else Fitted(research.spec, training)

        begun: set[int] = set()

        def on_window(window: Window, done: bool) -> None:
            if not done:
                begun.add(window.number)
            elif window.number in begun:
                eta.step()
            else:
                eta.skip()

        run = walk_forward(
            research.spec, plan, fit, out / "run", asked=research.asked,
            on_window=on_window, on_progress=eta.running, stop=stopped,
        )  # fmt: skip
    if run is None:
        progress(f"stopped; the same command goes on after window {eta.done} of {eta.total}")
        raise typer.Exit(130)
    report = write_report(out / "run")
    if as_json:
        json_line(run.result)
    else:
        line(f"{len(plan)} windows put together: {out / 'run'} ({REPORT_HTML}, {REPORT_JSON})")
    import sys

    page(sys.stderr, render_headline(report, out / "run" / REPORT_HTML))
