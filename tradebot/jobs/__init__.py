"""Retrain jobs as files: the daemon enqueues, a runner outside the trading process takes them."""

from __future__ import annotations

from tradebot.jobs.job import (
    CandleSource,
    JobCosts,
    JobProgress,
    JobResult,
    JobState,
    ParquetSource,
    RestSource,
    RetrainJob,
    Verdict,
    job_id,
)
from tradebot.jobs.queue import Claim, JobQueue

__all__ = [
    "CandleSource",
    "Claim",
    "JobCosts",
    "JobProgress",
    "JobQueue",
    "JobResult",
    "JobState",
    "ParquetSource",
    "RestSource",
    "RetrainJob",
    "Verdict",
    "job_id",
]
