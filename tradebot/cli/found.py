"""What a training or a judgement found: which file its candles are of, and what nobody had recorded beside them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from tradebot.errors import DataError, ModelError

if TYPE_CHECKING:
    from tradebot.jobs import JobResult, RetrainJob


def own_file(data: Path, symbol: str, interval: str, until_ms: int) -> str:
    """Which file of the folder ``data`` the candles of ``symbol`` up to ``until_ms`` (UTC) are taken from, as a line;
    empty for a single file, a data store, a file of the symbol's very name, and where none can be taken."""
    from tradebot.market.candle import INTERVAL_MS
    from tradebot.training import source_files, source_store

    if not data.is_dir() or source_store.is_store(data):
        return ""
    with contextlib.suppress(DataError):
        path = source_files.file_of(data, symbol, INTERVAL_MS[interval], until_ms)
        return "" if path.stem == symbol else f"{symbol}: candles of {path}"
    return ""


def unrecorded(job: RetrainJob, result: JobResult) -> str:
    """Which features of the version had no value in its training, as a line; empty where all had, or there is none."""
    from tradebot.registry import ModelKey, ModelStore

    if not result.version:
        return ""
    with contextlib.suppress(ModelError):
        key = ModelKey(result.symbol, result.model, result.interval)
        names = ModelStore(job.store).manifest(key, result.version).lineage.spec.get("absent")
        if names:
            return f"{result.symbol}: nobody recorded what these features are made of; they had no value: {names}"
    return ""
