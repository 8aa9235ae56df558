"""``tradebot compare``: two back-tests side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tradebot.cli.options import JsonOption
from tradebot.cli.output import json_line, line, paint, progress, table


def compare(
    a: Annotated[Path, typer.Argument(metavar="RUN", help="Directory of a run (backtest --out DIR).")],
    b: Annotated[Path, typer.Argument(metavar="RUN", help="The run it is compared with.")],
    as_json: JsonOption = False,
) -> None:
    """Figures of two back-tests, what they were given differently, and whether one earned more day by day.

    The difference is of daily returns on the days both lived through, with an interval by stationary bootstrap. Where
    windows, data or programs differ, it says so.
    """
    from tradebot.backtest.comparison import compare as comparison
    from tradebot.backtest.report.words import LABELS, figure, moment, share
    from tradebot.evaluation.headline import METRICS

    found = comparison(a, b)
    if as_json:
        json_line(found)
        return
    for text in found.cautions:
        progress(paint(f"caution: {text}", "warn"))
    names = (found.a, found.b) if found.a != found.b else (str(a), str(b))
    rows = [(LABELS[name][0], *(figure(name, value) for value in found.values(name))) for name in METRICS]
    rows.append(("Closed trades", f"{found.headline_a.trades:,}", f"{found.headline_b.trades:,}"))
    table(("figure", *names), rows, right=(1, 2))
    line()
    if found.same_decisions:
        line("both decided alike, to the byte")
    if found.settings:
        table(("given differently", *names), [(s.name, _shown(s.a), _shown(s.b)) for s in found.settings])
    else:
        line("both were given the same")
    line()
    if found.difference is None:
        line(f"too little to conclude from: {found.days} days in common; no difference can be told")
    else:
        d = found.difference
        line(
            f"{names[0]} less {names[1]}, {found.days} days from {moment(found.from_ms)} to {moment(found.to_ms)} UTC: "
            f"{share(d.mean, signed=True)} a day, {share(d.low, signed=True)} to {share(d.high, signed=True)} "
            f"({d.level:.0%}), probably better: {d.p_positive:.2f}"
        )
        if d.blocks < 10:
            line(f"too little to conclude from: {d.blocks:.1f} independent stretches of days, 10 are the least")
    progress(found.no_promise)


def _shown(value: object) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
