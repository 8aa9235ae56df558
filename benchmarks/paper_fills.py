"""How far the paper broker's fills are from the embedded exchange's, on the same tape and the same commands.

Where both see every book and take the same time to act the fills are equal (the tests say so to the last digit). A real
client sees less: one row for each way of seeing less, or of being slower, against the exchange as it is.

    python -m benchmarks.paper_fills [--market SYMBOL=PATH…] [--minutes 60] [--orders 2000] [--json FILE]

Without ``--market`` the tape is generated (two symbols, a book every 200 ms). Of orders that both sides filled: how far
the average price is (bp, positive: the paper broker was worse off), how much less of it was filled (% of its size), how
much later (ms), what more it paid (bp of notional); mean, and the 99th percentile of the distance from zero. Of *one
side*: filled by one of them only. The table goes to stderr, the same as one line of JSON to stdout.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from tests.execution.tape import Commands, View, exchange_latency, orders, play, watch
from tradebot.events import Filled, PlaceOrder
from tradebot.execution.latency import Latency, lognormal, uniform
from tradebot.sim.market import open_market
from tradebot.sim.source import MarketSource

WAYS: tuple[tuple[str, Latency, View], ...] = (
    ("the same view and latency", exchange_latency, View()),
    ("5 levels a side", exchange_latency, View(levels=5)),
    ("every third book", exchange_latency, View(every=3)),
    ("books 50 ms late", exchange_latency, View(delay_ms=50)),
    ("books 500 ms late", exchange_latency, View(delay_ms=500)),
    ("its own 20 to 80 ms", uniform(20, 80), View()),
    ("log-normal 30/200 ms", lognormal(30, 200), View()),
    ("log-normal 200/2000 ms", lognormal(200, 2_000), View()),
)


@dataclass(slots=True)
class Order:
    """What was executed of one order."""

    side: str
    qty: Decimal = Decimal(0)
    value: Decimal = Decimal(0)
    fee: Decimal = Decimal(0)
    last_ms: int = 0


def by_order(fills: Iterable[Filled]) -> dict[str, Order]:
    found: dict[str, Order] = {}
    for fill in fills:
        if not fill.client_oid.startswith("order-"):
            continue  # a stop's: the exchange names those itself
        order = found.setdefault(fill.client_oid, Order(fill.side))
        order.qty += fill.qty
        order.value += fill.qty * fill.price
        order.fee += fill.fee
        order.last_ms = fill.ts_exchange_ms
    return found


def compared(paper: dict[str, Order], exchange: dict[str, Order], commands: Commands) -> dict[str, Any]:
    asked = {command.client_oid: command.qty for _, command in commands if isinstance(command, PlaceOrder)}
    both = sorted(paper.keys() & exchange.keys())
    price, size, late, fee = [], [], [], []
    equal = 0
    for oid in both:
        ours, theirs = paper[oid], exchange[oid]
        worse = (ours.value / ours.qty) / (theirs.value / theirs.qty) - 1
        price.append(float(worse) * (1e4 if ours.side == "buy" else -1e4))
        size.append(float((theirs.qty - ours.qty) / asked[oid]) * 100)
        late.append(ours.last_ms - theirs.last_ms)
        fee.append(float(theirs.fee / theirs.value - ours.fee / ours.value) * 1e4)
        equal += ours == theirs
    return {
        "filled_by_both": len(both),
        "one_side": len(paper.keys() ^ exchange.keys()),
        "equal": equal,
        "price_bp": {"mean": mean(price), "p99": p99(price)},
        "less_filled_pct": {"mean": mean(size), "p99": p99(size)},
        "later_ms": {"mean": mean(late), "p99": p99(late)},
        "fee_bp": {"mean": mean(fee), "p99": p99(fee)},
    }


def mean(values: list[float] | list[int]) -> float:
    return round(float(np.mean(values)), 3) if values else 0.0


def p99(values: list[float] | list[int]) -> float:
    """99th percentile of how far from zero."""
    return round(float(np.quantile(np.abs(values), 0.99)), 3) if values else 0.0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--market", nargs="+", default=[], metavar="SYMBOL=PATH", help="recorded books and trades")
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--orders", type=int, default=2_000)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the result there")
    given = parser.parse_args()

    def tape() -> list[MarketSource]:
        symbols = list(dict.fromkeys(part.partition("=")[0] for part in given.market)) or ["SOLUSDT", "BTCUSDT"]
        every_ms = None if given.market else 200
        length_ms = given.minutes * 60_000
        return open_market(given.market, symbols, 3, for_ms=length_ms, history_days=8, book_interval_ms=every_ms)

    first = tape()
    first_ms, until_ms = first[0].start_ms + 1_000, first[0].end_ms - 10_000
    commands = [c for c in orders(first, watch(tape(), until_ms), first_ms, given.orders) if c[0] < until_ms]
    say(f"{len(commands)} commands in {(commands[-1][0] - first_ms) / 60_000:.0f} min")
    head = f"{'paper broker with':<26}{'both':>6}{'equal':>7}{'one side':>10}"
    say(head + "".join(f"{name + ' p99':>24}" for name in ("price bp", "less filled %", "later ms", "fee bp")))
    rows: dict[str, dict[str, Any]] = {}
    for name, latency, view in WAYS:
        paper, exchange = asyncio.run(play(tape(), commands, latency, view))
        row = rows[name] = compared(by_order(paper.fills), by_order(exchange.fills), commands)
        cells = (row[key] for key in ("price_bp", "less_filled_pct", "later_ms", "fee_bp"))
        told = "".join(f"{cell['mean']:>14.3f}{cell['p99']:>10.3f}" for cell in cells)
        say(f"{name:<26}{row['filled_by_both']:>6}{row['equal']:>7}{row['one_side']:>10}{told}")
    text = json.dumps(rows)
    print(text)
    if given.json is not None:
        given.json.write_text(text + "\n")
    same = rows[WAYS[0][0]]
    return 0 if same["equal"] == same["filled_by_both"] and not same["one_side"] else 1


if __name__ == "__main__":
    sys.exit(main())
