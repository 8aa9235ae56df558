"""The whole daemon under a market's load: N symbols × a book update every so many ms, for as long as asked.

The embedded exchange runs in another process on another core; the daemon (paper broker, journal, ledger, recorder: as
``tradebot run``) runs here. Nothing may be dropped. Prints a table a few times a minute, then the result, also as one
line of JSON.

    python -m benchmarks.soak_books [--symbols 300] [--interval 100ms] [--for 10m] [--json FILE]

*staleness*: age by the exchange's clock of each symbol's newest state that was acted on, looked at once a second.
*lateness*: the same age at the moment an update was handled. *waited*: from the socket to the end of handling.
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
from array import array
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import uvloop

from tradebot.daemon.app import Daemon
from tradebot.duration import Duration
from tradebot.exchange.bitget.listener import FanOut, Listener
from tradebot.journal import open_state
from tradebot.market.book import OrderBook
from tradebot.ops import logging as bot_logging
from tradebot.settings import Settings
from tradebot.sim.market.generated import numbered_symbols

STRATEGIES = Path(__file__).resolve().parents[1] / "strategies"
PAGE = resource.getpagesize()
SHOW_EVERY_S = 10.0


class Ages(Listener):
    """Exchange times of the newest states, and how old each was when it was handled."""

    def __init__(self, now_ms: Any) -> None:
        self._now_ms = now_ms
        self.newest: dict[str, int] = {}
        self.late = array("f")

    def on_book(self, symbol: str, book: OrderBook, ts_exchange_ms: int) -> None:
        self.newest[symbol] = ts_exchange_ms
        self.late.append(self._now_ms() - ts_exchange_ms)


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


def percentiles(values: Any) -> dict[str, float]:
    found = np.asarray(values, dtype=np.float64)
    if not len(found):
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    return {
        "p50": round(float(np.percentile(found, 50)), 1),
        "p99": round(float(np.percentile(found, 99)), 1),
        "max": round(float(found.max()), 1),
    }


async def soak(urls: Any, exchange_pid: int, symbols: int, for_s: float, folder: Path) -> dict[str, Any]:
    with open_state(folder / "state") as opened:
        daemon = Daemon(settings(urls, symbols, folder), None, opened)
        ages = Ages(daemon.clock.now_ms)
        daemon.stream.feed._listener = FanOut([daemon.stream.feed._listener, ages])
        began = time.monotonic()
        running = asyncio.create_task(daemon.run())
        await asyncio.wait({asyncio.create_task(daemon.ready.wait()), running}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        ready_s = time.monotonic() - began
        print(f"ready after {ready_s:.0f} s: {symbols} symbols, {len(daemon.stream.connections)} connections")
        result = await measure(daemon, ages, exchange_pid, for_s)
        daemon.request_stop()
        await running
    return {"symbols": symbols, "seconds": round(for_s), "ready_s": round(ready_s, 1), **result}


async def measure(daemon: Daemon, ages: Ages, exchange_pid: int, for_s: float) -> dict[str, Any]:
    feed, gate = daemon.stream.feed, daemon.stream.gate
    await asyncio.sleep(2.0)  # what gathered while it started
    ages.late = array("f")
    frames, merged, updates = feed.frames, feed.merged, daemon.feed.book_updates
    cpu = {os.getpid(): cpu_s(os.getpid()), exchange_pid: cpu_s(exchange_pid)}
    staleness = array("f")
    rss: list[float] = []
    began = time.monotonic()
    shown = 0.0
    print(f"{'s':>5}{'frames/s':>10}{'lateness p50':>14}{'p99':>8}{'max ms':>9}{'merged':>8}{'queue':>7}{'RSS MiB':>9}")
    while (passed := time.monotonic() - began) < for_s:
        await asyncio.sleep(1.0 - time.monotonic() % 1.0)
        now = daemon.clock.now_ms()
        staleness.extend(now - at for at in ages.newest.values())
        rss.append(rss_mib(os.getpid()))
        if passed - shown >= SHOW_EVERY_S:
            shown = passed
            late = percentiles(ages.late[-50_000:])
            rate = (feed.frames - frames) / passed
            print(
                f"{passed:>5.0f}{rate:>10.0f}{late['p50']:>14}{late['p99']:>8}{late['max']:>9}"
                f"{feed.merged - merged:>8}{gate.depth:>7}{rss[-1]:>9.0f}",
                flush=True,
            )
    passed = time.monotonic() - began
    third = max(1, len(rss) // 3)
    return {
        "frames_per_s": round((feed.frames - frames) / passed),
        "book_updates_per_s": round((daemon.feed.book_updates - updates + feed.merged - merged) / passed),
        "dropped": sum(feed.resyncs_by_kind.values()) + feed.unreadable,
        "resyncs": dict(feed.resyncs_by_kind),
        "unreadable": feed.unreadable,
        "coalesced": feed.merged - merged,
        "held": gate.held,
        "times_behind": daemon.stream.times_behind,
        "reconnects": sum(connection.sessions - 1 for connection in daemon.stream.connections),
        "staleness_ms": percentiles(staleness),
        "lateness_ms": percentiles(ages.late),
        "waited_ms": {
            "p50": round(gate.waited.quantile(0.5), 2),
            "p99": round(gate.waited.quantile(0.99), 2),
            "max": round(gate.waited.highest, 1),
        },
        "rss_mib": {"start": round(rss[0]), "mid": round(rss[len(rss) // 2]), "end": round(rss[-1])},
        "rss_growth_mib": round(float(np.mean(rss[-third:]) - np.mean(rss[third : 2 * third])), 1),
        "cpu": {
            "daemon": round((cpu_s(os.getpid()) - cpu[os.getpid()]) / passed, 2),
            "exchange": round((cpu_s(exchange_pid) - cpu[exchange_pid]) / passed, 2),
        },
        "events_per_s": round(daemon.sequencer.events / passed),
        "recorder": {"records": daemon.recording.log.records, "lost": daemon.recording.log.lost}
        if daemon.recording.log is not None
        else None,
    }


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
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[0]})
    exchange, urls = start_exchange(given.symbols, given.interval, for_s, cores[1] if len(cores) > 1 else None)
    try:
        with tempfile.TemporaryDirectory(prefix="soak-") as folder:
            result = uvloop.run(soak(urls, exchange.pid, given.symbols, for_s, Path(folder)))
    finally:
        exchange.terminate()
        exchange.wait(10)
    print()
    for name, value in result.items():
        print(f"{name:<20}{value}")
    line = json.dumps(result)
    print(line)
    if given.json is not None:
        given.json.write_text(line + "\n")
    return 0 if not result["dropped"] and not result["times_behind"] else 1


if __name__ == "__main__":
    sys.exit(main())
