"""Back-tests through the real engine: features, strategy, risk, orders, matching, fees, funding, trades (P9, P10).

    python -m benchmarks.bench_backtest [--days 180] [--symbols 20]

The markets are generated, written to files and read back like recorded ones. The strategy is a rule without a model
that trades, so every candle is a decision and some are orders; nothing is left out that a run of `tradebot backtest`
does. Each part runs in a process of its own, whose processor time and peak memory are told beside the wall clock: on a
machine with other work the wall clock says little.

References: NautilusTrader's back-test with a counting strategy and freqtrade's of a rule strategy are not installed
here; their figures are those of performance.md, measured on another day on two cores of the same kind.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tradebot.backtest.single import Spec, run_backtest
from tradebot.events import EngineConfig
from tradebot.market.candle import DAY_MS
from tradebot.ops.logging import configure
from tradebot.sim.market.generated import INTERVAL, generate, numbered_symbols
from tradebot.sim.market.opening import GENERATED_START_MS

NAUTILUS_BARS, NAUTILUS_DELTAS = 115_000, 357_000
"""Bars and book deltas a second (performance.md, P9)."""
HISTORY_DAYS = 15
BOOK_HOURS = 6
MOVE_BP, BOOK_MOVE_BP = 60.0, 20.0
"""How far a candle must have moved to be traded against: a few per cent of them."""

RULE = """
import msgspec
from tradebot.trading.strategy import HOLD, Intent, Strategy

class Params(msgspec.Struct, frozen=True):
    move_bp: float = 60.0
    candles: int = 4

class Rule(Strategy):
    Params = Params

    def on_candle(self, view):
        candle, holding = view.market.candle, view.holding
        if holding.qty:
            return Intent("exit", "time") if holding.candles >= self.params.candles else HOLD
        if candle is None:
            return HOLD
        moved = (candle.close / candle.open - 1) * 1e4
        if abs(moved) < self.params.move_bp:
            return HOLD
        return Intent("enter_short" if moved > 0 else "enter_long", "against it")
"""
COUNTING = (
    RULE.replace("class Rule", "class Counting")
    + """
    rows = 0

    def on_book(self, view):
        self.rows += 1
        return None
"""
)


def write_candles(folder: Path, symbols: list[str], days: int) -> list[str]:
    """A file of 5-minute candles for each symbol: ``days`` and the history before them."""
    first_ms = GENERATED_START_MS - HISTORY_DAYS * DAY_MS
    files = []
    for symbol in symbols:
        rows = generate(symbol, 7, first_ms, (HISTORY_DAYS + days) * DAY_MS // INTERVAL).candles
        columns = {name: getattr(rows, name) for name in ("open_time", "open", "high", "low", "close", "volume")}
        path = folder / f"bench_{symbol}_perp_5m.parquet"
        pq.write_table(pa.table(columns), path)
        files.append(str(path))
    return files


def write_books(folder: Path, hours: int) -> str:
    """Ten levels a side, every second, each row another one."""
    n = hours * 3_600
    rng = np.random.default_rng(7)
    mid = 15_000 + np.cumsum(rng.integers(-2, 3, n))
    columns: dict[str, np.ndarray] = {"ts_ms": GENERATED_START_MS + 1_000 * np.arange(n, dtype=np.int64)}
    for i in range(10):
        columns[f"ask_px_{i + 1}"] = (mid + 1 + i) / 100.0
        columns[f"ask_sz_{i + 1}"] = rng.integers(100, 90_000, n) / 100.0
        columns[f"bid_px_{i + 1}"] = (mid - 1 - i) / 100.0
        columns[f"bid_sz_{i + 1}"] = rng.integers(100, 90_000, n) / 100.0
    path = folder / "bench_SOLUSDT_perp_20260105_1s_l10.parquet"
    pq.write_table(pa.table(columns), path)
    return str(path)


def measured(files: list[str], strategies: str, strategy: str, for_ms: int, move_bp: float) -> dict[str, float]:
    """One back-test in this process: what it took and what it did."""
    configure("backtest", level="warning")
    config = EngineConfig(mode="demo", symbols=(), strategy=strategy, strategy_params={"move_bp": move_bp})
    spec = Spec(
        config=config, strategies_dir=Path(strategies), data=tuple(files), for_ms=for_ms, history_days=HISTORY_DAYS
    )
    wall, cpu = time.monotonic(), time.process_time()
    outcome = run_backtest(spec)
    assert outcome is not None
    result = outcome.result
    assert all(result["reconcile"].values())
    return {
        "wall_s": time.monotonic() - wall,
        "cpu_s": time.process_time() - cpu,
        "rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        **{name: result[name] for name in ("candles", "events", "book_updates", "orders", "fills", "trades")},
    }


def apart(*arguments: object) -> dict[str, float]:
    """The same in a process of its own."""
    code = "import json, sys; from benchmarks.bench_backtest import measured; a = json.loads(sys.argv[1]); "
    code += "print(json.dumps(measured(*a)))"
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(arguments)],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def told(name: str, took: dict[str, float], rate: float, unit: str) -> None:
    """One line."""
    print(
        f"{name:<44}{rate:>10,.0f} {unit}   wall {took['wall_s']:7.1f} s, cpu {took['cpu_s']:7.1f} s, "
        f"peak {took['rss_mib']:5.0f} MiB, {took['orders']:,.0f} orders, {took['trades']:,.0f} trades"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--days", type=int, default=180)
    parser.add_argument("--symbols", type=int, default=20)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tradebot-bench-") as name:
        folder = Path(name)
        (folder / "rule.py").write_text(RULE)
        (folder / "counting.py").write_text(COUNTING)
        one = write_candles(folder, ["SOLUSDT"], 60)
        took = apart(one, name, "rule", 60 * DAY_MS, MOVE_BP)
        bars = took["candles"] / took["cpu_s"]
        told("P9  candles of one symbol, 60 days", took, bars, "candles/s")
        books = write_books(folder, BOOK_HOURS)
        took = apart([books, *one], name, "counting", BOOK_HOURS * 3_600_000, BOOK_MOVE_BP)
        rows = took["book_updates"] / took["cpu_s"]
        told(f"P9  1 s books of ten levels, {BOOK_HOURS} h, on_book", took, rows, "books/s")
        took = apart([books, *one], name, "rule", BOOK_HOURS * 3_600_000, BOOK_MOVE_BP)
        seconds = BOOK_HOURS * 3_600 / took["cpu_s"]
        told("    the same, decided on at candles only", took, seconds, "rows/s")
        many = write_candles(folder, numbered_symbols(asked.symbols), asked.days)
        took = apart(many, name, "rule", asked.days * DAY_MS, MOVE_BP)
        portfolio = took["candles"] / took["cpu_s"]
        told(f"P10 {asked.symbols} symbols x {asked.days} days of 5m candles", took, portfolio, "candles/s")
    print(
        f"P9 target >= 1x NautilusTrader with a counting strategy: candles {bars / NAUTILUS_BARS:.3f}x of "
        f"{NAUTILUS_BARS:,}/s; books {rows / NAUTILUS_DELTAS:.3f}x of {NAUTILUS_DELTAS:,} deltas/s (one of our rows "
        f"carries {20 * rows / NAUTILUS_DELTAS:.2f}x as 20 levels). Rates are by processor time of one core."
    )
    print("P10 target >= 5x faster than freqtrade at half its memory: it is not installed here, so no ratio is claimed")


if __name__ == "__main__":
    main()
