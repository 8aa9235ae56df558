"""Everything a report says about a run, computed once from its directory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from tradebot.backtest.report.costs import BASE_TIER_BP, Costs, Slippage, costs_of, slippage_of
from tradebot.backtest.report.documents import (
    CAUTIONS,
    STRESSES,
    TRIALS,
    WALK,
    Cautions,
    Stresses,
    Trials,
    Walk,
    read_beside,
)
from tradebot.backtest.run import EquityCurve, Floats, Ints, ModelUsed, Run, RunFolder, Trades
from tradebot.errors import DataError
from tradebot.evaluation.bootstrap import Interval, paired_difference
from tradebot.evaluation.headline import FOR_INTERVALS, Headline, measure
from tradebot.evaluation.overfitting import DeflatedSharpe, deflated_sharpe
from tradebot.evaluation.performance import drawdowns, sharpe
from tradebot.evaluation.periods import Days, days_of, drawdown_of
from tradebot.evaluation.round_trips import RoundTrips, profit_factor, win_rate
from tradebot.evaluation.stress import Luck, luck_of_days, luck_of_trades
from tradebot.evaluation.unskilled import RandomEntries, Turnover, buy_and_hold, held_forward, random_entries

NO_PROMISE = (
    "A back-test is no promise: markets change, recorded liquidity does not answer to our orders beyond what they "
    "take, and whoever tries often enough finds something that worked."
)
FORMAT = 1
ROLLING_DAYS = 30


class Group(msgspec.Struct, frozen=True):
    """Closed trades that have something in common, USDT and bp of what was entered."""

    name: str
    trades: int
    gross: float
    slippage: float
    fees: float
    funding: float
    net: float
    win_rate: float | None
    profit_factor: float | None
    expected_bp: float | None
    hold_hours: float | None


class Month(msgspec.Struct, frozen=True):
    """A month (UTC) or what of it lies in the run: return as a fraction, net of trades closed in it in USDT."""

    name: str
    days: int
    roi: float
    max_drawdown: float
    trades: int
    net: float


class WindowRow(msgspec.Struct, frozen=True):
    """A window of a walk-forward: what its test part earned (a fraction; net of trades closed in it, USDT)."""

    number: int
    from_ms: int
    to_ms: int
    roi: float
    trades: int
    net: float
    models: tuple[str, ...]


class Exposure(msgspec.Struct, frozen=True):
    """Open notional as a multiple of equity, over the whole run; ``in_market`` is the share of time with a position."""

    in_market: float
    mean_gross: float
    max_gross: float
    mean_net: float


class Day(msgspec.Struct, frozen=True):
    """A day's end, the equity then, and the day's return as a fraction."""

    end_ms: int
    equity: float
    roi: float


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What ``report.json`` holds.

    ``hold`` are the figures of buying and holding the run's symbols in equal parts, ``against_hold`` the mean
    difference of daily returns (fractions; ``p_positive``: how probable it is that the run earns more). ``deflated``
    takes off what ``trials`` tries give by luck. ``open_trades`` are in the curve and the costs, not among the trades'
    figures.
    """

    format: int = FORMAT
    no_promise: str = NO_PROMISE
    name: str
    source: str
    strategy: str
    parameters: dict[str, Any]
    symbols: tuple[str, ...]
    seed: int
    from_ms: int
    to_ms: int
    asked_to_ms: int
    interrupted: bool
    start_equity: float
    end_equity: float
    decisions_sha256: str
    hashes: dict[str, str]
    models: tuple[ModelUsed, ...]
    headline: Headline
    hold: Headline
    against_hold: Interval | None
    random: RandomEntries | None
    trials: Trials
    deflated: DeflatedSharpe | None
    luck_of_days: Luck
    luck_of_trades: Luck | None
    stresses: Stresses | None
    costs: Costs
    exposure: Exposure
    by_symbol: tuple[Group, ...]
    by_side: tuple[Group, ...]
    by_end: tuple[Group, ...]
    by_model: tuple[Group, ...]
    months: tuple[Month, ...]
    windows: tuple[WindowRow, ...] = ()
    cautions: tuple[str, ...] = ()
    days: tuple[Day, ...]
    open_trades: int


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """What plots need beside the report: curves at ``curve.ts_ms``, rolling Sharpe at the ends of days, the trades."""

    curve: EquityCurve
    hold: Floats
    drawdown: Floats
    rolling_ms: Ints
    rolling: Floats
    rolling_days: int
    trades: Trades


def report_of(path: Path, *, draws: int = 2_000) -> Report:
    """The report of the run in a directory. Raises DataError where it cannot be read or holds no time."""
    return judge_run(path, draws=draws)[0]


def judge_run(path: Path, *, draws: int = 2_000) -> tuple[Report, Series]:
    """The report and what its plots are drawn from."""
    folder = RunFolder(path)
    run, curve, trades = folder.run(), folder.equity(), folder.trades()
    if len(curve.ts_ms) < 2:
        raise DataError(f"{path}: the run ended where it began; there is nothing to judge")
    times, mids = folder.prices()
    slippage = slippage_of(folder, trades)
    costs = costs_of(trades, slippage)
    closed = trades.closed_ms > 0
    trips = trips_of(trades)
    days = days_of(curve.ts_ms, curve.equity)
    headline = measure(curve.ts_ms, curve.equity, trips, draws=draws)
    hold = buy_and_hold(
        np.stack([mids[symbol] for symbol in run.symbols], axis=1),
        capital=float(curve.equity[0]),
        cost_bp=BASE_TIER_BP if costs.cost_bp is None else max(costs.cost_bp, 0.0),
    )
    hold_days = days_of(times, hold)
    trials = read_beside(path, TRIALS, Trials) or Trials(count=1)
    window = ROLLING_DAYS if len(days) >= 2 * ROLLING_DAYS else max(5, len(days) // 3)
    report = Report(
        name=run.name,
        source=run.source,
        strategy=run.config.strategy,
        parameters=run.config.strategy_params,
        symbols=run.symbols,
        seed=run.seed,
        from_ms=run.from_ms,
        to_ms=run.to_ms,
        asked_to_ms=run.asked_to_ms,
        interrupted=run.interrupted,
        start_equity=float(curve.equity[0]),
        end_equity=float(curve.equity[-1]),
        decisions_sha256=str(run.result.get("decisions_sha256", "")),
        hashes={name: getattr(run, f"{name}_hash") for name in ("inputs", "data", "settings", "strategy", "engine")},
        models=run.models,
        headline=headline,
        hold=measure(times, hold, RoundTrips.none(), draws=draws),
        against_hold=paired_difference(days.returns, hold_days.returns, block=headline.block_days, draws=draws)
        if headline.blocks >= FOR_INTERVALS
        else None,
        random=_random(run, trades, times, mids, slippage, days, float(curve.equity[0]), draws),
        trials=trials,
        deflated=deflated_sharpe(days.returns, trials=trials.count, trial_sharpes=trials.sharpes),
        luck_of_days=luck_of_days(days, draws=draws),
        luck_of_trades=luck_of_trades(trips, days=headline.span_days, draws=draws),
        stresses=read_beside(path, STRESSES, Stresses),
        costs=costs,
        exposure=_exposure(curve),
        by_symbol=_groups(trades, slippage, trades.symbol, run.symbols),
        by_side=_groups(trades, slippage, trades.side, ("long", "short")),
        by_end=_groups(trades, slippage, trades.end),
        by_model=_groups(trades, slippage, _model_names(trades)),
        months=_months(days, trips),
        cautions=(*run.cautions, *(read_beside(path, CAUTIONS, Cautions) or Cautions(())).texts),
        windows=_windows(read_beside(path, WALK, Walk), run, curve, trips),
        days=tuple(
            Day(int(end), float(equity), float(roi))
            for end, equity, roi in zip(
                days.edge_ms[1:], curve.equity[0] * np.cumprod(days.growth), days.returns, strict=True
            )
        ),
        open_trades=int((~closed).sum()),
    )
    rolling = [sharpe(days.returns[k - window : k], periods_per_year=365) for k in range(window, len(days) + 1)]
    series = Series(
        curve=curve,
        hold=hold,
        drawdown=drawdowns(curve.equity),
        rolling_ms=days.edge_ms[window:],
        rolling=np.array([np.nan if value is None else value for value in rolling]),
        rolling_days=window,
        trades=trades,
    )
    return report, series


def trips_of(trades: Trades) -> RoundTrips:
    """Those trades of a run that were closed."""
    closed = trades.closed_ms > 0
    return RoundTrips.of(trades.opened_ms[closed], trades.closed_ms[closed], trades.net[closed], trades.net_bp[closed])


def _random(
    run: Run,
    trades: Trades,
    times: Ints,
    mids: dict[str, Floats],
    slippage: Slippage,
    days: Days,
    capital: float,
    draws: int,
) -> RandomEntries | None:
    closed = trades.closed_ms > 0
    step = float(np.median(np.diff(times)))
    turnover = []
    for symbol in run.symbols:
        prices = held_forward(mids[symbol])
        known = np.isfinite(prices)
        mine = closed & (trades.symbol == symbol)
        if not mine.any() or known.sum() < 2:
            continue
        lasted = (trades.closed_ms[mine] - trades.opened_ms[mine]) / step
        turnover.append(
            Turnover(
                prices=prices[known],
                day=days.day_of(times[known]).astype(np.int64),
                side=np.where(trades.side[mine] == "long", 1, -1).astype(np.int64),
                steps=np.maximum(np.round(lasted), 1).astype(np.int64),
                notional=trades.entry_notional[mine],
                # without funding: whether one is there when it is paid is a matter of when
                cost=slippage.usdt[mine] - trades.fees[mine],
            )
        )
    return random_entries(float(trades.net[closed].sum()), turnover, capital=capital, draws=draws, seed=run.seed)


def _exposure(curve: EquityCurve) -> Exposure:
    """Each row of the curve stands until the next; the last one for nothing."""
    lasting = np.diff(curve.ts_ms).astype(np.float64)
    share = lasting / lasting.sum()
    equity = np.maximum(curve.equity, 1e-9)
    gross, net = (curve.gross / equity)[:-1], (curve.net / equity)[:-1]
    return Exposure(
        in_market=float((share * (curve.gross[:-1] > 0)).sum()),
        mean_gross=float((share * gross).sum()),
        max_gross=float((curve.gross / equity).max()),
        mean_net=float((share * net).sum()),
    )


def _model_names(trades: Trades) -> np.ndarray[Any, np.dtype[np.str_]]:
    names = [
        f"{model} {version}".strip() or "no model"
        for model, version in zip(trades.model.tolist(), trades.version.tolist(), strict=True)
    ]
    return np.asarray(names, dtype=np.str_)


def _groups(
    trades: Trades, slippage: Slippage, key: np.ndarray[Any, np.dtype[np.str_]], names: Sequence[str] = ()
) -> tuple[Group, ...]:
    closed = trades.closed_ms > 0
    found = []
    for name in names or sorted(set(key[closed].tolist())):
        mine = closed & (key == name)
        net, count = trades.net[mine], int(mine.sum())
        hours = (trades.closed_ms[mine] - trades.opened_ms[mine]) / 3_600_000
        found.append(
            Group(
                name=name,
                trades=count,
                gross=float(trades.gross[mine].sum()),
                slippage=-float(slippage.usdt[mine].sum()),
                fees=float(trades.fees[mine].sum()),
                funding=float(trades.funding[mine].sum()),
                net=float(net.sum()),
                win_rate=win_rate(net),
                profit_factor=profit_factor(net),
                expected_bp=float(trades.net_bp[mine].mean()) if count else None,
                hold_hours=float(hours.mean()) if count else None,
            )
        )
    return tuple(found)


def _months(days: Days, trips: RoundTrips) -> tuple[Month, ...]:
    # a day is named by its middle: its edges may lie in the months beside it
    middle = (days.edge_ms[:-1] + days.edge_ms[1:]) // 2
    names = np.array([datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m") for ms in middle.tolist()])
    closed_in = names[days.day_of(trips.closed_ms)] if len(trips) else np.array([], dtype=np.str_)
    found = []
    for name in dict.fromkeys(names.tolist()):
        mine = names == name
        found.append(
            Month(
                name=name,
                days=int(mine.sum()),
                roi=float(np.prod(days.growth[mine]) - 1.0),
                max_drawdown=float(drawdown_of(days, np.flatnonzero(mine)[None, :])[0]),
                trades=int((closed_in == name).sum()),
                net=float(trips.net[closed_in == name].sum()) if len(trips) else 0.0,
            )
        )
    return tuple(found)


def _windows(walk: Walk | None, run: Run, curve: EquityCurve, trips: RoundTrips) -> tuple[WindowRow, ...]:
    found = []
    for window in () if walk is None else walk.windows:
        a, b = np.searchsorted(curve.ts_ms, [window.test_from_ms, window.test_to_ms], side="right") - 1
        closed = (trips.closed_ms > window.test_from_ms) & (trips.closed_ms <= window.test_to_ms)
        served = [m for m in run.models if window.test_from_ms <= m.since_ms < window.test_to_ms]
        found.append(
            WindowRow(
                number=window.number,
                from_ms=window.test_from_ms,
                to_ms=window.test_to_ms,
                roi=float(curve.equity[max(b, 0)] / curve.equity[max(a, 0)] - 1.0),
                trades=int(closed.sum()),
                net=float(trips.net[closed].sum()),
                models=tuple(f"{m.symbol} {m.name} {m.version}" for m in served),
            )
        )
    return tuple(found)
