"""The two files of a report, beside the run they are about."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from tradebot.backtest.report.facts import Report, judge_run
from tradebot.backtest.report.page import page
from tradebot.ops.files import write_atomic

REPORT_JSON: Final = "report.json"
REPORT_HTML: Final = "report.html"


def write_report(path: Path, *, draws: int = 2_000) -> Report:
    """Judge the run in a directory and write ``report.json`` and ``report.html`` into it.

    Raises DataError where the run cannot be read or holds no time; DataError or BusyError when the disk refuses.
    """
    report, series = judge_run(path, draws=draws)
    write_atomic(path / REPORT_JSON, msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    write_atomic(path / REPORT_HTML, page(report, series).encode())
    return report
