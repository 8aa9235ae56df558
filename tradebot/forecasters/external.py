"""Columns that come from elsewhere (sentiment, a survey), joined to candles by the time at which they were known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tradebot.duration import Duration
from tradebot.errors import ConfigError, DataError
from tradebot.forecasters.base import Rows, Times

TIME = "time"


@dataclass(frozen=True, slots=True, eq=False)
class External:
    """Rows ``values`` (M, K) float32 that tell of the moments ``at_ms`` and are known ``delay_ms`` after them."""

    path: Path
    delay_ms: int
    names: tuple[str, ...]
    at_ms: Times
    values: Rows

    @classmethod
    def of(cls, path: str, delay: str) -> External:
        """Read a parquet file with a column ``time`` (int64 ms UTC, ascending) and numbers beside it.

        Raises DataError for an unusable file, ConfigError for a delay that is none.
        """
        try:
            delay_ms = Duration.parse(delay).ms
        except (ValueError, OverflowError) as error:
            raise ConfigError(f"external_delay: {error}") from None
        file = Path(path)
        try:
            table = pq.read_table(file)
        except (OSError, pa.ArrowInvalid) as error:
            raise DataError(f"{file}: cannot be read as parquet ({str(error).splitlines()[0]})") from error
        names = [name for name in table.column_names if name != TIME]
        if TIME not in table.column_names or not names:
            raise DataError(f"{file}: external columns need a column {TIME!r} (ms UTC) and one beside it at least")
        for name in table.column_names:
            kind = table.schema.field(name).type
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
                raise DataError(f"{file}: column {name!r} holds {kind}, not numbers")
        at_ms = table.column(TIME).to_numpy().astype(np.int64)
        if len(at_ms) == 0 or (np.diff(at_ms) <= 0).any():
            raise DataError(f"{file}: {TIME!r} must ascend, without a moment twice; sort the file")
        columns = [table.column(name).to_numpy().astype(np.float32) for name in names]
        return cls(file, delay_ms, tuple(f"external:{name}" for name in names), at_ms, np.stack(columns, axis=1))

    def known_at(self, moments_ms: Times) -> Rows:
        """The newest row known at each moment (N, K); NaN before the first."""
        newest = np.searchsorted(self.at_ms + self.delay_ms, moments_ms, side="right") - 1
        known: Rows = np.where((newest >= 0)[:, None], self.values[np.maximum(newest, 0)], np.float32(np.nan))
        return known
