"""Recorded frames of other venues, as they came: time of receipt (ms) and bytes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

Frame = tuple[float, bytes]


def binance_frames(paths: Sequence[Path], per_ms: float) -> Iterator[Frame]:
    """Lines ``<time> <json>``; ``per_ms`` units of that time are a millisecond."""
    for path in paths:
        with gzip.open(path) as file:
            for line in file:
                stamp, _, body = line.partition(b" ")
                yield int(stamp) / per_ms, body.strip()


def wire_frames(path: Path, connection: str) -> Iterator[Frame]:
    """What one connection of a ``jsonl`` recording received."""
    with gzip.open(path) as file:
        for line in file:
            row = json.loads(line)
            if row["t"] == "recv" and row["conn"] == connection:
                yield row["ts"] * 1_000, row["data"].encode()
