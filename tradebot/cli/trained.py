"""Models trained for a back-test, by the same jobs and at the same moments as a demo trains them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tradebot.backtest.playback import Playback, Retraining
from tradebot.daemon.demo.asked import Demo
from tradebot.daemon.demo.models import first_models
from tradebot.daemon.retraining import Retrainer, RetrainPlan
from tradebot.jobs import JobQueue, JobResult, ParquetSource
from tradebot.registry import ModelStore
from tradebot.settings import Settings
from tradebot.sim.source import MarketSource

CANDLES = "candles"
FUNDING = "funding.parquet"
"""Where a training looks for it beside candles that are named by symbol alone."""


class DemoTraining:
    """A first model of each symbol before the run, and one retrain half-way through it. Jobs read the market's own
    candles from files; what has not happened yet at a job's moment is left out by the job."""

    def __init__(
        self, demo: Demo, settings_of: Callable[[Sequence[str], int], Settings], stop: Callable[[], bool]
    ) -> None:
        """``settings_of``: the settings for these symbols and this much exchange time."""
        self._demo = demo
        self._settings_of = settings_of
        self._stop = stop
        self._source = ParquetSource(path=str(demo.state_dir / CANDLES))

    @property
    def results(self) -> Sequence[JobResult]:
        return self._demo.results

    @property
    def settings_hash(self) -> str:
        return self._settings.settings_hash()

    async def prepare(self, sources: Sequence[MarketSource]) -> bool:
        """Train the first models; False when that was stopped. Raises TradebotError when a symbol gets none."""
        start_ms, end_ms = min(source.start_ms for source in sources), max(source.end_ms for source in sources)
        symbols = [source.instrument.symbol for source in sources]
        self._settings = self._settings_of(symbols, min(self._demo.length_ms, end_ms - start_ms))
        write_candles(Path(self._source.path), sources, self._settings.trading.interval)
        stopping = asyncio.Event()
        watching = asyncio.create_task(self._watch(stopping))
        try:
            return await first_models(self._demo, self._settings, start_ms, stopping, self._source)
        finally:
            watching.cancel()

    def attach(self, playback: Playback) -> tuple[Callable[[], Awaitable[None]], Retraining]:
        """What makes the first models serve, and what retrains them."""
        retrainer = Retrainer(
            RetrainPlan.of(self._settings, self._source),
            playback.config.symbols,
            JobQueue(self._settings.jobs_dir),
            ModelStore(self._settings.model_store),
            playback.serving,
            playback.clock,
            playback.put,
            playback.taker_fee,
            paced=True,
        )

        async def loaded() -> None:
            retrainer.start()
            await retrainer.load_champions()

        return loaded, retrainer

    async def _watch(self, stopping: asyncio.Event) -> None:
        while not self._stop():  # noqa: ASYNC110 (a signal's handler sets it, not a task)
            await asyncio.sleep(0.2)
        stopping.set()


def write_candles(folder: Path, sources: Sequence[MarketSource], interval: str) -> None:
    """The markets' candles as parquet files, named by symbol, and their funding in one beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    settled: dict[str, list[Any]] = {"symbol": [], "funding_time": [], "funding_rate": []}
    for source in sources:
        rows = source.candles(interval, 0, source.end_ms - 1, source.end_ms)
        columns = {
            "open_time": [row.open_time_ms for row in rows],
            "open": [row.open for row in rows],
            "high": [row.high for row in rows],
            "low": [row.low for row in rows],
            "close": [row.close for row in rows],
            "volume": [row.volume for row in rows],
        }
        pq.write_table(pa.table(columns), folder / f"{source.instrument.symbol}.parquet")
        for at_ms, rate in source.settlements(source.end_ms):
            settled["symbol"].append(source.instrument.symbol)
            settled["funding_time"].append(at_ms)
            settled["funding_rate"].append(float(rate))
    pq.write_table(pa.table(settled), folder / FUNDING)
