"""The account's money and its bills as REST and the ``account`` channel write them (protocol sections 7.1 and 7.8)."""

from __future__ import annotations

from tradebot.market.instrument import ZERO
from tradebot.matching.arithmetic import exactly, money
from tradebot.matching.reports import AccountSummary, Bill
from tradebot.sim.wire import MARGIN_COIN, Row, plain


def account_row(summary: AccountSummary) -> Row:
    """What ``account`` and ``accounts`` share."""
    free = plain(summary.free)
    return {
        **_money(summary),
        "locked": plain(summary.locked),
        "crossedMaxAvailable": free,
        "isolatedMaxAvailable": free,
        "accountEquity": plain(summary.equity),
        "btcEquity": "0",
        "coupon": "0",
        "crossedUnrealizedPL": plain(summary.crossed_unrealised),
        "isolatedUnrealizedPL": plain(summary.isolated_unrealised),
        "assetMode": "single",
        "grant": "",
    }


def accounts_row(summary: AccountSummary) -> Row:
    """A row of ``accounts``."""
    return {
        **account_row(summary),
        **_UNION,
        "assetList": [],
        "isolatedMargin": plain(summary.isolated_margin),
        "crossedMargin": plain(summary.crossed_margin),
    }


def account_push(summary: AccountSummary) -> Row:
    """A row of the ``account`` channel."""
    return {
        **_money(summary),
        **_UNION,
        "frozen": plain(summary.locked),
        "maxOpenPosAvailable": plain(summary.free),
        "equity": plain(summary.equity),
        "assetsMode": "single",
    }


def bill_row(bill: Bill) -> Row:
    """A row of ``account/bill``."""
    return {
        "billId": bill.bill_id,
        "symbol": bill.symbol,
        "amount": plain(bill.amount),
        "fee": plain(bill.fee),
        "feeByCoupon": "",
        "businessType": bill.business,
        "coin": MARGIN_COIN,
        "balance": plain(bill.balance),
        "cTime": str(bill.ts_ms),
    }


_UNION = {"unionTotalMargin": "0", "unionAvailable": "0", "unionMm": "0"}
"""Multi-currency margin, which does not exist here."""


@exactly
def _money(summary: AccountSummary) -> Row:
    """What REST and the ``account`` channel spell alike; a flat account has no unrealised profit at all."""
    return {
        "marginCoin": MARGIN_COIN,
        "available": plain(max(ZERO, summary.cash - summary.locked)),
        "maxTransferOut": plain(summary.free),
        "usdtEquity": plain(summary.equity),
        "crossedRiskRate": plain(money(summary.risk_rate)),
        "unrealizedPL": "" if summary.flat else plain(summary.unrealised),
    }
