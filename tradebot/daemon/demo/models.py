"""The first model of each symbol: trained on the candles before the start, while the exchange stands still."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from tradebot.daemon.demo.asked import Demo
from tradebot.daemon.demo.exchange import ended
from tradebot.daemon.retraining import RetrainPlan, start_runner
from tradebot.daemon.snapshot import JobSnapshot, Snapshot
from tradebot.errors import DataError
from tradebot.jobs import CandleSource, JobProgress, JobQueue, RetrainJob
from tradebot.market.candle import DAY_MS
from tradebot.settings import Settings


async def first_models(
    demo: Demo, settings: Settings, start_ms: int, stop: asyncio.Event, source: CandleSource | None = None
) -> bool:
    """Train a model of each symbol on the candles before the start, while the exchange stands still.

    ``source``: where candles come from, other than from the exchange. False when the run was stopped meanwhile. Raises
    TradebotError when a symbol gets no model.
    """
    queue = JobQueue(settings.jobs_dir)
    plan = RetrainPlan.of(settings, source)
    start_ms -= demo.first_model_age_days * DAY_MS
    jobs = [plan.job(symbol, start_ms, model=model) for symbol in settings.symbols for model in plan.train]
    for job in jobs:
        queue.enqueue(job)
    runner = await start_runner(queue, plan.threads)
    try:
        while runner.returncode is None and not stop.is_set():
            demo.view(_training(demo, settings, queue, jobs, start_ms))
            with suppress(TimeoutError):
                await asyncio.wait_for(runner.wait(), 0.25)
    finally:
        if runner.returncode is None:
            runner.terminate()
            await runner.wait()
    if stop.is_set():
        return False
    for job in jobs:
        result = queue.result(job.id)
        if result is None:
            raise DataError(f"{job.symbol}: the trainer ended without a result (exit code {runner.returncode})")
        demo.results.append(result)
        if not result.promoted:
            raise ended(f"{job.symbol}: no first model: {result.reason}", result.exit_code)
    return True


def _training(demo: Demo, settings: Settings, queue: JobQueue, jobs: list[RetrainJob], now_ms: int) -> Snapshot:
    shots: list[JobSnapshot] = []
    for job in jobs:
        shot: JobSnapshot = {"id": job.id, "symbol": job.symbol, "model": job.model}
        shot["state"] = queue.state(job.id) or "pending"
        progress: JobProgress | None = queue.progress(job.id)
        if progress is not None:
            shot["stage"], shot["done"], shot["total"] = progress.stage, progress.done, progress.total
            shot["message"], shot["elapsed_s"], shot["eta_s"] = progress.message, progress.elapsed_s, progress.eta_s
        shots.append(shot)
    return {
        "mode": settings.mode,
        "source": demo.source,
        "phase": "training the first model",
        "jobs": shots,
        "now_ms": now_ms,
        "wall_s": time.monotonic() - demo.began,
    }
