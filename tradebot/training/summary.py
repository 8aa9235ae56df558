"""What became of trainings of many symbols: ``training_summary.json`` and ``.csv`` beside the models.

The files tell of the newest training of each symbol, model and interval: another training replaces rows of its own and
keeps the others, each with the time when it was made. One that was not run replaces nothing: what it was to replace
stays among the earlier ones.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tradebot.data.columns import utc
from tradebot.errors import DataError
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
    """One symbol: ``status`` is the job's verdict, or "not run"; figures on its untouched rows. Nothing after
    ``as_of_ms`` was used; the row was made at ``made_ms`` (wall ms UTC)."""

    symbol: str
    model: str
    status: str
    interval: str = ""
    as_of_ms: int = 0
    made_ms: int = 0
    version: str = ""
    promoted: bool = False
    reason: str = ""
    exit_code: int = 0
    took_s: float = 0.0
    metrics: dict[str, dict[str, float | None]] = {}


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """One training, and what is kept of those before it. ``counts``: its symbols by status. ``as_of_ms``: nothing
    later was used. ``earlier``: rows of symbols, models and intervals that it did not train,
    also of those it was to train and did not run."""

    model: str
    interval: str
    as_of_ms: int
    counts: dict[str, int]
    symbols: dict[str, SymbolSummary]
    earlier: tuple[SymbolSummary, ...] = ()


def summarise(
    jobs: Sequence[RetrainJob], results: Mapping[str, JobResult], why_not: str, interval: str, made_ms: int
) -> Summary:
    """``results`` by job id; a job without one did not run, for the reason ``why_not``."""
    symbols = {job.symbol: _row(job, results.get(job.id), why_not, interval, made_ms) for job in jobs}
    counts: dict[str, int] = {}
    for row in symbols.values():
        counts[row.status] = counts.get(row.status, 0) + 1
    return Summary(
        model=jobs[0].model, interval=interval, as_of_ms=jobs[0].as_of_ms, counts=dict(sorted(counts.items())),
        symbols=symbols,
    )  # fmt: skip


def write_summary(summary: Summary, folder: Path) -> None:
    """Both files, each as a whole, with what they told of other symbols, models and intervals before.

    A row that a training gone on with had already made keeps its time. Raises BusyError when the disk is full,
    DataError when a file cannot be written, or when what is there is no summary: it is left as it is.
    """
    summary = _with_earlier(summary, _stored(folder / JSON_FILE))
    write_atomic(folder / JSON_FILE, msgspec.json.format(msgspec.json.encode(summary), indent=1) + b"\n")
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(
        ["symbol", "model", "interval", "status", "version", "promoted", "exit_code", "took_s", *FIGURES, "as_of",
         "made", "reason"]
    )  # fmt: skip
    for row in (*summary.symbols.values(), *summary.earlier):
        figures = [row.metrics.get(name, {}).get("value") for name in FIGURES]
        shown = ["" if value is None else f"{value:.6g}" for value in figures]
        table.writerow(
            [row.symbol, row.model, row.interval, row.status, row.version, row.promoted, row.exit_code,
             f"{row.took_s:.1f}", *shown, *(utc(ms) if ms else "" for ms in (row.as_of_ms, row.made_ms)), row.reason]
        )  # fmt: skip
    write_atomic(folder / CSV_FILE, text.getvalue().encode())


def _stored(file: Path) -> Summary | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Summary)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise DataError(f"{file}: is no summary ({error}); move it away, and the next training writes one") from error


def _with_earlier(summary: Summary, stored: Summary | None) -> Summary:
    if stored is None:
        return summary
    known = [
        msgspec.structs.replace(row, interval=row.interval or stored.interval, as_of_ms=row.as_of_ms or stored.as_of_ms)
        for row in (*stored.symbols.values(), *stored.earlier)
    ]
    by_key = {_key(row): row for row in known}
    symbols = {}
    for symbol, row in summary.symbols.items():
        before = by_key.get(_key(row), row)
        same = msgspec.structs.replace(before, made_ms=row.made_ms) == row
        if row.status != NOT_RUN or before.status == NOT_RUN:
            by_key.pop(_key(row), None)
        symbols[symbol] = before if same else row
    return msgspec.structs.replace(summary, symbols=symbols, earlier=tuple(sorted(by_key.values(), key=_key)))


def _key(row: SymbolSummary) -> tuple[str, str, str]:
    return row.symbol, row.model, row.interval


def _row(job: RetrainJob, result: JobResult | None, why_not: str, interval: str, made_ms: int) -> SymbolSummary:
    asked = SymbolSummary(
        symbol=job.symbol, model=job.model, status=NOT_RUN, interval=interval, as_of_ms=job.as_of_ms, made_ms=made_ms,
        reason=why_not,
    )  # fmt: skip
    if result is None:
        return asked
    return msgspec.structs.replace(
        asked,
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
