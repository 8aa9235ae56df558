"""The commands that trade: the demo and the daemon."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from tradebot.cli.configured import check_strategy
from tradebot.cli.log import quiet
from tradebot.cli.options import MAX_SEED, ConfigOption, StateOption, SymbolsOption, settings_of
from tradebot.cli.output import progress
from tradebot.errors import ConfigError, DataError, UsageError

SpeedOption = Annotated[
    str, typer.Option("--speed", metavar="X|max", help="Exchange seconds per wall second, or as fast as it goes.")
]
FaultsOption = Annotated[
    Path | None,
    typer.Option("--faults", metavar="FILE", help="What goes wrong at the embedded exchange, and when (YAML)."),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, max=MAX_SEED, help="Seed of everything generated.")]
SteadyOption = Annotated[
    bool, typer.Option("--steady", help="The generated market's signal does not change: nothing new to learn.")
]
MAX_FOR_DAYS = 3_650


def speed_of(text: str) -> str:
    """``max`` or a positive factor, unchanged. Raises UsageError."""
    try:
        valid = text == "max" or 0 < float(text) < float("inf")
    except ValueError:
        valid = False
    if not valid:
        raise UsageError(f"--speed {text}: expected a positive factor like 300, or max")
    return text


def for_ms_of(text: str | None) -> int | None:
    """A positive length of time in ms. Raises UsageError."""
    from tradebot.duration import Duration

    if text is None:
        return None
    try:
        length = Duration.parse(text).ms
    except ValueError as error:
        raise UsageError(f"--for: {error}") from None
    except OverflowError:
        length = sys.maxsize
    if length <= 0:
        raise UsageError("--for: must be longer than nothing")
    if length > MAX_FOR_DAYS * 86_400_000:
        raise UsageError(f"--for: must be at most {MAX_FOR_DAYS}d")
    return length


def files_of(option: str, paths: list[str] | None) -> list[str]:
    """The arguments, ``PATH`` or ``SYMBOL=PATH``, whose files or folders all exist.

    Raises DataError naming those that do not.
    """
    missing = [
        text
        for text in paths or []
        if not Path(text).exists() and not ((named := text.partition("=")[2]) and Path(named).exists())
    ]
    if missing:
        raise DataError("\n".join(f"{option} {text}: no such file; check the path" for text in missing))
    return list(paths or [])


def demo(
    for_: Annotated[
        str | None, typer.Option("--for", metavar="14d", help="Exchange time to trade, e.g. 6h or 14d.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", metavar="N", min=1, help="Wall-clock cap, training included.")
    ] = None,
    speed: SpeedOption = "max",
    replay: Annotated[
        list[str] | None,
        typer.Option("--replay", metavar="PATH…", help="Recorded candles or books (parquet): files, folders."),
    ] = None,
    symbols: SymbolsOption = None,
    seed: SeedOption = 7,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line of stdout.")] = False,
    state: Annotated[
        Path | None, typer.Option("--state", metavar="DIR", help="Where the demo keeps its state.")
    ] = None,
    faults: FaultsOption = None,
    steady: SteadyOption = False,
) -> None:
    """The whole bot, offline: embedded exchange, forecasts, orders, fills, a retrain, a swap where the gate allows.

    It shows that the parts work together, not that money can be made: without --replay the market is made up, with a
    planted signal for the forecaster to find, and broken on purpose after the first model was trained: its two busy
    regimes changed places. So that a run can be repeated anywhere, it uses built-in settings: config.yaml and
    TRADEBOT_* are not read.
    """
    for_ms = for_ms_of(for_)
    checked = speed_of(speed)
    files = files_of("--replay", replay)
    if steady and files:
        raise UsageError("--steady is for generated markets: leave out --replay")
    if faults is not None:
        from tradebot.sim.faults import load_schedule

        load_schedule(faults)  # a mistake in it is told before anything starts
    from tradebot.cli.summary import render_summary
    from tradebot.cli.view import Display, page
    from tradebot.daemon.demo import STATE, run_demo

    folder = state or STATE

    def finish(result: dict[str, Any]) -> None:
        display.close()
        if not as_json:
            page(sys.stdout, render_summary(result, folder, made_up=not files))

    progress("demo: built-in settings; config.yaml is not read")

    with Display() as display:
        quiet("demo")
        code = run_demo(
            for_ms=for_ms,
            seconds=seconds,
            speed=checked,
            replay=files,
            symbols=list(symbols or []),
            seed=seed,
            json_output=as_json,
            state_dir=folder,
            faults=faults,
            steady=steady,
            view=display.show,
            finish=finish,
        )
    raise typer.Exit(code)


def run_command(
    paper: Annotated[bool, typer.Option("--paper", help="Real market, simulated fills (default).")] = False,
    exchange_demo: Annotated[
        bool, typer.Option("--exchange-demo", help="Bitget's demo account; needs a demo key.")
    ] = False,
    live: Annotated[bool, typer.Option("--live", help="Real orders with real money.")] = False,
    symbols: SymbolsOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """The daemon. Without a flag: the mode of the configuration (paper by default).

    What 'config check' finds of the strategy, of models and their options is found before anything is connected.
    """
    if paper + exchange_demo + live > 1:
        raise UsageError("choose one of --paper, --exchange-demo and --live")
    # --live is no override: live must stand in the configuration
    mode = "paper" if paper else "exchange-demo" if exchange_demo else None
    loaded = settings_of(
        config, {"mode": mode, "symbols": symbols or None, "state_dir": str(state) if state is not None else None}
    )
    settings = loaded.settings
    if settings.mode == "demo":
        raise ConfigError("mode demo brings its own exchange: use 'tradebot demo'")
    from tradebot.settings import load_credentials

    credentials = load_credentials() if settings.mode in ("exchange-demo", "live") or live else None
    if live or settings.mode == "live":
        from tradebot.cli.live import guard_live

        guard_live(loaded, live, credentials)
    if settings.mode == "exchange-demo" and credentials is None:
        raise ConfigError(
            "mode exchange-demo needs a demo key: credentials bitget_key, bitget_secret and bitget_passphrase "
            "(systemd), or TRADEBOT_EXCHANGE__KEY, __SECRET and __PASSPHRASE"
        )
    from tradebot.cli.checked import models_checked

    with models_checked(settings):
        from tradebot.daemon.run import run_daemon

        check_strategy(settings)
    raise typer.Exit(run_daemon(settings, credentials))
