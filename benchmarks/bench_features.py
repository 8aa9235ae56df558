"""P4 and P5: the feature kernel against pandas computing the same columns, alternating in one run.

    python -m benchmarks.bench_features [--repeats 7] [--candles FILE.parquet]

Batch: all rows of a history. Live: the row of one new candle; pandas has to recompute it from the candles since the
epoch, because a shorter tail gives other numbers. Without a file the candles are a seeded random walk. Views of bars
have no pandas twin; their figures stand alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pandas as pd

from tests.features.pandas_reference import reference_features
from tests.features.series import VIEW, batch, candles, columns, longer, random_walk
from tradebot.features.catalogue import NAMES
from tradebot.features.epoch import BAR_MS, MAX_HISTORY_BARS, MONDAY_MS, WEEK_MS
from tradebot.features.side import SIDE
from tradebot.features.views import VIEWS, View
from tradebot.market.candle import Candle

ROWS = 51_840
LIVE_CANDLES = 500


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def load(path: Path | None) -> pd.DataFrame:
    if path is None:
        return random_walk(ROWS)
    frame = pd.read_parquet(path)
    frame[list(SIDE)] = float("nan")
    past_monday = (frame.open_time - MONDAY_MS) % WEEK_MS
    return frame.iloc[int((past_monday == 0).argmax()) :].iloc[:ROWS].reset_index(drop=True)


def against(name: str, ours: Callable[[], float], theirs: Callable[[], float], repeats: int, unit: float) -> None:
    """Print medians of both (each returns seconds for one piece of work) and the median of their ratios."""
    pairs = [(ours(), theirs()) for _ in range(repeats)]
    fast, slow = median(a for a, _ in pairs), median(b for _, b in pairs)
    ratio = median(b / a for a, b in pairs)
    print(f"{name:<34}{fast * unit:>14.2f}{slow * unit:>14.1f}{ratio:>10.1f}x")


def alone(shown: View, frame: pd.DataFrame, repeats: int) -> None:
    """Print the batch and live figures of a view of bars."""
    arrays = columns(longer(frame, shown.bar_ms // BAR_MS))
    head, tail = [x[:-LIVE_CANDLES] for x in arrays], [x[-LIVE_CANDLES:] for x in arrays]
    live = [
        (Candle(int(t), float(o), float(h), float(low), float(c), float(v)), side)
        for t, o, h, low, c, v, side in zip(*tail, strict=True)
    ]
    shown.batch(*arrays)
    batches = [seconds(lambda: shown.batch(*arrays)) for _ in range(repeats)]
    lives = []
    for _ in range(repeats):
        state = shown.new()
        state.extend(*head)
        lives.append(seconds(lambda state=state: [state.update(*each) for each in live]) / LIVE_CANDLES)  # type: ignore[misc]
    print(f"{shown.name:<10}{len(arrays[0]):>8,} candles, ms {median(batches) * 1e3:>8.2f}", end="")
    print(f"{'one live candle, us':>26} {median(lives) * 1e6:>6.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="feature kernel against pandas")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--candles", type=Path, help="parquet file of 5m candles (default: a seeded random walk)")
    arguments = parser.parse_args()
    frame = load(arguments.candles)
    first = seconds(lambda: batch(*columns(frame.iloc[:1])))
    print(f"{len(NAMES)} columns; kernel ready after {first:.2f} s (compiled on the first run, then from disk)\n")
    print(f"{'':<34}{'kernel':>14}{'pandas':>14}{'faster':>11}")
    for rows in (4_032, 12_960, len(frame)):
        part = frame.iloc[:rows]
        arrays = columns(part)
        against(
            f"batch, {rows:,} candles, ms".replace(",", " ", 1),
            lambda arrays=arrays: seconds(lambda: batch(*arrays)),  # type: ignore[misc]
            lambda part=part: seconds(lambda: reference_features(part)),  # type: ignore[misc]
            arguments.repeats,
            1e3,
        )
    window = frame.iloc[:MAX_HISTORY_BARS]
    live = candles(frame.iloc[MAX_HISTORY_BARS : MAX_HISTORY_BARS + LIVE_CANDLES])

    def stream() -> float:
        state = VIEW.new()
        state.extend(*columns(window))
        return seconds(lambda: [state.update(candle) for candle in live]) / LIVE_CANDLES

    against("one live candle, us", stream, lambda: seconds(lambda: reference_features(window)), arguments.repeats, 1e6)
    print()
    for shown in VIEWS.values():
        if shown.name.startswith("bars"):
            alone(shown, frame, arguments.repeats)


if __name__ == "__main__":
    main()
