"""``tradebot record``: keep the market, trade nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from tradebot.cli.bot import for_ms_of
from tradebot.cli.log import quiet
from tradebot.cli.options import ConfigOption, JsonOption, StateOption, SymbolsOption
from tradebot.cli.output import json_line, line, progress

if TYPE_CHECKING:
    from tradebot.daemon.record import Shown


def record(
    symbols: SymbolsOption = None,
    venues: Annotated[
        list[str] | None,
        typer.Option("--venue", metavar="NAME…", help="Also the books of binance-spot, binance-perp or bybit-spot."),
    ] = None,
    for_: Annotated[
        str | None, typer.Option("--for", metavar="2h", help="End after this time (default: at Ctrl-C).")
    ] = None,
    state: StateOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record the market alone: no trading, no key. What was recorded is in the data store when it ends.

    Books (10 levels each second), trades, candles, mark price and funding; gaps are recorded as gaps. Replay it with
    'tradebot demo --replay SOLUSDT=FILE …' (the files are named at the end).
    """
    for_ms = for_ms_of(for_)
    overrides = {
        "mode": "paper",
        "symbols": symbols or None,
        "venues.books": venues or None,
        "state_dir": str(state) if state is not None else None,
    }
    given = {key: value for key, value in overrides.items() if value is not None}
    from tradebot.settings import load_settings

    # symbols named here are recorded, whatever the bot of that configuration chooses to trade
    settings = load_settings(config, given | ({"universe.top": None} if symbols else {})).settings
    from tradebot.daemon.record import run_record

    quiet("record")
    where = settings.recorder_dir
    progress(f"recording {', '.join(settings.symbols)}; what is rolled goes to {settings.data.root}")
    kept = run_record(settings, for_ms=for_ms, show=_show)
    from tradebot.daemon.recording import sole_user
    from tradebot.data.recorder.roll import roll
    from tradebot.data.store import Store

    progress(f"rolling {where}")
    lock = sole_user(where)
    try:
        done = roll(where, Store(settings.data.root))
    finally:
        os.close(lock)
    for problem in done.problems:
        progress(problem)
    summary = {
        "records": kept.records,
        "lost": kept.lost,
        "days": sorted(done.days),
        "files": done.files,
        "problems": done.problems,
    }
    if as_json:
        json_line(summary)
    else:
        line(f"{kept.records} records, {kept.lost} lost")
        for file in done.files:
            line(file)
    if done.problems or kept.lost:
        raise typer.Exit(65)


def _show(shown: Shown) -> None:
    left = "" if shown.left_ms is None else f", {shown.left_ms / 1000:.0f} s left"
    trouble = f"; {shown.failure}" if shown.failure else ""
    progress(f"{shown.records} records, {shown.lost} lost{left}{trouble}")
