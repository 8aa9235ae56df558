"""``tradebot backtest``: the same engine on recorded or generated markets, without an exchange to wait for."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradebot.cli import training_options
from tradebot.cli.bot import SeedOption, SteadyOption, files_of, for_ms_of
from tradebot.cli.configured import BotOption, configured
from tradebot.cli.entry import INTERRUPTED
from tradebot.cli.log import quiet
from tradebot.cli.options import SymbolsOption
from tradebot.cli.output import progress
from tradebot.cli.research import StrategiesOption
from tradebot.cli.stopping import stoppable
from tradebot.errors import DataError, UsageError

if TYPE_CHECKING:
    from tradebot.backtest.single import Outcome, Progress
    from tradebot.daemon.snapshot import Snapshot
    from tradebot.settings import Settings

TELL_EVERY_S = 2.0
URL, WS_URL = "http://127.0.0.1", "ws://127.0.0.1"
"""Where nobody is asked: the exchange is in this process."""


def backtest(
    data: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="PATH…", help="Recorded candles or books (parquet): files, folders."),
    ] = None,
    symbols: SymbolsOption = None,
    for_: Annotated[
        str | None,
        typer.Option("--for", "--days", metavar="14d", help="Exchange time to trade, e.g. 6h or 14d; 14 is days."),
    ] = None,
    seed: SeedOption = 7,
    steady: SteadyOption = False,
    strategy: Annotated[str | None, typer.Option("--strategy", metavar="NAME", help="Which strategy decides.")] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", metavar="NAME=VALUE…", help="Parameters of the strategy.")
    ] = None,
    config: BotOption = None,
    strategies: StrategiesOption = None,
    model_store: Annotated[
        Path | None,
        typer.Option("--model-store", metavar="DIR", help="Its champions forecast, as they are; nothing is trained."),
    ] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            "--reference",
            metavar="PATH…",
            help="Candles of BTCUSDT or ETHUSDT, heard as features and not traded; with --model-store those that lie "
            "beside --data.",
        ),
    ] = None,
    no_model: Annotated[bool, typer.Option("--no-model", help="No model: for strategies that need none.")] = False,
    every_row: Annotated[
        bool, typer.Option("--every-row", help="Show the engine every row of the market, however little it matters.")
    ] = False,
    test_size: training_options.TestSizeOption = None,
    epochs: training_options.EpochsOption = None,
    lr: training_options.RateOption = None,
    batch_size: training_options.BatchOption = None,
    trials: training_options.TrialsOption = None,
    rounds: training_options.RoundsOption = None,
    threads: training_options.ThreadsOption = None,
    device: training_options.DeviceOption = None,
    set_: training_options.SetOption = None,
    stress: Annotated[
        bool, typer.Option("--stress", help="Run again under costs up to twice as high and up to two candles late.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write the whole run into this folder.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")] = False,
) -> None:
    """The same engine, strategy, models, risk and matching as the demo, in one process and as fast as it goes.

    Decides exactly as `tradebot demo --replay` on the same files and seed: first models and a retrain half-way
    through included, unless --model-store or --no-model says otherwise. With --config it trades as that bot would:
    its trading, risk and strategy sections hold; without, config.yaml and TRADEBOT_* are not read.

    Without --data the market is the demo's: made up, and broken on purpose after the first models were trained; its two
    busy regimes changed places 100 days before the start. --steady leaves that out.

    --test-size to --set shape these trainings (by default 4 trials of at most 200 rounds), as in train.
    """
    for_ms = for_ms_of(f"{for_}d" if for_ is not None and for_.strip().isdigit() else for_)
    files = files_of("--data", data)
    if steady and files:
        raise UsageError("--steady is for generated markets: leave out --data")
    if model_store is not None and no_model:
        raise UsageError("choose one of --model-store and --no-model")
    if model_store is not None and not model_store.is_dir():
        raise DataError(f"--model-store {model_store}: no such directory; check the path")
    training = training_options.settings_overrides(
        test_size=test_size, epochs=epochs, lr=lr, batch_size=batch_size, trials=trials, rounds=rounds, threads=threads,
        device=device,
    )  # fmt: skip
    if model_store is not None or no_model:
        training_options.say_unused(
            "nothing is trained with --model-store or --no-model", test_size=test_size, epochs=epochs, lr=lr,
            batch_size=batch_size, trials=trials, rounds=rounds, device=device, set=set_,
        )  # fmt: skip
        training, set_ = {}, None
    from tradebot.backtest.reference import beside
    from tradebot.backtest.single import Spec, run_backtest
    from tradebot.cli.headline import judged, under_stress, warned
    from tradebot.cli.summary import render_summary
    from tradebot.cli.trained import DemoTraining
    from tradebot.cli.view import page
    from tradebot.daemon.demo.asked import Demo
    from tradebot.daemon.demo.run import REPLAY_PARAMS, demo_settings
    from tradebot.events import REFERENCES
    from tradebot.settings import engine_config, strategies_folder

    bot = configured(config, strategy, parameters_of(param or []), REPLAY_PARAMS if files else None)
    name = bot.name
    teller = _Teller()
    quiet("backtest")
    with tempfile.TemporaryDirectory(prefix="tradebot-backtest-") as folder, stoppable() as stopped:
        demo = Demo(
            for_ms=for_ms,
            seconds=None,
            speed="max",
            replay=files,
            symbols=list(symbols or []),
            seed=seed,
            state_dir=Path(folder),
            strategies_dir=(
                strategies.absolute()
                if strategies
                else bot.folder or strategies_folder(Path("strategies").absolute(), name)
            ),
            faults=None,
            view=teller.training,
            steady=steady,
            trains=model_store is None and not no_model,
            ranked=bot.sections["strategy"].params.get("entry_rank") == REPLAY_PARAMS["entry_rank"],
        )

        def settings_of(names: Sequence[str], length_ms: int) -> Settings:
            plain = bot.onto(demo_settings(demo, names, length_ms, URL, WS_URL))
            return training_options.trained_so(plain, training, set_)

        settings = settings_of(("SOLUSDT",), demo.length_ms)
        references = files_of("--reference", reference) or (
            list(beside(tuple(files), REFERENCES)) if model_store is not None else []
        )
        if references:
            progress(f"backtest: features of others' candles from {', '.join(references)}")
        spec = Spec(
            config=engine_config(settings),
            settings_hash=settings.settings_hash(),
            strategies_dir=demo.strategies_dir,
            name=name,
            data=tuple(files),
            symbols=tuple(demo.symbols),
            seed=seed,
            for_ms=demo.length_ms,
            history_days=demo.history_days,
            break_days=demo.break_days,
            model_store=model_store,
            references=tuple(references),
            every_row=every_row,
            source=demo.source,
        )
        trained = None if model_store is not None or no_model else DemoTraining(demo, settings_of, stopped)
        run = out if out is not None else Path(folder) / "run"
        outcome = run_backtest(spec, out=run, on_progress=teller.running, stop=stopped, training=trained)
        if outcome is not None and model_store is not None:
            warned(run, outcome.run, model_store)
        if outcome is not None and stress and not outcome.run.interrupted:
            under_stress(run, spec, outcome.run, model_store or settings.model_store, teller.running, stopped)
        figures = None if outcome is None else judged(run, kept=out is not None)
    if outcome is None or figures is None:
        progress("backtest: stopped before it began")
        raise typer.Exit(INTERRUPTED)
    if as_json:
        sys.stdout.write(json.dumps(outcome.result) + "\n")
        sys.stdout.flush()
    else:
        page(sys.stdout, render_summary(outcome.result, made_up=not files))
    page(sys.stderr, figures)
    teller.done(outcome)
    if outcome.run.interrupted:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(0 if all(outcome.result["reconcile"].values()) else 1)


class _Teller:
    """Progress on stderr: where the first training is, how far the run is and how long it will take."""

    def __init__(self) -> None:
        self._told_s = time.monotonic()

    def training(self, shot: Snapshot) -> None:
        """While models are trained."""
        if not self._due():
            return
        for job in shot.get("jobs", []):
            if "stage" in job:
                eta_s = job.get("eta_s")
                left = "" if eta_s is None else f", about {eta_s:.0f} s left"
                progress(f"backtest: {job['symbol']}: {job['stage']} {job.get('message', '')}{left}")

    def running(self, how: Progress) -> None:
        """While the run goes on."""
        if not self._due():
            return
        left = "" if how.eta_s is None else f", about {how.eta_s:.0f} s left"
        days = (how.now_ms - how.from_ms) / 86_400_000
        progress(f"backtest: {how.share:.0%}, {days:.1f} of {(how.to_ms - how.from_ms) / 86_400_000:.1f} days{left}")

    def done(self, outcome: Outcome) -> None:
        """At the end: what it took."""
        seconds = max(outcome.wall_s, 1e-9)
        candles = outcome.result["candles"]
        word = "stopped" if outcome.run.interrupted else "done"
        rate = f"traded in {seconds:.1f} s, {candles / seconds:,.0f} candles a second"
        progress(f"backtest: {word}; {rate} (first training, figures and stress not counted)")

    def _due(self) -> bool:
        now_s = time.monotonic()
        if now_s - self._told_s < TELL_EVERY_S:
            return False
        self._told_s = now_s
        return True


def parameters_of(texts: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` as parameters of a strategy: values are JSON where they can be read so, else text.

    >>> parameters_of(["entry_rank=0.98", "side=long", "exits=[]"])
    {'entry_rank': 0.98, 'side': 'long', 'exits': []}
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, given, value = text.partition("=")
        if not given or not name:
            raise UsageError(f"--param {text}: expected NAME=VALUE, for instance entry_rank=0.98")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found
