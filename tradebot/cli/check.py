"""``tradebot strategy check``: does a strategy look ahead, and does it depend on where it began?"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradebot.cli.bot import SeedOption, files_of
from tradebot.cli.configured import BotOption
from tradebot.cli.options import JsonOption, SymbolsOption
from tradebot.cli.output import json_line, line, paint, progress
from tradebot.cli.research import (
    DataOption,
    Eta,
    NoModelOption,
    ParamOption,
    Research,
    StrategiesOption,
    length_of,
)
from tradebot.cli.stopping import stoppable
from tradebot.cli.times import iso, short_span

if TYPE_CHECKING:
    from tradebot.backtest.check import Checked, Parting
    from tradebot.backtest.run import Run
    from tradebot.backtest.served import ServedBefore

INTERRUPTED = 130


def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which strategy.")],
    data: DataOption = None,
    symbols: SymbolsOption = None,
    param: ParamOption = None,
    strategies: StrategiesOption = None,
    config: BotOption = None,
    for_: Annotated[str, typer.Option("--for", metavar="4d", help="Exchange time of the whole run.")] = "4d",
    cuts: Annotated[int, typer.Option("--cuts", min=1, max=50, help="How often the future is cut off.")] = 3,
    starts: Annotated[int, typer.Option("--starts", min=1, max=50, help="How often it begins later.")] = 2,
    model_days: Annotated[
        int, typer.Option("--model-days", min=5, max=3_650, help="History before it that a model is fitted on.")
    ] = 60,
    no_model: NoModelOption = False,
    seed: SeedOption = 7,
    as_json: JsonOption = False,
) -> None:
    """Run a strategy whole, with its future cut off, and begun later: decisions before a cut must not change, and
    those of a later start must come to agree. Exit code 1 when they do not; what differs first is named.

    Models are fitted before the run, once, and serve in all of them. Without --data a market is generated.
    """
    from tradebot.backtest.check import check_strategy
    from tradebot.backtest.served import foresight
    from tradebot.backtest.walkforward import span_of
    from tradebot.cli.backtest import parameters_of
    from tradebot.cli.log import quiet

    quiet("check")
    length_ms = length_of("--for", for_)
    with tempfile.TemporaryDirectory(prefix="tradebot-check-") as folder, stoppable() as stopped:
        research = Research(
            Path(folder),
            data=files_of("--data", data),
            symbols=list(symbols or []),
            seed=seed,
            strategy=name,
            params=parameters_of(param or []),
            strategies=strategies,
            config=config,
            generated_ms=length_ms,
            train_days=model_days,
        )
        research.begin()
        _, end_ms = span_of(research.spec)
        from_ms = (end_ms - length_ms) // 300_000 * 300_000
        spec = research.window(from_ms, end_ms)
        fitted: ServedBefore | None = None
        if not no_model and research.asks_models():
            fitted = research.trained(from_ms, stopped)
            if fitted is None:
                raise typer.Exit(INTERRUPTED)
        eta = Eta("run", 1 + cuts + starts)

        def again(run: Run) -> ServedBefore | None:
            return None if fitted is None else fitted.again()

        found = check_strategy(
            spec, Path(folder) / "runs", again, None if fitted is None else fitted.again(),
            cuts=cuts, starts=starts, on_run=lambda done, total: eta.step(), on_progress=eta.running, stop=stopped,
            knows=lambda run: foresight(research.settings.model_store, run.models, spec.config.interval),
        )  # fmt: skip
    if found is None:
        progress("stopped")
        raise typer.Exit(INTERRUPTED)
    if as_json:
        json_line(found)
    else:
        _tell(found)
    raise typer.Exit(0 if found.sound else 1)


def _tell(found: Checked) -> None:
    line(
        f"{found.strategy}: {found.decisions:,} decisions, {found.acted:,} to act, "
        f"{iso(found.from_ms)} to {iso(found.to_ms)}"
    )
    for text in found.foresight:
        line(paint(f"foresight: {text}", "bad"))
    for cut in found.look_ahead:
        what = f"future cut off at {iso(cut.cut_ms)}: {cut.decisions:,} decisions before it"
        line(f"{what} {_parted(cut.parting) if cut.parting else paint('are the same', 'good')}")
    for later in found.recursion:
        what = f"begun {short_span(later.later_ms / 1000)} later: {later.decisions:,} decisions"
        if later.different == 0:
            line(f"{what} {paint('are the same', 'good')}")
        elif later.settled_ms is not None:
            line(
                f"{what}, {later.different:,} differ, the last one {short_span(later.settled_ms / 1000)} after that "
                f"start: {paint('it settles', 'good')}; {_parted(later.parting)}"
            )
        else:
            line(f"{what}, {later.different:,} differ, to the end: {paint('it does not settle', 'bad')}; "
                 f"{_parted(later.parting)}")  # fmt: skip
    line(paint("sound", "good") if found.sound else paint("NOT sound", "bad"))


def _parted(parting: Parting | None) -> str:
    if parting is None:
        return ""
    return (
        f"differ first at {iso(parting.at_ms)}, {parting.symbol}: {parting.field} {parting.whole} in the whole run, "
        f"{parting.cut} in the other"
    )
