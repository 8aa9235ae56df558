"""The whole daemon under a market's load: N symbols × a book update every so many ms, for as long as asked.

The embedded exchange runs in another process on another core; the daemon (paper broker, journal, ledger, recorder and
one small ONNX model for all symbols: as ``tradebot run``) runs here. Nothing may be dropped, lost or cut off, and
forecasts and orders must have happened: it measures for as long as asked, and in any case until a candle has closed.
Prints a table a few times a minute on stderr, then the result as one line of JSON on stdout.

    python -m benchmarks.soak_books [--symbols 300] [--interval 100ms] [--for 10m] [--json FILE]

*staleness*: age by the exchange's clock of each symbol's newest state that was acted on, at every ms of the
measurement: it grows until the next state is told, also while the loop does nothing else. Null where there was none.
*lateness*: the same age at the moment an update was handled. Both are as wrong as the bot's clock may be
(*clock_error_ms*), and say of how many samples they are (of staleness: symbols × ms). *waited*: from the socket to the
end of handling. Memory grows from the end of the warm-up (30 s or a fifth of the time) to the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tests.faults.model import plant
from tradebot.daemon.app import Daemon
from tradebot.daemon.metrics import health
from tradebot.duration import Duration
from tradebot.exchange.bitget.listener import Listener
from tradebot.journal import open_state
from tradebot.market.book import OrderBook
from tradebot.market.candle import INTERVAL_MS
from tradebot.ops import logging as bot_logging
from tradebot.ops.loop import run_loop
from tradebot.settings import Settings
from tradebot.sim.market.generated import numbered_symbols

STRATEGIES = Path(__file__).resolve().parents[1] / "strategies"
PAGE = resource.getpagesize()
SHOW_EVERY_S = 10.0
INTERVAL = "5m"
CASH = 10_000_000
"""USDT: enough that every symbol may hold a position."""
AFTER_CLOSE_S = 15.0
"""Time after the first candle of the measurement has closed in which forecasts and orders happen."""
WARM_UP_S = 30.0

COUNTERS = (
    "stream_frames", "stream_unreadable_frames", "stream_reconnects", "stream_behind", "stream_held", "book_resyncs",
    "book_updates", "book_updates_merged", "feed_stale_periods", "recorder_records", "recorder_lost", "events",
    "forecasts", "forecasts_late", "signals", "signals_blocked", "orders", "fills",
)  # fmt: skip
BAD = (
    "stream_unreadable_frames", "stream_reconnects", "stream_behind", "book_resyncs", "feed_stale_periods",
    "recorder_lost", "forecasts_late",
)  # fmt: skip
"""What must not have happened once."""
NEEDED = ("forecasts", "signals", "orders", "fills")
"""What must have happened."""


NEVER_MS = 60_000
"""What is as old as this, or has no age because nothing came, counts as never."""
NONE = -(10**15)
"""Exchange time of a state that never came."""


class Spread:
    """Counts by whole ms, in constant memory."""

    def __init__(self) -> None:
        self._steps = [0] * (NEVER_MS + 2)
        """By how much a count differs from that of one ms less."""

    def add(self, ms: int) -> None:
        self.grow(ms, ms + 1)

    def grow(self, first_ms: int, end_ms: int) -> None:
        """One of each from ``first_ms`` up to, and without, ``end_ms``."""
        self._count(0, 1, min(end_ms, 0) - first_ms)
        self._count(max(first_ms, 0), min(end_ms, NEVER_MS), 1)
        self._count(NEVER_MS, NEVER_MS + 1, end_ms - max(first_ms, NEVER_MS))

    def _count(self, first: int, end: int, times: int) -> None:
        if first < end and times > 0:
            self._steps[first] += times
            self._steps[end] -= times

    def told(self) -> dict[str, int | None]:
        """p50, p99 and highest in ms, None for never and where nothing was counted; of how many samples."""
        upto = np.cumsum(np.cumsum(self._steps))
        samples = int(upto[-1])

        def at(part: float) -> int | None:
            found = int(upto.searchsorted(max(1, part * samples)))
            return found if found < NEVER_MS else None

        return {"p50": at(0.5), "p99": at(0.99), "max": at(1.0), "samples": samples}


class Ages(Listener):
    """How old the newest state of each symbol was at every ms since ``begin``, and each state when it was handled."""

    def __init__(self, symbols: Sequence[str], now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._told = dict.fromkeys(symbols, (0, NONE))
        """Since when a symbol's age counts, and the exchange time of its newest state."""
        self.late, self.stale = Spread(), Spread()

    def begin(self) -> None:
        """Count from now on; states told before are as old as they are."""
        now = self._now_ms()
        self.late, self.stale = Spread(), Spread()
        self._told = {symbol: (now, newest_ms) for symbol, (_, newest_ms) in self._told.items()}

    def on_book(self, symbol: str, book: OrderBook, ts_exchange_ms: int) -> None:
        now = self._now_ms()
        since_ms, newest_ms = self._told[symbol]
        self.stale.grow(since_ms - newest_ms, now - newest_ms)
        self.late.add(now - ts_exchange_ms)
        self._told[symbol] = now, ts_exchange_ms

    def end(self) -> None:
        """Count what has grown old since it was told."""
        now = self._now_ms()
        for symbol, (since_ms, newest_ms) in self._told.items():
            self.stale.grow(since_ms - newest_ms, now - newest_ms)
            self._told[symbol] = now, newest_ms


def rss_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 2**20


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def start_exchange(symbols: int, interval: str, for_s: float, core: int | None) -> tuple[subprocess.Popen[str], Any]:
    command = [
        sys.executable, "-m", "tradebot", "sim", "--generated-symbols", str(symbols), "--book-interval", interval,
        "--history-days", "15", "--for", f"{int(for_s) + 600}s", "--speed", "1", "--no-rate-limits",
    ]  # fmt: skip
    if core is not None:
        command = ["taskset", "-c", str(core), *command]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, msgspec.json.decode(process.stdout.readline())


def settings(urls: Any, symbols: int, folder: Path) -> Settings:
    return Settings.model_validate(
        {
            "mode": "paper",
            "symbols": numbered_symbols(symbols),
            "state_dir": folder / "state",
            "model_store": folder / "models",
            "strategies_dir": STRATEGIES,
            "trading": {"interval": INTERVAL},
            "paper": {"cash": CASH},
            # the market is of another year than this machine
            "risk": {"max_gross_notional": 3 * CASH, "max_clock_offset": "3650d"},
            "data": {"root": str(folder / "data")},
            "retrain": {"enabled": False},
            "exchange": {
                "rest_url": urls["rest"],
                "public_ws": f"{urls['ws']}/v2/ws/public",
                "private_ws": f"{urls['ws']}/v2/ws/private",
                "rate_limited": False,
            },
        }
    )


def counted(daemon: Daemon) -> dict[str, float]:
    """The run's counters; those with a label summed."""
    found = health(daemon)
    return {name: sum(value.values()) if isinstance(value := found[name], dict) else value for name in COUNTERS}


async def soak(urls: Any, exchange_pid: int, symbols: int, for_s: float, folder: Path) -> dict[str, Any]:
    wanted = settings(urls, symbols, folder)
    plant(wanted.model_store, tuple(wanted.symbols))
    with open_state(wanted.state_dir) as opened:
        ages = Ages(wanted.symbols, lambda: daemon.clock.now_ms())
        daemon = Daemon(wanted, None, opened, listeners=[ages])
        began = time.monotonic()
        running = asyncio.create_task(daemon.run())
        await asyncio.wait({asyncio.create_task(daemon.ready.wait()), running}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        ready_s = time.monotonic() - began
        say(f"ready after {ready_s:.0f} s: {symbols} symbols, {len(daemon.stream.connections)} connections")
        result = await measure(daemon, ages, exchange_pid, for_s)
        daemon.request_stop()
        await running
    return {"symbols": symbols, "ready_s": round(ready_s, 1), **result}


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def measure(daemon: Daemon, ages: Ages, exchange_pid: int, for_s: float) -> dict[str, Any]:
    gate, ours = daemon.stream.gate, os.getpid()
    await asyncio.sleep(2.0)  # what gathered while it started
    interval_ms = INTERVAL_MS[INTERVAL]
    for_s = max(for_s, (interval_ms - daemon.clock.now_ms() % interval_ms) / 1_000 + AFTER_CLOSE_S)
    say(f"measuring {for_s:.0f} s, load average {os.getloadavg()[0]:.1f}")
    ages.begin()
    before = counted(daemon)
    cpu = {pid: cpu_s(pid) for pid in (ours, exchange_pid)}
    rss: list[float] = []
    clock_error_ms = 0.0
    began = time.monotonic()
    shown = 0.0
    say(f"{'s':>5}{'frames/s':>10}{'lateness p50':>14}{'p99':>8}{'max ms':>9}{'orders':>8}{'queue':>7}{'RSS MiB':>9}")
    while (passed := time.monotonic() - began) < for_s:
        await asyncio.sleep(1.0 - time.monotonic() % 1.0)
        clock_error_ms = max(clock_error_ms, daemon.drive.time.error_ms)
        rss.append(rss_mib(ours))
        if passed - shown >= SHOW_EVERY_S:
            shown = passed
            late, rose = ages.late.told(), counted(daemon)
            rate = (rose["stream_frames"] - before["stream_frames"]) / passed
            say(
                f"{passed:>5.0f}{rate:>10.0f}{late['p50']!s:>14}{late['p99']!s:>8}{late['max']!s:>9}"
                f"{rose['orders']:>8.0f}{gate.depth:>7}{rss[-1]:>9.0f}"
            )
    ages.end()
    passed = time.monotonic() - began
    rose = {name: round(count - before[name]) for name, count in counted(daemon).items()}
    warm = min(round(min(WARM_UP_S, for_s / 5)), len(rss) - 1)
    return {
        "seconds": round(passed),
        "frames_per_s": round(rose["stream_frames"] / passed),
        "book_updates_per_s": round((rose["book_updates"] + rose["book_updates_merged"]) / passed),
        "counted": rose,
        "clock_error_ms": round(clock_error_ms, 1),
        "staleness_ms": ages.stale.told(),
        "lateness_ms": ages.late.told(),
        "waited_ms": {
            "p50": round(gate.waited.quantile(0.5), 2),
            "p99": round(gate.waited.quantile(0.99), 2),
            "max": round(gate.waited.highest, 1),
        },
        "rss_mib": {"start": round(rss[warm]), "mid": round(rss[len(rss) // 2]), "end": round(rss[-1])},
        "rss_growth_mib": round(rss[-1] - rss[warm], 1),
        "cpu": {
            "daemon": round((cpu_s(ours) - cpu[ours]) / passed, 2),
            "exchange": round((cpu_s(exchange_pid) - cpu[exchange_pid]) / passed, 2),
        },
    }


def faults(result: dict[str, Any]) -> list[str]:
    """What should not have been."""
    rose = result["counted"]
    return [
        *(f"{name}: {rose[name]}" for name in BAD if rose[name]),
        *(f"no {name}" for name in NEEDED if not rose[name]),
        *(["a symbol without a book"] if result["staleness_ms"]["max"] is None else []),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--symbols", type=int, default=300, metavar="N")
    parser.add_argument("--interval", default="100ms", metavar="100ms", help="between two updates of a book")
    parser.add_argument("--for", dest="duration", default="10m", metavar="10m")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the result there")
    given = parser.parse_args()
    for_s = Duration.parse(given.duration).ms / 1_000
    bot_logging.configure("paper", level="warning")
    cores = sorted(os.sched_getaffinity(0))
    pinned = {"daemon": cores[0], "exchange": cores[1]} if len(cores) > 1 else None
    if pinned is not None:
        os.sched_setaffinity(0, {pinned["daemon"]})
    load = {"before": os.getloadavg()}
    exchange, urls = start_exchange(given.symbols, given.interval, for_s, pinned["exchange"] if pinned else None)
    try:
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            result = run_loop(soak(urls, exchange.pid, given.symbols, for_s, Path(folder)))
    finally:
        exchange.terminate()
        exchange.wait(10)
    load["after"] = os.getloadavg()
    result |= {"cores": pinned, "load_average": load, "faults": faults(result)}
    for name, value in result.items():
        say(f"{name:<20}{value}")
    text = json.dumps(result)
    print(text)
    if given.json is not None:
        given.json.write_text(text + "\n")
    return 1 if result["faults"] else 0


if __name__ == "__main__":
    sys.exit(main())
