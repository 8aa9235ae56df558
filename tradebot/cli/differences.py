"""What the exchange told otherwise than the bot had it."""

from __future__ import annotations

from typing import Annotated

import typer

from tradebot.cli.options import ConfigOption, JsonOption, StateOption, nothing_yet, state_of
from tradebot.cli.output import json_line, progress, table
from tradebot.cli.signals import MOST_LINES, ledger_of
from tradebot.cli.times import iso
from tradebot.errors import DataError


def differences(
    count: Annotated[int, typer.Option("-n", "--lines", min=1, max=MOST_LINES, help="How many of the newest.")] = 20,
    symbol: Annotated[str | None, typer.Option("--symbol", metavar="SYMBOL")] = None,
    as_json: JsonOption = False,
    state: StateOption = None,
    config: ConfigOption = None,
) -> None:
    """What the exchange told otherwise than the bot had it, and what was done about each. Oldest first.

    Orders, executions, stops, positions, balance, leverage, margin mode, position mode and contract terms are compared
    at the start, after every reconnect and every minute.
    """
    folder = state_of(state, config)
    with ledger_of(folder, config) as ledger:
        if ledger is None:
            raise nothing_yet("there is no ledger yet", folder, "ledger.sqlite", "'tradebot run' writes it")
        from tradebot.ledger import last_differences, symbols_known

        found = last_differences(ledger, limit=count, symbol=symbol)[::-1]
        known = symbols_known(ledger)
    if symbol is not None and symbol not in known:
        there = ", ".join(known) or "none"
        raise DataError(f"nothing stored matches --symbol {symbol}; symbols there are: {there}")
    if as_json:
        for row in found:
            json_line(row)
    elif found:
        table(
            ("time", "kind", "symbol", "ours", "theirs", "done"),
            [(iso(row.ts_ms), row.kind, row.symbol, row.ours, row.theirs, row.done) for row in found],
        )
    else:
        progress("no difference was found")
