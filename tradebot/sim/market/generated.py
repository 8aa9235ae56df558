"""A market made from a seed, with a signal planted in it: source (c) of the embedded exchange.

Nothing here was recorded, and the signal is there on purpose, so that a forecaster has something honest to find.
With 5-minute candles ``t`` and 9 moves inside each (its first point repeats the last close):

**Regimes.** A Markov chain over candles. Two of them are equally busy and differ in how many take part:

=======  =================  ======  ==========  ==============================================
regime   σ (bp per candle)  volume  mean stay   leaves to
=======  =================  ======  ==========  ==============================================
quiet    7                  0.6     60 candles  normal 0.7, crowded 0.15, thin 0.15
normal   12                 1.0     60 candles  quiet 0.5, crowded 0.25, thin 0.25
crowded  28                 5.0     50 candles  normal 0.55, quiet 0.25, thin 0.2
thin     28                 1.5     50 candles  normal 0.55, quiet 0.25, crowded 0.2
=======  =================  ======  ==========  ==============================================

**Order flow.** Signed flow is persistent, ``f_j = φ·f_{j-1} + √(1-φ²)·ε_j`` with ``φ = 0.6``, and visible: it tilts the
book. The mid moves by the linear impact of its *surprise*, ``Δ ln mid = (σ/3)·ε_j``: liquidity leans against the
predictable part (Lillo & Farmer 2004), so flow persistence alone forecasts nothing.
``ε_j = √ρ·c_j + √(1-ρ)·u_j + δ`` with ``c_j`` common to all symbols (``ρ = 0.4``) and ``u_j`` their own, both
standard normal.

**Planted signal.** ``δ`` is informed flow. It gives candle ``t+1`` the drift

    d(t+1) = κ · p · σ_busy · tanh(ret_3(t) / (√3·σ_busy)),

where ``ret_3(t) = ln(c_t / c_{t-3})``, ``σ_busy`` = 28 bp and ``p`` depends on the regime of candle ``t``: -1 where it
is crowded, +0.45 where it is thin, else 0. A run on much volume is taken back, a run on little goes on (Campbell,
Grossman & Wang 1993). ``κ = 0`` plants nothing. Which of the two a busy market is in shows in its volume, so the sign
of the signal is there for a forecaster that looks at both, while a rule of the past return alone meets either sign
about as often: over months the best of ten such rules keeps about a tenth of what the planted expectation earns.

Because ``ret_3`` overlaps from candle to candle, the drift persists, and the expected return over the next *two*
candles is ``d(t+1) + E[d(t+2)]``, which :meth:`GeneratedPath.planted_bp` computes. At the default ``κ = 1`` it reaches
55 bp; some 45 candles a day carry more than 16 bp, 25 on average against a standard deviation of 45. At a round-trip
cost of 14 bp the strong signals pay; the weak ones do not.

**Structural break.** From a moment on, where one is asked for, the two busy regimes trade places in ``p``: +0.45 where
the market is crowded, -1 where it is thin. As much is planted as before and every regime looks as it did, so nothing
but its losses tells a model of before that the relation it was fitted to no longer holds. By default there is none.

**Volume** of a candle: base · regime · time of day (±35 %) · log-normal noise (0.35) · (0.7 + 0.3·|move|/σ).
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tradebot.data.columns import utc
from tradebot.errors import ConfigError
from tradebot.market.candle import DAY_MS
from tradebot.sim.market.contract import Grid, contract, size_grid
from tradebot.sim.market.funding import FundingSchedule
from tradebot.sim.market.noise import stream_key
from tradebot.sim.market.path import POINTS, PathBlock, split
from tradebot.sim.market.path_market import PathMarket
from tradebot.sim.market.series import CandleColumns

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

INTERVAL = 300_000
KAPPA = 1.0
QUIET, NORMAL, CROWDED, THIN = 0, 1, 2, 3
BUSY_SIGMA = 28e-4
SIGMA = np.array([7e-4, 12e-4, BUSY_SIGMA, BUSY_SIGMA])
VOLUME = np.array([0.6, 1.0, 5.0, 1.5])
PULL = np.array([0.0, 0.0, -1.0, 0.45])
"""What a run of three candles does to the next one: where many trade it is taken back, where few do it goes on."""
PULL_AFTER_BREAK = PULL[[QUIET, NORMAL, THIN, CROWDED]]
STAY = (1 - 1 / 60, 1 - 1 / 60, 1 - 1 / 50, 1 - 1 / 50)
NEXT = np.array([[0.0, 0.7, 0.15, 0.15], [0.5, 0.0, 0.25, 0.25], [0.25, 0.55, 0.0, 0.2], [0.25, 0.55, 0.2, 0.0]])
"""Where a regime goes when it ends, row by row."""
FLOW_MEMORY = 0.6
COMMON_SHARE = 0.4
VOLUME_NOISE = 0.35
DAILY_SWING = 0.35
BASE_NOTIONAL = 3_000_000.0
MOVES = POINTS - 1

_LISTED = {"BTCUSDT": (90_000.0, 1), "ETHUSDT": (3_000.0, 2), "SOLUSDT": (130.0, 2), "XRPUSDT": (2.0, 4)}


def numbered_symbols(count: int) -> list[str]:
    """Names for many generated markets.

    >>> numbered_symbols(2)
    ['GEN000USDT', 'GEN001USDT']
    """
    return [f"GEN{number:03d}USDT" for number in range(count)]


def listing(symbol: str, seed: int) -> tuple[float, Grid]:
    """Opening price and tick of a generated symbol. Raises ConfigError for a name that is no USDT symbol."""
    if not re.fullmatch(r"[A-Z0-9]{2,15}USDT", symbol):
        raise ConfigError(f"unknown symbol {symbol}: generated markets are named like SOLUSDT")
    if symbol in _LISTED:
        price, decimals = _LISTED[symbol]
        return price, Grid(decimals)
    price = 10.0 ** (stream_key(seed, symbol, "price") % 2000 / 1000 - 0.5)
    return price, Grid(4 - math.floor(math.log10(price)))


@dataclass(frozen=True, slots=True)
class GeneratedPath:
    """A generated market's whole course: candles, the path that makes them, and what was planted.

    Rows are candles; ``ret`` is the log return close to close before rounding to ticks, ``drift`` its planted part.
    ``break_ms`` is the open time of the first candle after the structural break; None: there is none.
    """

    points: int
    candles: CandleColumns
    price_grid: Grid
    size_grid: Grid
    regime: Ints
    ret: Floats
    drift: Floats
    kappa: float
    break_ms: int | None
    ticks: Ints
    lots: Ints
    flow: Floats

    def block(self, first: int, last: int) -> PathBlock:
        return PathBlock(self.ticks[first:last], self.lots[first:last], self.flow[first:last])

    def planted_bp(self, close_ms: int) -> float:
        """Expected log return (bp) over the two candles after the candle that closes at ``close_ms``, given the past.

        ``d(t+1)`` is known; ``E[d(t+2)]`` is the mean over the next return, a Gauss–Hermite sum. Raises IndexError for
        a time that is no close of this market's candles.
        """
        t = int(np.searchsorted(self.candles.open_time, close_ms - INTERVAL))
        if t >= len(self.candles) or int(self.candles.open_time[t]) != close_ms - INTERVAL:
            raise IndexError(f"no candle closes at {utc(close_ms)}")
        return float(self.planted_bps()[t])

    def planted_bps(self) -> Floats:
        """:meth:`planted_bp` at every candle's close."""
        scale = math.sqrt(3) * BUSY_SIGMA
        before = np.concatenate(([0.0], self.ret[:-1]))
        sums = _sums_of_three(self.ret)
        opened = self.candles.open_time
        following = self.kappa * BUSY_SIGMA * _pulls(opened, self.break_ms, self.regime) * np.tanh(sums / scale)
        nodes, weights = np.polynomial.hermite_e.hermegauss(15)
        known = (self.ret + before + following)[:, None]
        run = np.tanh((known + BUSY_SIGMA * nodes) / scale) @ weights / weights.sum()
        pull = _pulls(opened + INTERVAL, self.break_ms, self.regime, _chances())
        planted: Floats = (following + self.kappa * BUSY_SIGMA * pull * run) * 1e4
        return planted


def _sums_of_three(ret: Floats) -> Floats:
    padded = np.concatenate(([0.0, 0.0], ret))
    sums: Floats = padded[2:] + padded[1:-1] + padded[:-2]
    return sums


def _chances() -> Floats:
    """Probabilities (from, to) of the regime at the next candle."""
    stay = np.array(STAY)
    chances: Floats = np.diag(stay) + (1 - stay)[:, None] * NEXT
    return chances


def _pulls(open_time: Ints, break_ms: int | None, regime: Ints, chances: Floats | None = None) -> Floats:
    """``p`` of candles in their regimes; with ``chances`` its expectation one candle after them."""
    tables = [PULL if chances is None else chances @ PULL]
    tables.append(PULL_AFTER_BREAK if chances is None else chances @ PULL_AFTER_BREAK)
    after = np.zeros(len(open_time), np.int64) if break_ms is None else (open_time >= break_ms).astype(np.int64)
    pulls: Floats = np.stack(tables)[after, regime]
    return pulls


def _regimes(draws: Floats) -> Ints:
    upto = np.cumsum(_chances(), axis=1)
    upto[:, -1] = 1.0
    bounds = upto.tolist()
    state, states = NORMAL, np.empty(draws.size, np.int64)
    for t, u in enumerate(draws.tolist()):
        state = bisect_right(bounds[state], u)
        states[t] = state
    return states


def generate(
    symbol: str, seed: int, first_ms: int, candles: int, *, kappa: float = KAPPA, break_ms: int | None = None
) -> GeneratedPath:
    """``candles`` 5-minute candles of ``symbol`` from ``first_ms`` on, by the model of the module's docstring.

    ``break_ms``: candles that open then or later lie after the structural break; None: there is none. The candles
    before it are the same with and without one. The same arguments give the same market in every process. Raises
    ConfigError for a name that is no USDT symbol.
    """
    price, ticks = listing(symbol, seed)
    lots = size_grid([np.zeros(1)], price)
    own = np.random.Generator(np.random.PCG64(stream_key(seed, symbol, "generated")))
    shared = np.random.Generator(np.random.PCG64(stream_key(seed, "", "generated")))
    regime = _regimes(own.random(candles))
    sigma = SIGMA[regime]
    surprise = math.sqrt(COMMON_SHARE) * shared.standard_normal((candles, MOVES))
    surprise += math.sqrt(1 - COMMON_SHARE) * own.standard_normal((candles, MOVES))

    per_move = math.sqrt(MOVES)
    undrifted = (surprise.sum(axis=1) * sigma / per_move).tolist()
    drift = np.zeros(candles)
    older = newer = d = 0.0
    open_time = first_ms + INTERVAL * np.arange(candles, dtype=np.int64)
    strength = (kappa * BUSY_SIGMA * _pulls(open_time, break_ms, regime)).tolist()
    scale = math.sqrt(3) * BUSY_SIGMA
    for t, move in enumerate(undrifted):
        drift[t] = d
        now = move + d
        d = strength[t] * math.tanh((older + newer + now) / scale) if strength[t] else 0.0
        older, newer = newer, now
    surprise += (drift / (sigma * per_move))[:, None]

    log_mid = math.log(price) + np.cumsum((surprise * (sigma / per_move)[:, None]).ravel()).reshape(surprise.shape)
    closes = log_mid[:, -1]
    path = np.concatenate((np.concatenate(([math.log(price)], closes[:-1]))[:, None], log_mid), axis=1)
    in_ticks = np.maximum(ticks.to_int(np.exp(path)), 1)

    memory = FLOW_MEMORY ** np.arange(24)
    flow = np.convolve(surprise.ravel(), memory * math.sqrt(1 - FLOW_MEMORY**2))[: surprise.size].reshape(
        surprise.shape
    )
    flow = np.concatenate((np.concatenate(([0.0], flow[:-1, -1]))[:, None], flow), axis=1)

    hour = (open_time % DAY_MS) / DAY_MS
    traded = BASE_NOTIONAL / price * VOLUME[regime] * (1 + DAILY_SWING * np.sin(2 * np.pi * (hour - 1 / 3)))
    traded *= np.exp(VOLUME_NOISE * own.standard_normal(candles) - VOLUME_NOISE**2 / 2)
    traded *= 0.7 + 0.3 * np.abs(surprise.sum(axis=1)) / per_move
    weights = 0.3 + 0.4 * own.random((candles, POINTS))
    weights[:, 1:] += np.abs(surprise)
    volume = np.maximum(lots.to_int(traded), POINTS)
    return GeneratedPath(
        points=POINTS,
        candles=CandleColumns(
            open_time,
            ticks.to_float(in_ticks[:, 0]),
            ticks.to_float(in_ticks.max(axis=1)),
            ticks.to_float(in_ticks.min(axis=1)),
            ticks.to_float(in_ticks[:, -1]),
            lots.to_float(volume),
            np.zeros(candles),
        ),
        price_grid=ticks,
        size_grid=lots,
        regime=regime,
        ret=np.diff(closes, prepend=math.log(price)),
        drift=drift,
        kappa=kappa,
        break_ms=break_ms,
        ticks=in_ticks,
        lots=split(volume, weights),
        flow=np.tanh(flow / 1.5),
    )


class GeneratedMarket(PathMarket):
    """A market over a generated path; ``plan`` tells what was planted."""

    def __init__(self, symbol: str, seed: int, plan: GeneratedPath, *, start_ms: int, end_ms: int) -> None:
        self.plan = plan
        super().__init__(
            contract(symbol, plan.price_grid, plan.size_grid),
            plan.candles,
            INTERVAL,
            plan,
            ticks=plan.price_grid,
            lots=plan.size_grid,
            funding=FundingSchedule(),
            key=stream_key(seed, symbol, "book"),
            start_ms=start_ms,
            end_ms=end_ms,
            description=(
                f"GENERATED market {symbol} (seed {seed}, nothing recorded, a signal planted with strength "
                f"{plan.kappa:g}{_broken(plan.break_ms)}), {utc(start_ms)} to {utc(end_ms)}"
            ),
        )


def _broken(break_ms: int | None) -> str:
    return "" if break_ms is None else f", its two busy regimes changed places on {utc(break_ms)}"


def generated_markets(
    symbols: Sequence[str],
    seed: int,
    *,
    start_ms: int,
    end_ms: int,
    history_days: int,
    kappa: float = KAPPA,
    break_days: int | None = None,
) -> list[GeneratedMarket]:
    """One generated market for each symbol, with ``history_days`` of candles before ``start_ms``.

    ``break_days``: the structural break lies that many days before ``start_ms``; None: there is none.
    """
    first_ms = start_ms - history_days * DAY_MS
    count = (end_ms - first_ms) // INTERVAL
    break_ms = None if break_days is None else start_ms - break_days * DAY_MS
    plans = [generate(symbol, seed, first_ms, count, kappa=kappa, break_ms=break_ms) for symbol in symbols]
    return [
        GeneratedMarket(symbol, seed, plan, start_ms=start_ms, end_ms=end_ms)
        for symbol, plan in zip(symbols, plans, strict=True)
    ]
