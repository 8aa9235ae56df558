"""One demo from its beginning to its result."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tradebot.daemon.app import Daemon
from tradebot.daemon.demo.asked import Demo, View
from tradebot.daemon.demo.exchange import refuse_coarse, start_exchange
from tradebot.daemon.demo.folder import clear, sole_user
from tradebot.daemon.demo.models import first_models
from tradebot.daemon.demo.report import nothing_traded, traded
from tradebot.daemon.snapshot import Snapshot
from tradebot.daemon.timeouts import Timeouts
from tradebot.events import REFERENCES
from tradebot.journal import open_state
from tradebot.market.candle import MINUTE_MS
from tradebot.ops.loop import run_loop
from tradebot.settings import Credentials, Settings, strategies_folder
from tradebot.shell.result import compare_with_exchange
from tradebot.trading.loading import load_strategy

STRATEGY = "threshold"
LANDING_MS = 20 * MINUTE_MS
REPLAY_PARAMS = {"entry_rank": 0.98}
"""On recorded markets the strategy also acts on the strongest 2 % of a day's forecasts, although they seldom cover
their costs: a demo in which nothing happens would show nothing. The result says what that earned."""


def run_demo(
    *,
    for_ms: int | None,
    seconds: float | None,
    speed: str,
    replay: list[str],
    symbols: list[str],
    seed: int,
    json_output: bool,
    state_dir: Path,
    faults: Path | None = None,
    steady: bool = False,
    view: View = lambda snapshot: None,
    finish: Callable[[dict[str, Any]], None] = lambda result: None,
) -> int:
    """Run the demo. ``view`` is shown a snapshot a few times a second, ``finish`` the result.

    ``faults`` is a schedule of what goes wrong at the exchange; ``steady``: a generated market has no structural break.
    Only one demo at a time uses a state directory: it is
    locked until ``finish`` has returned. With ``json_output`` the result is the last line of stdout. Exit code 0, or 1
    when the run's own checks (replay, reconciliation) failed.
    Raises TradebotError; BusyError when another demo runs there.
    """
    strategies_dir = strategies_folder(Path("strategies").absolute(), STRATEGY)
    load_strategy(strategies_dir, STRATEGY)  # what is wrong with it is told before anything starts
    demo = Demo(
        for_ms=for_ms,
        seconds=seconds,
        speed=speed,
        replay=replay,
        symbols=symbols,
        seed=seed,
        state_dir=state_dir,
        strategies_dir=strategies_dir,
        faults=faults,
        steady=steady,
        view=view,
    )
    with sole_user(demo.state_dir):
        clear(demo.state_dir)
        result = run_loop(_run(demo))
        finish(result)
        if json_output:
            sys.stdout.write(json.dumps(result) + "\n")
            sys.stdout.flush()
    sound = not result["replay"]["mismatches"] and all(result["reconcile"].values())
    return 0 if sound else 1


async def _run(demo: Demo) -> dict[str, Any]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if demo.seconds is not None:
        loop.call_later(demo.seconds, stop.set)
    exchange = await start_exchange(demo)
    try:
        market = await exchange.market()
        for_ms = min(demo.length_ms, market.end - market.start)
        settings = demo_settings(demo, market.symbols, for_ms, exchange.rest_url, exchange.ws_url)
        refuse_coarse(market, settings.trading.interval)
        if not await first_models(demo, settings, market.start, stop):
            return nothing_traded(demo, settings, market.start)
        result = await _trade(demo, settings, market.start, market.start + for_ms, stop)
        if demo.faults is not None:
            result["faults"] = msgspec.to_builtins(await exchange.faults())
        return result
    finally:
        await exchange.stop()


def demo_settings(demo: Demo, symbols: Sequence[str], for_ms: int, rest_url: str, ws_url: str) -> Settings:
    """Settings of the demo's daemon: one retrain half-way through ``for_ms``."""
    return Settings.model_validate(
        {
            "mode": "demo",
            "symbols": symbols,
            "state_dir": demo.state_dir.absolute(),
            "model_store": (demo.state_dir / "model_store").absolute(),
            "strategies_dir": demo.strategies_dir,
            "trading": {"references": [name for name in REFERENCES if name in symbols]},
            "strategy": {"name": STRATEGY, "params": REPLAY_PARAMS if demo.replay else {}},
            "exchange": {
                "rest_url": rest_url,
                "public_ws": f"{ws_url}/v2/ws/public",
                "private_ws": f"{ws_url}/v2/ws/private",
                "clock": "paced",
                "rate_limited": False,
            },
            "retrain": {
                "every": f"{max(for_ms // 2, 60 * MINUTE_MS) // 1000}s",
                "days": demo.training_days,
                "landing": f"{min(LANDING_MS, for_ms // 8) // 1000}s",
                "seed": demo.seed,
                "trials": 4,
                "rounds": 200,
            },
        }
    )


async def _trade(demo: Demo, settings: Settings, start_ms: int, end_ms: int, stop: asyncio.Event) -> dict[str, Any]:
    credentials = Credentials("demo-key", "demo-secret", "demo-pass")
    reconciled: dict[str, bool] = {}
    with open_state(settings.state_dir) as opened:
        # what is lost on the way is found as a live daemon finds it
        timeouts = Timeouts(reconcile_every_ms=MINUTE_MS) if demo.faults is not None else None
        daemon = Daemon(settings, credentials, opened, stop_at_ms=end_ms, timeouts=timeouts)

        async def check() -> None:
            reconciled.update(
                await compare_with_exchange(
                    daemon.rest,
                    daemon.engine.state,
                    daemon.config.symbols,
                    start_equity=daemon.start_equity,
                    started_ms=daemon.started_ms,
                    now_ms=daemon.clock.now_ms(),
                )
            )

        daemon.before_leaving = check
        stopper = asyncio.create_task(_when(stop, daemon.request_stop))
        viewer = asyncio.create_task(_show(demo, daemon))
        try:
            await daemon.run()
        finally:
            for task in (stopper, viewer):
                task.cancel()
            await asyncio.gather(stopper, viewer, return_exceptions=True)
        demo.view(_snapshot(demo, daemon))
    if not daemon.started_ms:  # stopped while it was still reaching the exchange: there is no run to compute again
        return nothing_traded(demo, settings, start_ms)
    return traded(demo, settings, daemon, reconciled, opened.epoch)


async def _when(event: asyncio.Event, act: Callable[[], None]) -> None:
    await event.wait()
    act()


def _snapshot(demo: Demo, daemon: Daemon) -> Snapshot:
    """The daemon's snapshot; market, speed and wall time are those of the whole demo."""
    shot = daemon.snapshot()
    shot["source"], shot["speed"], shot["wall_s"] = demo.source, demo.speed, time.monotonic() - demo.began
    return shot


async def _show(demo: Demo, daemon: Daemon) -> None:
    while True:
        demo.view(_snapshot(demo, daemon))
        await asyncio.sleep(0.25)
