"""Two runs side by side: what differs in what was asked, and by how much one earned more, day by day."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tradebot.backtest.report.facts import NO_PROMISE, trips_of
from tradebot.backtest.run import EquityCurve, Floats, Ints, Run, RunFolder, Trades
from tradebot.errors import DataError
from tradebot.evaluation.bootstrap import Interval, paired_difference
from tradebot.evaluation.headline import FOR_INTERVALS, Headline, MetricName, measure
from tradebot.evaluation.periods import days_of


class Setting(msgspec.Struct, frozen=True):
    """Something that the runs were given differently; None: one of them did not have it."""

    name: str
    a: Any
    b: Any


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Runs ``a`` and ``b``.

    ``headline_a`` and ``headline_b`` are figures of each run over the whole of its own window; ``difference`` is the
    mean of a's daily return less b's over the days that both lived through (fractions), None where those are fewer than
    three independent stretches. ``cautions`` say in words why the two may not be comparable; ``same_decisions``: both
    decided alike to the byte.
    """

    a: str
    b: str
    cautions: tuple[str, ...]
    settings: tuple[Setting, ...]
    same_decisions: bool
    from_ms: int
    to_ms: int
    days: int
    difference: Interval | None
    headline_a: Headline
    headline_b: Headline
    no_promise: str = NO_PROMISE

    def values(self, name: MetricName) -> tuple[float | None, float | None]:
        """One figure of both."""
        return self.headline_a.value(name), self.headline_b.value(name)


def compare(a: Path, b: Path, *, draws: int = 2_000) -> Comparison:
    """Compare the runs in two directories. Raises DataError where one cannot be read."""
    first, second = RunFolder(a), RunFolder(b)
    run_a, run_b = first.run(), second.run()
    curve_a, curve_b = first.equity(), second.equity()
    for path, curve in ((a, curve_a), (b, curve_b)):
        if len(curve.ts_ms) < 2:
            raise DataError(f"{path}: the run ended where it began; there is nothing to compare")
    from_ms = int(max(curve_a.ts_ms[0], curve_b.ts_ms[0]))
    to_ms = int(min(curve_a.ts_ms[-1], curve_b.ts_ms[-1]))
    headline_a = _headline(curve_a, first.trades(), draws)
    headline_b = _headline(curve_b, second.trades(), draws)
    difference, days = None, 0
    if to_ms > from_ms:
        days_a, days_b = (days_of(*_between(c, from_ms, to_ms)) for c in (curve_a, curve_b))
        days = len(days_a)
        block = max(headline_a.block_days, headline_b.block_days)
        if days / block >= FOR_INTERVALS:
            difference = paired_difference(days_a.returns, days_b.returns, block=block, draws=draws)
    return Comparison(
        a=run_a.name or a.name,
        b=run_b.name or b.name,
        cautions=_cautions(run_a, run_b, days),
        settings=_settings(run_a, run_b),
        same_decisions=bool(run_a.result.get("decisions_sha256"))
        and run_a.result.get("decisions_sha256") == run_b.result.get("decisions_sha256"),
        from_ms=from_ms,
        to_ms=max(to_ms, from_ms),
        days=days,
        difference=difference,
        headline_a=headline_a,
        headline_b=headline_b,
    )


def _headline(curve: EquityCurve, trades: Trades, draws: int) -> Headline:
    return measure(curve.ts_ms, curve.equity, trips_of(trades), draws=draws)


def _between(curve: EquityCurve, from_ms: int, to_ms: int) -> tuple[Ints, Floats]:
    """The curve from one moment to another, with a point at each (the newest one before, where none lies on it)."""
    inner = (curve.ts_ms > from_ms) & (curve.ts_ms < to_ms)
    ends = curve.equity[np.searchsorted(curve.ts_ms, [from_ms, to_ms], side="right") - 1]
    return (
        np.concatenate(([from_ms], curve.ts_ms[inner], [to_ms])),
        np.concatenate((ends[:1], curve.equity[inner], ends[1:])),
    )


def _cautions(a: Run, b: Run, days: int) -> tuple[str, ...]:
    found = []
    if (a.from_ms, a.to_ms) != (b.from_ms, b.to_ms):
        found.append(
            f"the windows differ: figures are of each run's own, the difference is of the {days} days in common"
        )
    if a.data_hash != b.data_hash:
        found.append("the market data differ")
    if set(a.symbols) != set(b.symbols):
        found.append(f"the symbols differ: {', '.join(a.symbols)} and {', '.join(b.symbols)}")
    if a.engine_hash != b.engine_hash:
        found.append("the programs that decided differ (engine hash)")
    if a.start_equity != b.start_equity:
        found.append(f"they began with {a.start_equity:,.2f} and {b.start_equity:,.2f} USDT")
    found += [f"{run.name}: was stopped before its end" for run in (a, b) if run.interrupted]
    return tuple(found)


def _settings(a: Run, b: Run) -> tuple[Setting, ...]:
    ours, theirs = _flat(a), _flat(b)
    return tuple(
        Setting(name, ours.get(name), theirs.get(name))
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    )


def _flat(run: Run) -> dict[str, Any]:
    """Everything a run was given, under dotted names."""
    found: dict[str, Any] = {}

    def put(name: str, value: Any) -> None:
        if isinstance(value, Mapping) and value:
            for key, inner in value.items():
                put(f"{name}.{key}" if name else str(key), inner)
        else:
            found[name] = value

    put("", msgspec.to_builtins(run.config, builtin_types=()))
    for name in ("seed", "source", "files", "strategy_hash", "settings_hash", "engine_hash", "data_hash"):
        put(name, getattr(run, name))
    for model in run.models:
        put(f"model of {model.symbol} ({model.name}) from {model.since_ms}", f"{model.version} {model.sha256[:12]}")
    return found
