"""What happened in a demo, in words a person can check."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tradebot.cli.entries import stopped_lines
from tradebot.cli.times import iso
from tradebot.events.models import model_version
from tradebot.market.candle import DAY_MS

MADE_UP = "nothing here says anything about real markets"
LUCK_DAYS = 30
"""What fewer days earn is luck, whatever traded."""


def render_summary(result: Mapping[str, Any], state: Path | None = None, *, made_up: bool = False) -> RenderableType:
    """The closing words of ``tradebot demo`` from its result object (the one ``--json`` prints). Amounts USDT.

    ``state``: the directory in which more can be looked up. ``made_up``: the market was generated, which is said.
    """
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="dim")
    rows.add_column()
    rows.add_row("market", Text(str(result.get("source", ""))))
    rows.add_row("symbols", ", ".join(result.get("symbols", [])))
    rows.add_row("traded", f"{_moment(result.get('from'))} to {_moment(result.get('to'))} UTC, exchange time")
    rows.add_row(
        "stream",
        f"{result.get('events', 0):,} events, {result.get('book_updates', 0):,} book updates, "
        f"{result.get('candles', 0):,} candles, {result.get('dropped_events', 0):,} dropped",
    )
    rows.add_row("forecasts", f"{result.get('forecasts', 0):,}, of which {result.get('late_forecasts', 0):,} late")
    rows.add_row("signals", f"{result.get('signals', 0):,}, of which risk blocked {result.get('blocked', 0):,}")
    rows.add_row("orders", f"{result.get('orders', 0):,}, fills {result.get('fills', 0):,}")
    rows.add_row(
        "models",
        f"retrained while trading {result.get('retrains', 0)}, promoted {result.get('promotions', 0)}, "
        f"swapped in {result.get('swaps', 0)}",
    )
    for verdict in result.get("gate", []):
        rows.add_row("  gate", Text(_gate(verdict)))
    for service in result.get("served", []):
        rows.add_row("  served", _service(service, many=len(result.get("symbols", [])) > 1))
    if "trades" in result:
        rows.add_row("earned", _earned(result))
        for position in result.get("positions", []):
            rows.add_row("  open", _position(position))
    if result.get("equity") is not None:
        rows.add_row("equity", f"{float(result['equity']):,.2f} after fees and funding")
    if "faults" in result:
        rows.add_row("faults", _faults(result["faults"]))
        for why in result["faults"]["idle"]:
            rows.add_row("", Text(f"warning: {why}", style="yellow"))
    for why in stopped_lines(result):
        rows.add_row("entries", Text(why, style="bold red"))
    if (replay := result.get("replay", {})) is not None:
        rows.add_row("replay", _replay(replay))
    rows.add_row("reconcile", _reconcile(result.get("reconcile", {})))
    rows.add_row("decisions", f"sha256 {result.get('decisions_sha256', '')}")
    if state is not None:
        rows.add_row("look further", f"tradebot signals tail --acted -n 0 --state {shlex.quote(str(state))}")
    closing = [Text(_made_up(result), style="yellow")] if made_up else []
    return Group(Text("what happened", style="bold"), rows, *closing)


def _made_up(result: Mapping[str, Any]) -> str:
    days = math.ceil((int(result["to"]) - int(result["from"])) / DAY_MS)
    return f"{MADE_UP}; {days} {'day is' if days == 1 else 'days are'} luck" if days < LUCK_DAYS else MADE_UP


def _earned(result: Mapping[str, Any]) -> Text:
    trades, net = result["trades"], float(result["net"])
    text = Text(f"{trades:,} {'trade' if trades == 1 else 'trades'}: ")
    text.append(", ".join(f"{name} {float(result[name]):+,.2f}" for name in ("gross", "fees", "funding")))
    text.append(f", net {net:+,.2f} USDT", style="green" if net > 0 else "red" if net < 0 else "")
    if result.get("net_bp_per_trade") is not None:
        text.append(f", {result['net_bp_per_trade']:+.1f} bp a trade by notional")
    return text


def _gate(row: Mapping[str, Any]) -> str:
    version = str(row.get("version", ""))
    model = str(row.get("model", ""))
    what = " ".join(part for part in (row.get("symbol", ""), model_version(model, version) or model) if part)
    until = f", data to {iso(row['data_to'])[:-3]}" if row.get("data_to") is not None else ""
    verdict = f"{'first model ' if row.get('first') else ''}{row.get('verdict', '')}"
    return f"{what}{until}: {verdict}: {str(row.get('reason', '')).removeprefix(f'{version}: ')}"


def _service(service: Mapping[str, Any], *, many: bool) -> str:
    version = model_version(service["model"], service["version"])
    what = f"{service['symbol']} {version}" if many else version
    how = ", provisionally" if service["provisional"] else ""
    count = f"{service['trades']:,} {'trade' if service['trades'] == 1 else 'trades'}"
    return f"{what} since {_moment(service['since'])} UTC{how}: {count}, net {float(service['net']):+,.2f} USDT"


def _position(position: Mapping[str, Any]) -> str:
    qty = float(position["qty"])
    return (
        f"{position['symbol']} {'long' if qty > 0 else 'short'} {abs(qty):g} @ {float(position['entry_price']):g}, "
        f"unrealised {float(position['unrealised']):+,.2f}"
    )


def _faults(faults: Mapping[str, Any]) -> str:
    counts = [(kind, scope, n) for kind, scopes in faults["injected"].items() for scope, n in scopes.items() if n]
    return ", ".join(f"{kind} of {scope} {n:,}" for kind, scope, n in counts) or "none hit"


def _moment(value: Any) -> str:
    return iso(int(value)) if isinstance(value, int | float) else str(value or "?")


def _replay(replay: Mapping[str, Any]) -> Text:
    decisions, mismatches = replay.get("decisions", 0), replay.get("mismatches", 0)
    if mismatches:
        return Text(f"{mismatches:,} of {decisions:,} decisions came out DIFFERENTLY when recomputed", style="bold red")
    return Text(f"{decisions:,} decisions recomputed from the journal, all equal", style="green" if decisions else "")


def _reconcile(reconcile: Mapping[str, Any]) -> Text:
    if not reconcile:
        return Text("not done", style="yellow")
    differs = [name.removesuffix("_equal") for name, equal in reconcile.items() if not equal]
    if differs:
        return Text(f"ledger and exchange DISAGREE on: {', '.join(differs)}", style="bold red")
    return Text("positions, balance and orders agree with the exchange's", style="green")
