"""``tradebot optimise``: parameters of a strategy, searched on one span and looked at once on another."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from tradebot.cli.bot import SeedOption, files_of
from tradebot.cli.configured import BotOption
from tradebot.cli.options import JsonOption, SymbolsOption
from tradebot.cli.output import json_line, line, progress
from tradebot.cli.research import (
    DataOption,
    Eta,
    NoModelOption,
    ParamOption,
    Research,
    StrategiesOption,
    StrategyOption,
    length_of,
)
from tradebot.cli.stopping import stoppable

DAY_MS = 86_400_000
INTERRUPTED = 130
LEAST_TRAIN_MS = 3 * DAY_MS
"""From fewer days there is no Sharpe ratio of daily returns worth the name."""


def optimise(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the search is kept; it is taken up there.")],
    search: Annotated[
        list[str],
        typer.Option("--search", metavar="NAME=LOW:HIGH…", help="What is searched; also NAME=LOW:HIGH:log, NAME=A,B."),
    ],
    data: DataOption = None,
    symbols: SymbolsOption = None,
    strategy: StrategyOption = None,
    param: ParamOption = None,
    strategies: StrategiesOption = None,
    config: BotOption = None,
    trials: Annotated[int, typer.Option("--trials", min=1, max=100_000, help="Trials in all.")] = 50,
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=256, help="Trials at a time, a process each.")] = 1,
    for_: Annotated[
        str, typer.Option("--for", metavar="60d", help="How much of the end of the data: train and test span.")
    ] = "60d",
    test: Annotated[str, typer.Option("--test", metavar="14d", help="How much of that is the test span.")] = "14d",
    model_days: Annotated[
        int, typer.Option("--model-days", min=5, max=3_650, help="History before it that a model is fitted on.")
    ] = 90,
    no_model: NoModelOption = False,
    unlock: Annotated[
        bool, typer.Option("--unlock", help="Look at the test span with the best parameters: once, on record.")
    ] = False,
    seed: SeedOption = 7,
    as_json: JsonOption = False,
) -> None:
    """Search for parameters by back-tests on the train span (highest daily Sharpe with at least 30 trades).

    The test span after it stays locked until --unlock; it is looked at once, and that is on record. Every trial counts
    into the deflated Sharpe ratio and the probability of overfitting. The same command goes on with more trials.
    A strategy that acts on forecasts gets models fitted on what lies before the train span.
    """
    from tradebot.backtest.report import REPORT_HTML, write_report
    from tradebot.backtest.search import TEST, TRAIN_BEST, Asked, Search, space_of
    from tradebot.backtest.walkforward import span_of
    from tradebot.cli.backtest import parameters_of
    from tradebot.cli.headline import render_headline
    from tradebot.cli.log import quiet
    from tradebot.cli.view import page
    from tradebot.errors import UsageError
    from tradebot.evaluation.walkforward import BAR_MS

    quiet("optimise")
    space = space_of(search)
    total_ms, test_ms = length_of("--for", for_), length_of("--test", test)
    if test_ms >= total_ms:
        raise UsageError(f"--test {test}: must be shorter than --for {for_}")
    if total_ms - test_ms < LEAST_TRAIN_MS:
        raise UsageError(f"--for {for_} --test {test}: leaves less than {LEAST_TRAIN_MS // DAY_MS} days to choose on")
    research = Research(
        out,
        data=files_of("--data", data),
        symbols=list(symbols or []),
        seed=seed,
        strategy=strategy,
        params=parameters_of(param or []),
        strategies=strategies,
        config=config,
        generated_ms=total_ms,
        train_days=model_days,
    )
    research.claim("optimise", (total_ms, test_ms, model_days, no_model, sorted(search)))
    research.begin()
    _, end_ms = span_of(research.spec)
    test_from_ms = (end_ms - test_ms) // BAR_MS * BAR_MS
    asked = Asked(
        asked=research.asked,
        train_from_ms=(end_ms - total_ms) // BAR_MS * BAR_MS,
        train_to_ms=test_from_ms,
        test_to_ms=end_ms // BAR_MS * BAR_MS,
    )
    with stoppable() as stopped:
        with_models = not no_model and research.asks_models()
        fitted = research.trained(asked.train_from_ms, stopped) if with_models else None
        if with_models and fitted is None:
            raise typer.Exit(INTERRUPTED)

        spec = research.spec if fitted is None else replace(research.spec, model_store=research.settings.model_store)
        study = Search(spec, space, out / "search", asked, seed=seed)
        eta = Eta("trial", trials)
        for _ in study.finished[:trials]:
            eta.skip()

        def on_trial(number: int, value: float | None, best: float | None) -> None:
            eta.step(f"Sharpe {_shown(value)}, best {_shown(best)}")

        if not study.run(trials, jobs=jobs, on_trial=on_trial, on_progress=eta.running, stop=stopped):
            progress(f"stopped; the same command goes on after trial {len(study.finished)}")
            raise typer.Exit(INTERRUPTED)
        found = study.found()
        name = TEST if unlock else TRAIN_BEST
        outcome = study.unlock() if unlock else study.best_on_train()
        if outcome is None:
            raise typer.Exit(INTERRUPTED)
        report = write_report(out / "search" / name)
    if as_json:
        json_line(
            {
                "params": found.params,
                "train_sharpe": found.sharpe,
                "trials": found.trials.count,
                "failed": found.failed,
                "overfitting": found.trials.overfitting,
                "locked": study.asked.opened is None,
                "span": name,
                "result": outcome.result,
            }
        )
    else:
        best = "best" if found.sharpe is not None else "none had enough trades to be the best; one"
        line(f"{best} of {found.trials.count} trials: {' '.join(f'{k}={v}' for k, v in found.params.items())}")
        where = (
            "the test span, looked at once" if unlock else "the train span it was chosen on; the test span is locked"
        )
        line(f"figures: of {where}")
    page(sys.stderr, render_headline(report, out / "search" / name / REPORT_HTML))


def _shown(value: float | None) -> str:
    return "n/a (too few trades)" if value is None else f"{value:.2f}"
