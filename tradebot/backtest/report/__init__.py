"""What a back-test was worth: figures with intervals beside baselines, as JSON and as a page that stands alone."""

from __future__ import annotations

from tradebot.backtest.report.facts import Report, Series, judge_run, report_of
from tradebot.backtest.report.write import REPORT_HTML, REPORT_JSON, write_report

__all__ = ["REPORT_HTML", "REPORT_JSON", "Report", "Series", "judge_run", "report_of", "write_report"]
