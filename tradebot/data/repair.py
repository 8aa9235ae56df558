"""Mending the store: what verification found is asked for again, and what cannot be mended is said."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from tradebot.data.channels import channel_of
from tradebot.data.checks import HARMLESS, SAYS, gaps, missing_rows, row_faults
from tradebot.data.collect import Outcome
from tradebot.data.columns import plural
from tradebot.data.merge import contradiction, merge
from tradebot.data.partition import Manifest, day_start
from tradebot.data.plan import Series
from tradebot.data.store import Store
from tradebot.data.verify import Problem
from tradebot.errors import DataError
from tradebot.market.candle import DAY_MS

Fetch = Callable[[Store, Series, Sequence[str]], Awaitable[Outcome]]
"""Fetches the days of a series into a store. Raises ExchangeError."""


@dataclass(slots=True)
class Repaired:
    """Lines about days that are sound now, and about those that are not or had something left to tell."""

    done: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Fetched:
    rows: pa.Table
    manifest: Manifest
    reason: str = ""


async def repair(
    store: Store, problems: Iterable[Problem], can_fetch: Callable[[Series], bool], fetch: Fetch
) -> Repaired:
    """Mend the days of ``problems`` (harmless ones are passed over).

    A day of a series that can be fetched is fetched whole, apart from the store, and put in place when it is sound:
    beside a mere gap the stored rows stand, otherwise the fetched ones replace them. Rows that the source lacks too
    are noted in the manifest.
    """
    result = Repaired()
    days: dict[Series, dict[str, list[Problem]]] = {}
    for problem in problems:
        if not problem.harmless:
            series = Series(problem.exchange, problem.channel, problem.symbol)
            days.setdefault(series, {}).setdefault(problem.date, []).append(problem)
    for series, wrong in days.items():
        if not can_fetch(series):
            result.left += [
                f"{series} {date}: not repaired ({', '.join(sorted({one.kind for one in found}))}): it cannot be "
                "fetched; import it again, or delete the file"
                for date, found in wrong.items()
            ]
            continue
        with tempfile.TemporaryDirectory(prefix="tradebot-repair-") as folder:
            apart = Store(folder)
            outcome = await fetch(apart, series, sorted(wrong))
            failed = outcome.failed.get(series)
            for date, found in wrong.items():
                _replace(store, apart, series, date, found, str(failed) if failed else "", result)
            result.left += [line for line in outcome.problems if not failed]
    return result


def _replace(
    store: Store, apart: Store, series: Series, date: str, found: list[Problem], failed: str, result: Repaired
) -> None:
    where = f"{series} {date}"
    path = f"{series.exchange}/{series.channel}/{series.symbol}/{date}.parquet"
    try:
        fetched, manifest = apart.load(path)
    except DataError:
        result.left.append(f"{where}: not repaired: {failed or 'the source has nothing for that day'}")
        return
    kind = channel_of(series.channel)
    faults = [f for f in row_faults(kind, fetched, day_start(date), DAY_MS) if f.fault not in HARMLESS]
    if faults:
        result.left.append(
            f"{where}: not repaired: the source itself has {plural(faults[0].rows, 'row')} {SAYS[faults[0].fault]}"
        )
        return
    before = None
    with contextlib.suppress(DataError):
        before = kind.conform(store.load(path)[0], where)
    rows = fetched
    if before is not None and {problem.kind for problem in found} == {"gap"}:
        merged = merge(kind, before, fetched, where)
        rows = merged.table
        if merged.differing:
            result.left.append(contradiction(where, merged.differing))
    elif before is not None and fetched.num_rows < before.num_rows:
        result.left.append(
            f"{where}: not repaired: the source has {plural(fetched.num_rows, 'row')}, stored are {before.num_rows}"
        )
        return
    begin = day_start(date)
    times = rows[kind.time].to_numpy()
    until = begin + DAY_MS if manifest.complete else int(times[-1]) + 1 if times.size else begin
    since = begin if manifest.complete else int(times[0]) if times.size else begin
    absent = missing_rows(kind, gaps(kind, times, since, until))
    store.rewrite(
        series.exchange, series.channel, series.symbol, date, rows,
        complete=manifest.complete, source=manifest.source, absent=absent,
    )  # fmt: skip
    what = f"{where}: {', '.join(sorted({problem.kind for problem in found}))} repaired, {plural(len(rows), 'row')}"
    if absent:
        result.left.append(f"{where}: {plural(absent, 'row')} missing at the source too; noted")
    else:
        result.done.append(what)
