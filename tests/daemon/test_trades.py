"""What the round trips of a run earned."""

from __future__ import annotations

from decimal import Decimal
from itertools import count

import pytest

from tradebot.daemon.trades import Trades
from tradebot.events import Filled, FundingPaid, Record
from tradebot.market.instrument import Side

_numbers = count(1)


def fill(side: Side, qty: str, price: str, fee: str = "0") -> Filled:
    number = str(next(_numbers))
    return Filled(
        trade_id=number, order_id=number, client_oid=number, symbol="SOLUSDT", side=side, price=Decimal(price),
        qty=Decimal(qty), fee=Decimal(fee), realised=Decimal(0), maker=False, ts_exchange_ms=0,
    )  # fmt: skip


def funding(amount: str) -> FundingPaid:
    return FundingPaid(bill_id=f"b{next(_numbers)}", symbol="SOLUSDT", amount=Decimal(amount), ts_exchange_ms=0)


def seen(*records: Record) -> Trades:
    trades = Trades()
    for record in records:
        trades(0, 0, record)
    return trades


def test_a_trade_is_a_position_from_flat_to_flat_after_fees_and_funding() -> None:
    trades = seen(
        fill("buy", "6", "100", "-0.36"), fill("buy", "4", "100", "-0.24"), funding("-0.40"),
        fill("sell", "10", "101", "-0.60"),
    )  # fmt: skip
    assert trades.closed == 1
    # 1000 entered; 10 gained, 1.20 fees, 0.40 funding
    assert trades.net_bp() == pytest.approx(84.0)


def test_what_is_still_open_is_no_trade_yet() -> None:
    assert seen().net_bp() is None
    half = seen(fill("sell", "4", "100", "-1"), fill("buy", "2", "90"))
    assert (half.closed, half.net_bp()) == (0, None)


def test_a_fill_through_zero_ends_one_trade_and_begins_another() -> None:
    trades = seen(fill("buy", "1", "100"), fill("sell", "3", "110"), fill("buy", "2", "110"))
    assert trades.closed == 2
    assert trades.net_bp() == pytest.approx(10 / (100 + 220) * 1e4)


def test_an_execution_that_is_reported_twice_counts_once() -> None:
    entry, leave, paid = fill("buy", "1", "100"), fill("sell", "1", "101"), funding("-1")
    trades = seen(entry, entry, paid, paid, leave, leave)
    assert (trades.closed, trades.net_bp()) == (1, 0.0)
