"""Takes retrain jobs from a queue, outside the trading process.

``python -m tradebot.training.runner --queue DIR [--job ID]`` works as a child process or a systemd unit: it lowers its
own priority, caps its threads, prints one progress line per step on stderr, writes result files, and exits with the
last failure's code (interface.md section 1; 0 when every job was promoted, 3 when a gate refused).

Ctrl-C closes the running job as cancelled; SIGTERM puts it back. Nothing half-written is left either way.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from tradebot.errors import BusyError, GateNotPassed, TradebotError
from tradebot.jobs import Claim, JobProgress, JobQueue, JobResult, RetrainJob, Verdict
from tradebot.ops.files import disk_error

log = logging.getLogger(__name__)

Publish = Callable[[JobProgress], None]

INTERRUPTED = 130
NO_MEMORY = "out of memory; use fewer --days, a smaller --batch-size or a smaller net"
_NO_MEMORY_WORDS = (
    "bad_alloc", "bad allocation", "Failed to allocate memory", "not enough memory", "can't allocate memory",
    "out of memory", "CUBLAS_STATUS_ALLOC_FAILED",
)  # fmt: skip
"""What compiled libraries say instead of raising MemoryError."""
NICENESS = 10

_THREAD_CAPS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def run_job(
    job: RetrainJob,
    progress: Publish = lambda progress: None,
    stop: Callable[[], bool] = lambda: False,
    work: Path | None = None,
) -> JobResult:
    """Train, judge and perhaps promote one model in this process; ``work`` is where an interrupted run left its search.

    Every foreseeable failure becomes a result with one line of reason; the champion goes on serving. Only
    KeyboardInterrupt and SystemExit pass through.
    """
    from tradebot.training.progress import Cancelled, Progress

    started = time.monotonic()
    try:
        from tradebot.training.retrain import retrain

        return retrain(job, Progress(progress, stop), work)
    except Cancelled as cancelled:
        return closed(job, "cancelled", str(cancelled), cancelled.exit_code, started)
    except GateNotPassed as refused:
        return closed(job, "refused", str(refused), refused.exit_code, started)
    except TradebotError as error:
        return closed(job, "failed", str(error), error.exit_code, started)
    except MemoryError:
        return closed(job, "failed", NO_MEMORY, BusyError.exit_code, started)
    except OSError as error:
        told = disk_error("write", Path(error.filename or job.store), error)
        return closed(job, "failed", str(told), told.exit_code, started)
    except Exception as error:
        if any(words in str(error) for words in _NO_MEMORY_WORDS):
            return closed(job, "failed", NO_MEMORY, BusyError.exit_code, started)
        log.exception("job %s", job.id)
        return closed(job, "failed", f"unforeseen {type(error).__name__}: {error}; see the runner's log", 1, started)


def closed(job: RetrainJob, verdict: Verdict, reason: str, exit_code: int, started: float) -> JobResult:
    """The result of a job that produced no version."""
    return JobResult(
        id=job.id,
        symbol=job.symbol,
        model=job.model,
        verdict=verdict,
        promoted=False,
        reason=reason,
        exit_code=exit_code,
        took_s=time.monotonic() - started,
    )


def drain(
    queue: JobQueue, job_id: str | None = None, progress: Publish | None = None, *, recover: bool = True
) -> list[JobResult]:
    """Run every pending job, oldest first (or the named one). With ``recover`` jobs whose runner died are taken up
    again first."""
    if recover:
        queue.recover()
    results = []
    while (claim := queue.claim(job_id)) is not None:
        results.append(_run_claimed(claim, progress))
        if job_id is not None:
            break
    return results


def _run_claimed(claim: Claim, progress: Publish | None) -> JobResult:
    started = time.monotonic()

    def publish(step: JobProgress) -> None:
        claim.report(step)
        if progress is not None:
            progress(step)

    with claim:
        try:
            result = run_job(claim.job, publish, claim.cancelled, claim.work)
        except KeyboardInterrupt:
            claim.finish(closed(claim.job, "cancelled", "interrupted from the keyboard", INTERRUPTED, started))
            raise
        claim.finish(result)
    return result


def progress_line(step: JobProgress) -> str:
    """One line for a terminal or a log.

    >>> progress_line(JobProgress(stage="tune", done=2, total=6, message="loss 0.98", elapsed_s=4.2, eta_s=9.0))
    'tune 2/6  loss 0.98  4 s, about 9 s left'
    """
    left = "" if step.eta_s is None else f", about {step.eta_s:.0f} s left"
    count = f" {step.done}/{step.total}" if step.total > 1 else ""
    return f"{step.stage}{count}  {step.message}  {step.elapsed_s:.0f} s{left}"


def main(arguments: list[str] | None = None) -> int:
    """Entry point; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tradebot.training.runner", description="Run retrain jobs.")
    parser.add_argument("--queue", required=True, help="folder of the job queue")
    parser.add_argument("--job", help="run only this job")
    parser.add_argument(
        "--no-recover", action="store_true", help="leave what dead runners held to whoever started this one"
    )
    options = parser.parse_args(arguments)
    for name in _THREAD_CAPS:
        os.environ.setdefault(name, "1")
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        results = drain(
            JobQueue(options.queue),
            options.job,
            lambda step: print(progress_line(step), file=sys.stderr, flush=True),
            recover=not options.no_recover,
        )
    except KeyboardInterrupt:
        print("interrupted; the champion goes on serving", file=sys.stderr)
        return INTERRUPTED
    except TradebotError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    for result in results:
        print(f"{result.id}: {result.verdict}: {result.reason}", file=sys.stderr)
    if options.job is not None and not results:
        print(f"{options.job}: is not pending", file=sys.stderr)
        return 1
    return next((result.exit_code for result in reversed(results) if result.exit_code), 0)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
