"""What became of a training of many symbols: ``training_summary.json`` and ``.csv`` beside the models."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tradebot.jobs import JobResult, RetrainJob
from tradebot.ops.files import write_atomic

JSON_FILE, CSV_FILE = "training_summary.json", "training_summary.csv"
FIGURES = (
    "move_auc", "direction_auc", "decided_accuracy", "log_loss_skill", "net_bp_per_trade", "trades", "mase",
    "direction_accuracy", "rows",
)  # fmt: skip
"""Columns of the table; the JSON file has them all."""
NOT_RUN = "not run"


class SymbolSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One symbol: ``status`` is the job's verdict, or "not run"; figures on its untouched rows."""

    symbol: str
    model: str
    status: str
    version: str = ""
    promoted: bool = False
    reason: str = ""
    exit_code: int = 0
    took_s: float = 0.0
    metrics: dict[str, dict[str, float | None]] = {}


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """``counts``: symbols by status. ``as_of_ms``: nothing later was used."""

    model: str
    interval: str
    as_of_ms: int
    counts: dict[str, int]
    symbols: dict[str, SymbolSummary]


def summarise(jobs: Sequence[RetrainJob], results: Mapping[str, JobResult], why_not: str, interval: str) -> Summary:
    """``results`` by job id; a job without one did not run, for the reason ``why_not``."""
    symbols = {job.symbol: _row(job, results.get(job.id), why_not) for job in jobs}
    counts: dict[str, int] = {}
    for row in symbols.values():
        counts[row.status] = counts.get(row.status, 0) + 1
    return Summary(
        model=jobs[0].model, interval=interval, as_of_ms=jobs[0].as_of_ms, counts=dict(sorted(counts.items())),
        symbols=symbols,
    )  # fmt: skip


def write_summary(summary: Summary, folder: Path) -> None:
    """Both files, each as a whole. Raises BusyError when the disk is full, DataError when it cannot be written."""
    write_atomic(folder / JSON_FILE, msgspec.json.format(msgspec.json.encode(summary), indent=1) + b"\n")
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["symbol", "model", "status", "version", "promoted", "exit_code", "took_s", *FIGURES, "reason"])
    for row in summary.symbols.values():
        figures = [row.metrics.get(name, {}).get("value") for name in FIGURES]
        shown = ["" if value is None else f"{value:.6g}" for value in figures]
        table.writerow(
            [row.symbol, row.model, row.status, row.version, row.promoted, row.exit_code, f"{row.took_s:.1f}", *shown,
             row.reason]
        )  # fmt: skip
    write_atomic(folder / CSV_FILE, text.getvalue().encode())


def _row(job: RetrainJob, result: JobResult | None, why_not: str) -> SymbolSummary:
    if result is None:
        return SymbolSummary(symbol=job.symbol, model=job.model, status=NOT_RUN, reason=why_not)
    return SymbolSummary(
        symbol=job.symbol,
        model=job.model,
        status=result.verdict,
        version=result.version,
        promoted=result.promoted,
        reason=result.reason,
        exit_code=result.exit_code,
        took_s=result.took_s,
        metrics={
            name: {"value": m.value, "low": m.low, "high": m.high, "baseline": m.baseline}
            for name, m in result.metrics.items()
        },
    )
