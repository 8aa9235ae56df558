"""The recorder: what a sealed row costs the loop, what the raw file and the parquet file take, and how long rolling is.

One symbol-day of 1 s × 10 levels goes through the real path: event → record → frame → memory, with the writing thread
at work; the reference appends the same 42 numbers packed to a file. Then the day is rolled into the store.

    python -m benchmarks.bench_recorder [--rows 86400] [--repeats 5]
"""

from __future__ import annotations

import argparse
import random
import statistics
import struct
import tempfile
import time
from pathlib import Path

from tradebot.data.recorder.raw import RawLog
from tradebot.data.recorder.recorder import Recorder
from tradebot.data.recorder.roll import roll
from tradebot.data.store import Store
from tradebot.events import BookSampled, FeedStatus
from tradebot.market.candle import DAY_MS

T0 = 1_767_571_200_000
PACKED = struct.Struct("<qq40d")


def rows(count: int) -> list[BookSampled]:
    """A book that walks by ticks of 0.01 and whose sizes change."""
    rng = random.Random(7)
    mid, made = 15_000, []
    for number in range(1, count + 1):
        mid += rng.choice((-1, 0, 0, 1))
        made.append(
            BookSampled(
                symbol="SOLUSDT",
                boundary_ms=T0 + 1_000 * number,
                age_ms=rng.randint(0, 99),
                bid_px=tuple((mid - i) / 100 for i in range(10)),
                bid_sz=tuple(rng.randint(1, 9_999) / 10 for _ in range(10)),
                ask_px=tuple((mid + 1 + i) / 100 for i in range(10)),
                ask_sz=tuple(rng.randint(1, 9_999) / 10 for _ in range(10)),
            )
        )
    return made


def product(folder: Path, events: list[BookSampled]) -> float:
    """Seconds on the calling thread for each row."""
    recorder = Recorder(RawLog(folder), ["SOLUSDT"], lambda: T0)
    recorder.start()
    recorder(0, T0, FeedStatus(symbol="SOLUSDT", ok=True))
    began = time.thread_time()
    for event in events:
        recorder(0, event.boundary_ms + 10, event)
    took = time.thread_time() - began
    recorder.stop()
    assert recorder.log.lost == 0
    return took / len(events)


def reference(path: Path, events: list[BookSampled]) -> float:
    """The same numbers packed and written, 64 KiB at a time."""
    began = time.thread_time()
    with path.open("ab", buffering=1 << 16) as file:
        for e in events:
            file.write(PACKED.pack(e.boundary_ms, e.age_ms, *e.bid_px, *e.bid_sz, *e.ask_px, *e.ask_sz))
    return (time.thread_time() - began) / len(events)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=DAY_MS // 1_000 - 1)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    events = rows(options.rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        costs: dict[str, list[float]] = {"tradebot": [], "packed file": []}
        for number in range(options.repeats):
            costs["tradebot"].append(product(folder / f"raw{number}", events))
            costs["packed file"].append(reference(folder / f"packed{number}", events))
        for stack, values in costs.items():
            print(f"{stack:<12} {1e6 * statistics.median(values):6.2f} µs a row on the caller's thread")
        (raw,) = (folder / "raw0").rglob("*.rec")
        raw_bytes = raw.stat().st_size
        began = time.perf_counter()
        done = roll(folder / "raw0", Store(folder / "store"), before="2026-01-06")
        took = time.perf_counter() - began
        assert (done.lost, done.problems) == (0, [])
        stored = sum(partition.bytes for partition in Store(folder / "store").partitions(channel="book_1s_l10"))
        print(f"raw file     {raw_bytes / 1e6:6.1f} MB, {raw_bytes / len(events):.0f} bytes a row")
        print(f"stored       {stored / 1e6:6.1f} MB, rolled in {took:.1f} s")


if __name__ == "__main__":
    main()
