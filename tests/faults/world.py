"""One run: an embedded exchange with a fault, a real daemon that trades on it, and what each of them has afterwards."""

from __future__ import annotations

import asyncio
import functools
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from tests.e2e.conftest import STRATEGIES
from tests.eventually import ended
from tests.faults.model import plant
from tradebot.daemon.app import Daemon
from tradebot.daemon.metrics import DURATIONS, METRICS
from tradebot.daemon.timeouts import Timeouts
from tradebot.events import CandleClosed, OperatorActed, Record
from tradebot.exchange.bitget.latency import EDGES_MS
from tradebot.exchange.bitget.pacing import Timing
from tradebot.journal import open_state
from tradebot.market.candle import MINUTE_MS
from tradebot.settings import Credentials, Settings
from tradebot.sim.faults import Schedule
from tradebot.sim.limits import WireLimits
from tradebot.sim.market.generated import INTERVAL, GeneratedMarket, GeneratedPath, generate
from tradebot.sim.market.opening import GENERATED_START_MS
from tradebot.sim.server import EmbeddedExchange

SYMBOLS = ("SOLUSDT", "ETHUSDT")
HISTORY_MS = 8 * 86_400_000
LONGEST_MS = 360 * MINUTE_MS
CREDENTIALS = Credentials("demo-key", "demo-secret", "demo-pass")

UNHURRIED = Timing(
    ping=0.5, pong=5.0, ack=0.5, open=5.0, stable=0.2, first_wait=0.01, longest_wait=0.05,
    messages_per_second=1_000, subscribes_per_hour=100_000,
)  # fmt: skip
"""Back at once, and not kept from asking: hours of the market pass in a second."""

BRISK = replace(UNHURRIED, ping=0.15, pong=0.15)
"""Notices within half a second that nobody answers, and now and then that a busy machine was slow to."""


async def brief_pause(seconds: float) -> None:
    """A hundredth of the time: the exchange is next door."""
    await asyncio.sleep(seconds / 100)


def timeouts(*, brisk: bool) -> Timeouts:
    """How long a daemon waits for an exchange in the same process."""
    return Timeouts(
        stream=BRISK if brisk else UNHURRIED,
        rest_timeout_s=0.5,
        first_retry_s=0.005,
        pause=brief_pause,
        reconcile_every_ms=2 * MINUTE_MS,
    )


LIMITS = WireLimits(messages_per_second=1_000, subscribes_per_hour=100_000, connect_attempts=100_000)
"""What the exchange allows in a second of the wall's would be gone in a minute of the market's."""


@dataclass(slots=True)
class Run:
    """What is left of a run. ``error`` is how the daemon ended when it did not end normally."""

    state: Path
    exchange: EmbeddedExchange
    start_ms: int
    daemon: Daemon | None = None
    error: str = ""
    seconds: float = 0.0
    injected: dict[tuple[str, str], int] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    """How much each of the daemon's counters rose while it traded, ``name`` and ``name:label``."""


@functools.lru_cache(maxsize=4)
def _path(symbol: str, seed: int, longest_ms: int) -> GeneratedPath:
    candles = (HISTORY_MS + longest_ms) // INTERVAL
    return generate(symbol, seed, GENERATED_START_MS - HISTORY_MS, candles)


def markets(seed: int, for_ms: int) -> list[GeneratedMarket]:
    """Fresh markets over the seed's paths."""
    longest_ms = max(for_ms, LONGEST_MS)
    return [
        GeneratedMarket(
            symbol,
            seed,
            _path(symbol, seed, longest_ms),
            start_ms=GENERATED_START_MS,
            end_ms=GENERATED_START_MS + for_ms,
        )
        for symbol in SYMBOLS
    ]


@functools.cache
def model_store(folder: Path) -> Path:
    """A store with the planted model, made once in ``folder``."""
    store = folder / "models"
    if not store.exists():
        plant(store, SYMBOLS)
    return store


def settings(exchange: EmbeddedExchange, state: Path, store: Path) -> Settings:
    """A daemon that trades at every candle."""
    risk: dict[str, Any] = {"cooldown": "0s", "max_daily_loss": "0.9", "max_gross_notional": 50_000}
    return Settings.model_validate(
        {
            "mode": "demo",
            "symbols": list(SYMBOLS),
            "state_dir": state,
            "model_store": store,
            "strategies_dir": STRATEGIES,
            "strategy": {"name": "restless"},
            "risk": risk,
            "exchange": {
                "rest_url": exchange.rest_url,
                "public_ws": f"{exchange.ws_url}/v2/ws/public",
                "private_ws": f"{exchange.ws_url}/v2/ws/private",
                "clock": "paced",
                "rate_limited": False,
            },
            "retrain": {"enabled": False},
        }
    )


class Person:
    """Adopts what is foreign and resumes, if the bot has stopped, when a candle closes after ``at_ms``."""

    def __init__(self, daemon: Daemon, at_ms: int) -> None:
        self._daemon = daemon
        self._at_ms = at_ms
        self._acted = False

    def __call__(self, seq: int, ts_ms: int, record: Record) -> None:
        if self._acted or ts_ms < self._at_ms or not isinstance(record, CandleClosed):
            return
        self._acted = True
        state = self._daemon.engine.state
        if state.tradability == "active" and not state.foreign and not state.paused:
            return
        for symbol in SYMBOLS:
            self._daemon.operate(OperatorActed(action="adopt", actor="person", symbol=symbol, reason="seen"))
            self._daemon.operate(OperatorActed(action="resume", actor="person", symbol=symbol, reason="seen"))
        self._daemon.operate(OperatorActed(action="resume", actor="person", reason="seen"))


SLOW_MS = 15.0
"""A request to an exchange in the same process takes longer than this when it was made to."""


def counters(daemon: Daemon) -> dict[str, float]:
    """What the daemon has counted so far, a labelled one also as its sum; of durations those that were slow."""
    found: dict[str, float] = {}
    for metric in METRICS:
        if metric.kind == "counter":
            value = metric.read(daemon)
            labelled = dict(value) if isinstance(value, Mapping) else {}
            found[metric.name] = sum(labelled.values()) if isinstance(value, Mapping) else float(value)
            found |= {f"{metric.name}:{label}": count for label, count in labelled.items()}
    for durations in DURATIONS:
        latency = durations.read(daemon)
        found[durations.name] = float(sum(latency.buckets[bisect_left(EDGES_MS, SLOW_MS) :]))
    return found


async def _when_ready(daemon: Daemon) -> dict[str, float]:
    await daemon.ready.wait()
    return counters(daemon)


async def trade(
    schedule: Schedule,
    seed: int,
    folder: Path,
    *,
    for_ms: int,
    speed: float | None = None,
    person_at_ms: int | None = None,
    brisk: bool = False,
    within_s: float = 60.0,
) -> Run:
    """Let a daemon trade for ``for_ms`` of market time on the market of ``seed`` under ``schedule``.

    ``person_at_ms`` after the start somebody takes what is there for the bot's and lets it go on. A ``brisk`` bot does
    not wait long for a pong.
    """
    began = perf_counter()
    exchange = EmbeddedExchange(
        markets(seed, for_ms + 10 * MINUTE_MS), speed=speed, hold=True, limits=LIMITS, faults=schedule
    )
    state = folder / "state"
    store = model_store(folder.parent)
    async with exchange:
        run = Run(state, exchange, exchange.exchange.clock.now_ms)
        with open_state(state) as opened:
            daemon = run.daemon = Daemon(
                settings(exchange, state, store),
                CREDENTIALS,
                opened,
                stop_at_ms=run.start_ms + for_ms,
                timeouts=timeouts(brisk=brisk),
            )
            if person_at_ms is not None:
                daemon.sequencer.observe(Person(daemon, run.start_ms + person_at_ms))
            starting = asyncio.create_task(_when_ready(daemon))
            try:
                await ended(daemon.run(), within_s)
            except TimeoutError:
                run.error = f"not over after {within_s:g} s of processor time, or ten times as long"
            except Exception as error:  # whatever ends a daemon is a failed run, not the end of the matrix
                run.error = f"{type(error).__name__}: {error}"
            starting.cancel()
            before = (await asyncio.gather(starting, return_exceptions=True))[0]
            if isinstance(before, dict):
                run.metrics = {name: value - before.get(name, 0.0) for name, value in counters(daemon).items()}
        run.injected = dict(exchange.exchange.faults.injected())
    run.seconds = perf_counter() - began
    return run
