"""Where the money of a run went: what prices gave, and what spread, fees and funding took."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from tradebot.backtest.run import Floats, RunFolder, Trades

BASE_TIER_BP = 6.0
"""Taker fee of the base tier, for a run that never paid one."""


class Costs(msgspec.Struct, frozen=True):
    """Amounts in USDT over all trades, those still open included; costs are negative.

    ``at_mid`` is what they would have earned at the mids that were seen at their decisions; ``slippage`` what spread
    and the way to the book took from that; both make up the gross. ``unmeasured``: legs without a decision (stops,
    liquidations), whose slippage is not told apart from the price's move. ``turnover`` is entered and left notional.
    ``break_even_bp`` is the cost of one side, in bp of its notional, at which nothing would be earned; ``cost_bp`` what
    was paid.
    """

    at_mid: float
    slippage: float
    fees: float
    funding: float
    net: float
    turnover: float
    cost_bp: float | None
    break_even_bp: float | None
    legs: int
    unmeasured: int


@dataclass(frozen=True, slots=True)
class Slippage:
    """USDT that each trade lost between the mid at its decisions and its fills; 0 where there was no decision."""

    usdt: Floats
    legs: int
    unmeasured: int


def slippage_of(folder: RunFolder, trades: Trades) -> Slippage:
    """What every trade of the run lost to spread and slippage."""
    mids = _decision_mids(folder, trades)
    side = np.where(trades.side == "long", 1.0, -1.0)
    closed = trades.closed_ms > 0
    entry = np.array([mids.get(name, np.nan) for name in trades.entry_decision.tolist()])
    leave = np.array([mids.get(name, np.nan) for name in trades.exit_decision.tolist()])
    lost_in = side * (trades.entry_price - entry) * trades.qty
    lost_out = np.where(closed, side * (leave - trades.exit_price) * trades.qty, 0.0)
    unmeasured = int(np.isnan(lost_in).sum() + np.isnan(lost_out).sum())
    lost: Floats = np.nan_to_num(lost_in) + np.nan_to_num(lost_out)
    return Slippage(lost, len(trades) + int(closed.sum()), unmeasured)


def costs_of(trades: Trades, slippage: Slippage) -> Costs:
    """The break-down over all trades."""
    gross, fees, funding = (float(column.sum()) for column in (trades.gross, trades.fees, trades.funding))
    lost = float(slippage.usdt.sum())
    closed = trades.closed_ms > 0
    turnover = float(trades.entry_notional.sum() + (trades.qty * trades.exit_price)[closed].sum())
    return Costs(
        at_mid=gross + lost,
        slippage=-lost,
        fees=fees,
        funding=funding,
        net=gross + fees + funding,
        turnover=turnover,
        cost_bp=(lost - fees) / turnover * 1e4 if turnover else None,
        break_even_bp=(gross + lost + funding) / turnover * 1e4 if turnover else None,
        legs=slippage.legs,
        unmeasured=slippage.unmeasured,
    )


def _decision_mids(folder: RunFolder, trades: Trades) -> dict[str, float]:
    wanted = {*trades.entry_decision.tolist(), *trades.exit_decision.tolist()} - {""}
    mids: dict[str, float] = {}
    if wanted:
        for part in folder.decisions(("decision_id", "bid", "ask")):
            for name, bid, ask in zip(part["decision_id"], part["bid"], part["ask"], strict=True):
                if name in wanted and bid and ask:
                    mids[name] = (bid + ask) / 2
    return mids
