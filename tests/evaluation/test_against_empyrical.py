"""Our figures beside those of empyrical-reloaded, a well-kept library, where the two define them alike.

Where they do not: it counts 252 days a year unless told otherwise (ours 365, markets never close); what is undefined is
``nan`` or ``inf`` there and None here; its drawdown is negative; it knows no trades.
"""

from __future__ import annotations

import math

import empyrical
import numpy as np
import pandas as pd
import pytest

from tradebot.evaluation.headline import FOR_A_YEAR, measure
from tradebot.evaluation.performance import cagr, equity, max_drawdown, sharpe, sortino
from tradebot.evaluation.round_trips import RoundTrips
from tradebot.market.candle import DAY_MS

SERIES = {
    "gains": np.random.default_rng(1).normal(0.002, 0.01, 365),
    "losses": np.random.default_rng(2).normal(-0.003, 0.02, 200),
    "fat tails": np.random.default_rng(3).standard_t(3, 730) * 0.01,
    "seldom in the market": np.where(np.arange(300) % 11, 0.0, np.random.default_rng(4).normal(0, 0.03, 300)),
    "a week": np.array([0.01, -0.02, 0.015, 0.0, -0.005, 0.03, -0.01]),
}


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.parametrize("per_year", [365, 8_760, 105_120])
def test_figures_of_returns_are_the_librarys(name: str, per_year: int) -> None:
    returns = SERIES[name]
    days = len(returns) * 365 / per_year
    assert sharpe(returns, periods_per_year=per_year) == pytest.approx(
        empyrical.sharpe_ratio(returns, annualization=per_year), rel=1e-12
    )
    assert sortino(returns, periods_per_year=per_year) == pytest.approx(
        empyrical.sortino_ratio(returns, annualization=per_year), rel=1e-12
    )
    assert max_drawdown(returns) == pytest.approx(-empyrical.max_drawdown(returns), rel=1e-12)
    theirs = empyrical.cagr(returns, annualization=per_year)
    ours = cagr(float(equity(returns)[-1]), days)
    assert theirs == math.inf if ours is None else ours == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("name", SERIES)
def test_a_run_is_judged_as_the_library_judges_its_daily_returns(name: str) -> None:
    returns = SERIES[name]
    times = np.arange(len(returns) + 1) * DAY_MS
    run = measure(times, 5_000.0 * np.concatenate(([1.0], equity(returns))), RoundTrips.none())
    series = pd.Series(returns, index=pd.to_datetime(times[1:], unit="ms"))
    assert run.value("roi") == pytest.approx(empyrical.cum_returns_final(series), rel=1e-9)
    if len(returns) >= FOR_A_YEAR:
        assert run.value("calmar") == pytest.approx(empyrical.calmar_ratio(series, annualization=365), rel=1e-9)
        assert run.value("cagr") == pytest.approx(empyrical.annual_return(series, annualization=365), rel=1e-9)
    assert run.value("sharpe") == pytest.approx(empyrical.sharpe_ratio(series, annualization=365), rel=1e-9)
    assert run.value("sortino") == pytest.approx(empyrical.sortino_ratio(series, annualization=365), rel=1e-9)


def test_where_the_library_counts_trading_days_of_an_exchange_that_closes_the_figures_part() -> None:
    returns = SERIES["gains"]
    ours = sharpe(returns, periods_per_year=365)
    assert ours is not None
    assert empyrical.sharpe_ratio(returns) == pytest.approx(ours * math.sqrt(252 / 365))


def test_where_nothing_is_defined_the_library_says_nan_or_infinity_and_we_say_nothing() -> None:
    assert math.isnan(empyrical.sharpe_ratio(np.array([0.01])))
    assert sharpe([0.01]) is None
    assert empyrical.sortino_ratio(np.array([0.01, 0.02])) == math.inf
    assert sortino([0.01, 0.02]) is None
