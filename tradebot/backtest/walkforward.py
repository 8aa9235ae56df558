"""A walk-forward: fit on the past, trade the week after it, move on by a week; one run out of all the weeks.

Every window has a directory of its own, so that a walk that was stopped goes on where it was. What is judged is the run
put together from the test parts, in the directory above them: it is read, reported and compared like any other.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tradebot.backtest.report.documents import WALK, Walk, read_beside, write_beside
from tradebot.backtest.run import (
    DECISION_SCHEMA,
    DECISIONS,
    RUN,
    TRADE_COLUMNS,
    EquityCurve,
    Floats,
    Run,
    RunFolder,
    Trades,
    write_run,
)
from tradebot.backtest.single import Progress, Spec, Training, open_sources, run_backtest
from tradebot.errors import ConfigError, DataError
from tradebot.evaluation.walkforward import Window, end_to_end
from tradebot.market.candle import DAY_MS
from tradebot.ops.files import make_private

WINDOWS: Final = "windows"
_SCALED: Final = ("qty", "entry_notional", "gross", "fees", "funding", "net")


@dataclass(frozen=True, slots=True)
class Fitted:
    """What trades a window: the back-test to run there, and who brings its models."""

    spec: Spec
    training: Training | None = None


Fit = Callable[[Window], Fitted | None]
"""Fits what trades a window; only what lies before its test part may be looked at. None: stopped."""


def span_of(spec: Spec) -> tuple[int, int]:
    """The first and the last moment (ms) that all markets of recorded files have; days are cut at 00:00 UTC.

    Raises DataError for unusable files.
    """
    sources = open_sources(replace(spec, for_ms=None, start_ms=None))
    end = min(source.end_ms for source in sources)
    firsts = []
    for source in sources:
        candles = source.candles(spec.config.interval, 0, end, end)
        if not candles:
            raise DataError(f"{source.description}: holds no candles")
        firsts.append(candles[0].open_time_ms)
    return -(-max(firsts) // DAY_MS) * DAY_MS, end


def walk_forward(
    spec: Spec,
    windows: Sequence[Window],
    fit: Fit,
    out: Path,
    *,
    asked: str,
    on_window: Callable[[Window, bool], None] = lambda window, done: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    stop: Callable[[], bool] = lambda: False,
) -> Run | None:
    """Fit and trade every window in turn, then write the run put together into ``out``. None: it was stopped.

    ``asked`` tells one walk from another: a directory in which another one was begun is refused. ``on_window`` is told
    before (False) and after (True) each. Raises ConfigError for such a directory and what ``run_backtest`` raises.
    """
    _begin(out, Walk(asked=asked, from_ms=windows[0].train_from_ms, to_ms=windows[-1].test_to_ms, windows=(*windows,)))
    folders = []
    for window in windows:
        folder = out / WINDOWS / f"w{window.number:03d}"
        folders.append(folder)
        if _is_done(folder):
            on_window(window, True)
            continue
        on_window(window, False)
        fitted = None if stop() else fit(window)
        if fitted is None:
            return None
        shutil.rmtree(folder, ignore_errors=True)
        week = replace(fitted.spec, start_ms=window.test_from_ms, for_ms=window.test_to_ms - window.test_from_ms)
        outcome = run_backtest(week, out=folder, on_progress=on_progress, stop=stop, training=fitted.training)
        if outcome is None or outcome.run.interrupted:
            return None
        on_window(window, True)
    return put_together(folders, out, name=spec.name)


def put_together(folders: Sequence[Path], out: Path, *, name: str) -> Run:
    """Write the run that the runs in ``folders`` make up, one after the other, into ``out``.

    Each went with the same cash; together they go on with what the one before left, so amounts are scaled to that.
    Raises DataError where one cannot be read.
    """
    runs = [RunFolder(folder) for folder in folders]
    heads = [folder.run() for folder in runs]
    curves = [folder.equity() for folder in runs]
    times, equity = end_to_end([(curve.ts_ms, curve.equity) for curve in curves])
    scales = _scales(curves)
    parts = [_after(curve, previous) for curve, previous in zip(curves, [None, *curves[:-1]], strict=True)]
    first = heads[0]

    def joined(column: str) -> Floats:
        scaled = [
            getattr(curve, column)[part] * scale for curve, part, scale in zip(curves, parts, scales, strict=True)
        ]
        return np.concatenate(scaled)

    symbols = tuple(dict.fromkeys(symbol for head in heads for symbol in head.symbols))
    prices = {
        symbol: np.concatenate([_mids(r, symbol, part) for r, part in zip(runs, parts, strict=True)])
        for symbol in symbols
    }
    whole = EquityCurve(times, equity, joined("balance"), joined("gross"), joined("net"))
    trades = _trades(runs, scales)
    (out / RUN).unlink(missing_ok=True)
    _write_decisions(runs, out)
    run = msgspec.structs.replace(
        first,
        name=name or first.name,
        source=f"{len(heads)} windows of a walk-forward, one after the other; of the first: {first.source}",
        symbols=symbols,
        to_ms=heads[-1].to_ms,
        asked_to_ms=heads[-1].asked_to_ms,
        data_hash=first.data_hash if len(heads) == 1 else _together([head.data_hash for head in heads]),
        inputs_hash=_together([head.inputs_hash for head in heads]),
        models=tuple(model for head in heads for model in head.models),
        result=_result(heads, float(equity[-1])),
        cautions=tuple(dict.fromkeys(text for head in heads for text in head.cautions)),
    )
    write_run(out, run, whole, prices, trades)
    return run


# --- inside ---------------------------------------------------------------------------------------------------------


def _begin(out: Path, walk: Walk) -> None:
    before = read_beside(out, WALK, Walk)
    if before is None:
        if out.exists() and any(out.iterdir()):
            raise ConfigError(f"--out {out}: exists and holds no walk-forward; choose another directory")
        make_private(out)
        write_beside(out, WALK, walk)
    elif before != walk:
        raise ConfigError(f"--out {out}: another walk-forward was begun there; choose another directory")


def _is_done(folder: Path) -> bool:
    return (folder / RUN).exists() and not RunFolder(folder).run().interrupted


def _scales(curves: Sequence[EquityCurve]) -> list[float]:
    scales, at = [], float(curves[0].equity[0])
    for curve in curves:
        scales.append(at / float(curve.equity[0]))
        at *= float(curve.equity[-1]) / float(curve.equity[0])
    return scales


def _after(curve: EquityCurve, previous: EquityCurve | None) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Rows of a curve that the one before does not tell of: as ``end_to_end`` takes them."""
    return np.ones(len(curve.ts_ms), dtype=np.bool_) if previous is None else curve.ts_ms > previous.ts_ms[-1]


def _mids(folder: RunFolder, symbol: str, part: np.ndarray[Any, np.dtype[np.bool_]]) -> Floats:
    _, mids = folder.prices()
    return mids[symbol][part] if symbol in mids else np.full(int(part.sum()), np.nan)


def _trades(runs: Sequence[RunFolder], scales: Sequence[float]) -> Trades:
    """All trades, closed ones first. A trade that was open when its window ended was left to nobody: it stays open."""
    tables = []
    for number, (folder, scale) in enumerate(zip(runs, scales, strict=True), start=1):
        trades = folder.trades()
        columns = {name: getattr(trades, name) for name in TRADE_COLUMNS}
        columns |= {name: columns[name] * scale for name in _SCALED}
        for name in ("entry_decision", "exit_decision"):
            columns[name] = np.array([_named(number, text) for text in columns[name].tolist()], dtype=np.str_)
        tables.append(columns)
    whole = {name: np.concatenate([table[name] for table in tables]) for name in TRADE_COLUMNS}
    order = np.argsort(whole["closed_ms"] == 0, kind="stable")
    return Trades(**{name: column[order] for name, column in whole.items()})


def _write_decisions(runs: Sequence[RunFolder], out: Path) -> None:
    """Decisions of all windows; ids begin with the number of the window, because every window counts from 1."""
    partial = out / f"{DECISIONS}.partial"
    with pq.ParquetWriter(partial, DECISION_SCHEMA, compression="zstd") as writer:
        for batch in _decisions(runs):
            writer.write_batch(batch)
    partial.replace(out / DECISIONS)


def _decisions(runs: Sequence[RunFolder]) -> Iterator[pa.RecordBatch]:
    for number, folder in enumerate(runs, start=1):
        for part in folder.decisions():
            columns = dict(part)
            columns["decision_id"] = [_named(number, text) for text in columns["decision_id"]]
            arrays = [pa.array(columns[field.name], type=field.type) for field in DECISION_SCHEMA]
            yield pa.record_batch(arrays, schema=DECISION_SCHEMA)


def _named(number: int, decision_id: str) -> str:
    return f"w{number:03d}-{decision_id}" if decision_id else ""


def _together(hashes: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(hashes).encode()).hexdigest()


def _result(heads: Sequence[Run], equity: float) -> dict[str, Any]:
    counted = ("events", "candles", "forecasts", "signals", "blocked", "orders", "fills", "trades")
    return {
        "windows": len(heads),
        "from": heads[0].from_ms,
        "to": heads[-1].to_ms,
        "symbols": list(heads[0].symbols),
        "decisions_sha256": _together([str(head.result.get("decisions_sha256", "")) for head in heads]),
        "equity": str(equity),
        **{name: sum(int(head.result.get(name) or 0) for head in heads) for name in counted},
        "reconcile": {
            name: all(head.result.get("reconcile", {}).get(name, True) for head in heads)
            for name in heads[0].result.get("reconcile", {})
        },
    }
