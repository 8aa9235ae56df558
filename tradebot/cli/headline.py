"""A run's figures as a table for a terminal: value, interval, and what holding and chance would have given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tradebot.cli.output import progress

if TYPE_CHECKING:
    from tradebot.backtest.report import Report
    from tradebot.backtest.run import Run
    from tradebot.backtest.single import Progress, Spec
    from tradebot.evaluation.stress import StressPoint


def under_stress(
    folder: Path,
    spec: Spec,
    run: Run,
    store: Path,
    on_progress: Callable[[Progress], None],
    stop: Callable[[], bool],
) -> None:
    """Run the run in ``folder`` again under stress, with its models out of ``store``, and put the result beside it."""
    from tradebot.backtest.report import report_of
    from tradebot.backtest.report.documents import STRESSES, write_beside
    from tradebot.backtest.served import ServedBefore
    from tradebot.backtest.stress import run_stress
    from tradebot.evaluation.stress import STRESS

    done = 0

    def training() -> ServedBefore | None:
        return ServedBefore(store, run.models, run.settings_hash) if run.models else None

    def on_point(point: StressPoint) -> None:
        nonlocal done
        done += 1
        progress(f"backtest: {done} of {len(STRESS)} stressed runs: {point}")

    report = report_of(folder, draws=1)
    found = run_stress(spec, run, report, training, on_point=on_point, on_progress=on_progress, stop=stop)
    if found is None:
        progress("backtest: stopped, no figures under stress")
    else:
        write_beside(folder, STRESSES, found)


def warned(folder: Path, run: Run, store: Path) -> None:
    """Put beside the run in ``folder`` what makes its figures better than they are: models that knew its prices."""
    from tradebot.backtest.report.documents import CAUTIONS, Cautions, write_beside
    from tradebot.backtest.served import foresight

    found = foresight(store, run.models, run.config.interval)
    if found:
        write_beside(folder, CAUTIONS, Cautions(found))


def judged(folder: Path, *, kept: bool) -> RenderableType:
    """Judge the run in ``folder``, write its report beside it and give the figures; ``kept``: it stays there."""
    from tradebot.backtest.report import REPORT_HTML, write_report
    from tradebot.errors import DataError

    try:
        report = write_report(folder)
    except DataError as error:
        return Text(f"no figures: {error}", style="yellow")
    return render_headline(report, folder / REPORT_HTML if kept else None)


def render_headline(report: Report, page: Path | None = None) -> RenderableType:
    """What ``tradebot backtest`` says on stderr; ``page`` is where the whole report lies."""
    from tradebot.backtest.report.words import LABELS, UNKNOWN, amount, break_even, figure, interval, share
    from tradebot.evaluation.headline import METRICS, OF_TRADES
    from tradebot.evaluation.stress import StressPoint

    found = report.headline
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("")
    for name in ("run", f"{found.level:.0%} interval", "buy and hold", "random entries"):
        table.add_column(name, justify="right")
    mark = " †" if found.insufficient else ""
    for metric in METRICS:
        own = found.figures[metric]
        chance = report.random.figures.get(metric) if report.random else None
        table.add_row(
            LABELS[metric][0],
            Text(figure(metric, own.value) + (mark if own.value is not None else ""), style="bold"),
            interval(metric, own) or UNKNOWN,
            "" if metric in OF_TRADES else figure(metric, report.hold.value(metric)),
            "" if chance is None else figure(metric, chance.median),
        )
    costs = report.costs
    lines: list[RenderableType] = [
        table,
        Text(
            f"costs: {amount(costs.at_mid)} at the mid, slippage {amount(costs.slippage)}, fees {amount(costs.fees)}, "
            f"funding {amount(costs.funding)}, net {amount(costs.net)} USDT"
        ),
    ]
    said = [f"{found.trades:,} closed trades, {found.independent_trades:,} independent"]
    if report.deflated is not None:
        tries = "one try" if report.trials.count == 1 else f"{report.trials.count:,} tries"
        said.append(f"deflated Sharpe {report.deflated.probability:.2f} after {tries}")
    if report.against_hold is not None:
        said.append(f"P(better than holding) {report.against_hold.p_positive:.2f}")
    if report.random is not None:
        said.append(f"above {share(report.random.percentile)} of random entries")
    lines.append(Text("; ".join(said)))
    if report.stresses is not None:
        worst = min(report.stresses.rows, key=lambda row: row.net)
        even = report.stresses.break_even_cost
        text = f"worst under stress: {amount(worst.net)} USDT at {StressPoint(worst.cost, worst.delay_bars)}"
        lines.append(Text(f"{text}; {break_even(even)}" if even is not None else text))
    lines += [Text(f"caution: {text}", style="bold red") for text in report.cautions]
    lines += [Text(f"† too little to conclude from: {text}", style="yellow") for text in found.insufficient]
    lines.append(Text(report.no_promise, style="dim"))
    if page is not None:
        lines.append(Text(f"report: {page}"))
    return Group(*lines)
