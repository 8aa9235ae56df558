"""Retrain jobs as files: the daemon enqueues, a runner outside the trading process takes them."""

from __future__ import annotations

from tradebot.jobs.job import (
    CandleSource,
    Device,
    JobCosts,
    JobProgress,
    JobResult,
    JobState,
    ParquetSource,
    RestSource,
    RetrainJob,
    Verdict,
    job_id,
    moment_of,
)
from tradebot.jobs.queue import Claim, JobQueue

__all__ = [
    "CandleSource",
    "Claim",
    "Device",
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
    "moment_of",
]
