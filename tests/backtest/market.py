"""Candle files of a random walk, for back-tests that need no recorded data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tradebot.backtest.single import Spec
from tradebot.events import EngineConfig
from tradebot.market.candle import DAY_MS

BAR_MS = 300_000
BEGIN_MS = 1_767_571_200_000
"""2026-01-05 00:00 UTC, a Monday."""
STRATEGIES = Path(__file__).parent / "strategies"


def random_walk(
    folder: Path, *, days: float, symbol: str = "SOLUSDT", seed: int = 1, reverting: float = 0.0, lively: bool = False
) -> Path:
    """A parquet file of 5-minute candles; with ``reverting`` a move is partly taken back by the next candle;
    ``lively``: volumes differ."""
    rng = np.random.default_rng(seed)
    rows = int(days * DAY_MS) // BAR_MS
    noise = rng.normal(0, 0.0015, rows)
    moves = noise.copy()
    for i in range(1, rows):
        moves[i] -= reverting * moves[i - 1]
    close = 100.0 * np.exp(np.cumsum(moves))
    opened = np.concatenate(([100.0], close[:-1]))
    reach = 1 + np.abs(rng.normal(0, 0.0005, rows))
    table = pa.table(
        {
            "open_time": BEGIN_MS + BAR_MS * np.arange(rows, dtype=np.int64),
            "open": opened,
            "high": np.maximum(opened, close) * reach,
            "low": np.minimum(opened, close) / reach,
            "close": close,
            "volume": 5_000.0 * (rng.lognormal(0, 0.5, rows) if lively else np.ones(rows)),
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{symbol}.parquet"
    pq.write_table(table, path)
    return path


def asked(path: Path, *, strategy: str = "drift", for_ms: int | None = None, **params: object) -> Spec:
    """A back-test of a strategy of this folder on a candle file; its last ``for_ms``."""
    config = EngineConfig(mode="demo", symbols=("SOLUSDT",), strategy=strategy, strategy_params=dict(params))
    return Spec(config=config, strategies_dir=STRATEGIES, name="r", data=(str(path),), for_ms=for_ms, history_days=10)
