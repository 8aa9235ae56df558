"""From a walk to a version that may serve: the newest window's parameters, fitted and judged as any retraining is."""

from __future__ import annotations

from pathlib import Path

from tradebot.errors import DataError
from tradebot.forecasters.base import family
from tradebot.jobs import JobProgress, JobResult, RetrainJob
from tradebot.jobs.job import job_id
from tradebot.market.candle import DAY_MS, INTERVAL_MS
from tradebot.training.parity import MIN_ROWS
from tradebot.training.progress import Progress
from tradebot.training.retrain import retrain
from tradebot.training.walk.plan import WalkPlan
from tradebot.training.walk.run import Walked

WARM_UP_DAYS = 14
"""What features need before their first row."""


def deploy(plan: WalkPlan, walked: Walked, store: Path) -> JobResult:
    """Fit the newest window's parameters on the newest days and put the result before the gate.

    The newest window's fit, not the best one's: its training and test span, lengthened where they hold fewer rows than
    an export is proved on or fewer days to learn from than to judge. Judged are the last ``test_days`` of the candles,
    which no window chose its parameters by. Raises what ``retrain`` raises, and DataError where nothing was fitted.
    """
    if not walked.choices:
        raise DataError(f"{plan.model} by rule {plan.rule}: nothing was fitted, so there is nothing to deploy")
    kind = family(plan.model, plan.options, plan.interval)
    least = -(-(MIN_ROWS + 2 * kind.horizon_bars) * INTERVAL_MS[kind.interval] // DAY_MS)
    newest = walked.windows[-1]
    days = max((newest.test_to_ms - newest.train_from_ms) // DAY_MS, least, 2 * plan.test_days)
    end_ms = int(walked.market.candles.open_ms[-1]) + walked.market.bar_ms
    job = RetrainJob(
        id=job_id(plan.symbol, plan.model, plan.as_of_ms),
        symbol=plan.symbol,
        model=plan.model,
        as_of_ms=plan.as_of_ms,
        declared_ms=0,
        days=days + WARM_UP_DAYS,
        source=plan.source,
        store=str(store),
        seed=plan.seed,
        trials=1,
        rounds=plan.rounds,
        epochs=plan.rounds if kind.counts == "epochs" else None,
        threads=plan.threads,
        costs=plan.costs,
        cooldown_rows=plan.cooldown_rows,
        options=plan.options,
        params=walked.choices[-1].params,
        interval=kind.interval,
        test_from_ms=end_ms - plan.test_days * DAY_MS,
    )
    return retrain(job, Progress(_unheard))


def _unheard(step: JobProgress) -> None:
    """Nobody looks at the steps: it is one fit."""
