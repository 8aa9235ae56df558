"""A run again under higher costs and with later decisions: the same market, models and seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from tradebot.backtest.report.documents import Stresses, StressRow
from tradebot.backtest.report.facts import Report, trips_of
from tradebot.backtest.run import Run
from tradebot.backtest.single import Outcome, Progress, Spec, Training, run_backtest
from tradebot.errors import DataError
from tradebot.evaluation.headline import Headline, measure
from tradebot.evaluation.stress import STRESS, StressPoint, break_even_cost, stressed


def run_stress(
    spec: Spec,
    run: Run,
    report: Report,
    training: Callable[[], Training | None],
    *,
    on_point: Callable[[StressPoint], None] = lambda point: None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    stop: Callable[[], bool] = lambda: False,
) -> Stresses | None:
    """The run of ``spec`` under every point of :data:`STRESS`. None when it was stopped.

    ``run`` and ``report`` are those of the plain point; ``training`` gives its models again for each other. Fees are
    multiplied; what spread and slippage took on average is added as often to the fee of takers, because the recorded
    book is what it is. Raises what ``run_backtest`` raises.
    """
    costs = report.costs
    slippage_bp = max(-costs.slippage / costs.turnover * 1e4, 0.0) if costs.turnover else 0.0

    def rerun(point: StressPoint) -> StressRow:
        if point == StressPoint():
            return _row(point, report.headline, report.end_equity - report.start_equity)
        harder = replace(
            spec,
            start_ms=run.from_ms,
            for_ms=run.asked_to_ms - run.from_ms,
            fee_times=Decimal(repr(point.cost)),
            slippage_bp=Decimal(repr(round((point.cost - 1) * slippage_bp, 6))),
            delay_bars=point.delay_bars,
        )
        outcome = run_backtest(harder, on_progress=on_progress, stop=stop, training=training())
        if outcome is None or outcome.run.interrupted:
            raise _Stopped
        return row_of(point, outcome)

    try:
        found = [s.result for s in stressed(rerun, STRESS, on_point)]
    except _Stopped:
        return None
    prompt = [row for row in found if row.delay_bars == 0]
    return Stresses(tuple(found), break_even_cost([row.cost for row in prompt], [row.net for row in prompt]))


class _Stopped(Exception):
    """Somebody asked to stop."""


def row_of(point: StressPoint, outcome: Outcome) -> StressRow:
    """The figures of one run."""
    curve, trades = outcome.equity, outcome.trades
    if len(curve.ts_ms) < 2:
        raise DataError("the run ended where it began; there is nothing to judge")
    found = measure(curve.ts_ms, curve.equity, trips_of(trades), draws=1)
    return _row(point, found, float(curve.equity[-1] - curve.equity[0]))


def _row(point: StressPoint, found: Headline, net: float) -> StressRow:
    return StressRow(
        cost=point.cost,
        delay_bars=point.delay_bars,
        roi=found.value("roi") or 0.0,
        net=net,
        sharpe=found.value("sharpe"),
        max_drawdown=found.value("max_drawdown") or 0.0,
        expected_bp=found.value("expected_bp"),
        trades=found.trades,
    )
