"""Every message of the samples becomes the values that stand in it, or there is a reason why nobody reads it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests.exchange.sample_rows import Message, messages, rows
from tests.exchange.samples import wire
from tests.shared import ROOT
from tradebot.data.sources.bitget import FundingRow, OpenInterestAnswer
from tradebot.errors import AuthRefused, DataError, ExchangeError, OutcomeUnknown, Rejected
from tradebot.events import FundingPaid, Transferred
from tradebot.exchange.bitget import translate
from tradebot.exchange.bitget.answers import Answer
from tradebot.exchange.bitget.errors import Request, classify
from tradebot.exchange.bitget.messages import (
    AccountRow,
    BooksRow,
    CandleRow,
    FillRow,
    OrderRow,
    PlanRow,
    PositionRow,
    TickerRow,
    TradeRow,
    decode_push,
    decode_reply,
    is_reply,
)
from tradebot.exchange.bitget.rest import BILLS
from tradebot.exchange.bitget.rows import (
    AccountDetail,
    Batch,
    BillRow,
    ContractRow,
    Placed,
    RestOrderRow,
    RestTickerRow,
)

D = Decimal
T = dict[str, Any]

UNREAD: dict[str, str] = {
    r'"(topic|category|execId|cumExecQty|lastPrice|mmr|openInterest)":': "of the unified account (V3)",
    r'"(a|v)":|"list": *\[\{"orderId"': "of the unified account (V3)",
    r'"(SPOT|MARGIN|spot)"|"bestBid"|fetch_tickers_00|parse_ticker_01': "spot or margin",
    r'"(borrow|free|limitAvailable|groupType|baseCoin|quoteMaxBorrow\w*|maxBorrowableAmount)":': "spot or margin",
    r'"planType":"AMOUNT"|"basePrice":|"priceAvg":.*"amount":|"coin":"BGB"': "spot or margin",
    r'"cnvtPrice":': "conversions between coins",
    r'"err_code":': "the interface of 2019",
    r'"startUnit":': "tiers: leverage is configured, and the stop lies before liquidation",
    r'"(long|short)Leverage":|"posMode":"one_way_mode"\}': "settings: their effect is read back",
    r'"data":("success"|""|null|\[\]|\{"symbol":"\w+"\})': "an answer that says no more than success",
    r"Est-Open-Count|Liquidation-Price|Sub-Account|Union|Interest-History|Isolated-Symbols": "not needed to trade",
    r"(?i)vip-?fee|Contracts-Oi|merge-depth|scale0|symbol-price|fund-rate|fundingRate|ratePeriod": "market data unused",
    r'"stopSurplusClientOid":': "stop and target at once: the bot sends none",
    r"positions-history|history-position|positionId|equity": "told by executions already",
    r'^\S+ \S* ?\{"(op|args)":': "a request: see test_fixtures_requests",
    r'"channel":"positions","instId":"default"\}$': "the argument of a subscription",
}
"""What nobody reads: a pattern of where and what it is, and why."""


def samples() -> list[Any]:
    if not (ROOT / "data/bitget_fixtures").exists():
        return [pytest.param(None, marks=pytest.mark.skip(reason="needs recorded data: data/bitget_fixtures"))]
    return [pytest.param(message, id=message.where) for message in messages()]


def number(row: T, *names: str) -> Decimal:
    """The first of these members that is there and not empty; 0 when none is."""
    return next((D(str(row[name])) for name in names if row.get(name) not in (None, "")), D(0))


def integer(row: T, *names: str) -> int:
    return int(number(row, *names))


def real(row: T, name: str) -> float:
    return float(number(row, name))


STATUS = {"init": "live", "new": "live", "cancelled": "canceled"}


def check_rest_order(row: T) -> None:
    detail = msgspec.json.decode(wire(row), type=RestOrderRow).to_detail()
    update, status, filled = detail.update, row.get("state") or row["status"], number(row, "baseVolume")
    assert (update.order_id, update.client_oid, update.symbol) == (
        row["orderId"],
        row["clientOid"] or "",
        row["symbol"],
    )
    assert (update.side, update.status) == (row["side"].lower(), STATUS.get(status, status))
    assert (update.qty, update.filled_qty) == (D(row["size"]), filled)
    assert update.avg_price == (number(row, "priceAvg") or None if filled else None)
    assert update.reduce_only == (str(row.get("reduceOnly")).upper() == "YES")
    assert update.ts_exchange_ms == integer(row, "uTime", "cTime")
    assert detail.created_ms == integer(row, "cTime", "uTime")
    assert detail.order_type == (row.get("orderType") or "").lower()
    assert detail.price == (number(row, "price") if row.get("orderType") == "limit" else None)


def check_stream_order(row: T) -> None:
    update = translate.order(msgspec.json.decode(wire(row), type=OrderRow))
    assert (update.order_id, update.client_oid, update.symbol) == (row["orderId"], row["clientOid"], row["instId"])
    assert (update.side, update.status) == (row["side"].lower(), STATUS.get(row["status"], row["status"]))
    assert (update.qty, update.filled_qty) == (D(row["size"]), D(row["accBaseVolume"]))
    assert update.avg_price == (number(row, "priceAvg") or None)
    assert update.reduce_only == (row.get("reduceOnly") == "yes")
    assert update.ts_exchange_ms == integer(row, "uTime", "cTime")
    assert not update.forced


def check_fill(row: T) -> None:
    fill = translate.fill(msgspec.json.decode(wire(row), type=FillRow))
    paid = sum((number(fee, "totalFee", "fee") for fee in row["feeDetail"] if fee["feeCoin"].upper() == "USDT"), D(0))
    assert (fill.trade_id, fill.order_id, fill.symbol) == (row["tradeId"], row["orderId"], row["symbol"])
    assert (fill.side, fill.price, fill.qty) == (row["side"].lower(), D(row["price"]), D(row["baseVolume"]))
    assert (fill.fee, fill.realised) == (paid, number(row, "profit"))
    assert fill.maker == (row["tradeScope"] == "maker")
    assert fill.ts_exchange_ms == integer(row, "cTime")


def check_position(row: T) -> None:
    state = translate.position(msgspec.json.decode(wire(row), type=PositionRow))
    assert state.symbol == (row.get("symbol") or row["instId"])
    assert state.qty == D(row["total"]) * (-1 if row["holdSide"] == "short" else 1)
    assert state.entry_price == number(row, "openPriceAvg")
    assert state.liquidation_price == (max(number(row, "liquidationPrice"), D(0)) or None)
    assert state.opened_ms == integer(row, "cTime")


PLANS = {"pl": "normal_plan", "psl": "pos_loss", "ptp": "pos_profit", "sl": "loss_plan", "tp": "profit_plan"}


def check_plan(row: T) -> None:
    stop = translate.stop(msgspec.json.decode(wire(row), type=PlanRow))
    status = row.get("planStatus") or row["status"]
    assert (stop.order_id, stop.client_oid) == (row["orderId"], row["clientOid"])
    assert (stop.symbol, stop.plan) == (row.get("symbol") or row["instId"], PLANS.get(row["planType"], row["planType"]))
    assert stop.trigger_price == number(row, "triggerPrice")
    assert stop.status == {"not_trigger": "live", "canceled": "cancelled"}.get(status, status)


def check_account(row: T) -> None:
    detail = msgspec.json.decode(wire(row), type=AccountDetail)
    money = detail.money()
    mode = row.get("marginMode")
    assert money.equity == D(row["accountEquity"])
    assert money.balance == D(row["accountEquity"]) - number(row, "unrealizedPL")
    assert money.available == number(row, "isolatedMaxAvailable" if mode == "isolated" else "crossedMaxAvailable")
    if mode:
        settings = detail.settings("X")
        levers = ("isolatedLongLever", "isolatedShortLever") if mode == "isolated" else ("crossedMarginLeverage",)
        assert (settings.margin_mode, settings.position_mode) == (mode, row["posMode"])
        assert settings.leverage == max(integer(row, lever) for lever in levers)


def check_stream_account(row: T) -> None:
    money = translate.account(msgspec.json.decode(wire(row), type=AccountRow))
    assert (money.equity, money.available) == (D(row["equity"]), D(row["maxOpenPosAvailable"]))
    assert money.balance == D(row["equity"]) - number(row, "unrealizedPL")


def check_contract(row: T) -> None:
    found = msgspec.json.decode(wire(row), type=ContractRow).to_instrument()
    assert found.tick == D(row["priceEndStep"]) / 10 ** int(row["pricePlace"])
    assert (found.symbol, found.lot, found.min_qty) == (row["symbol"], D(row["sizeMultiplier"]), D(row["minTradeNum"]))
    assert (found.maker_fee, found.taker_fee) == (D(row["makerFeeRate"]), D(row["takerFeeRate"]))
    assert (found.min_notional, found.status) == (number(row, "minTradeUSDT"), row["symbolStatus"])
    assert found.max_leverage == (integer(row, "maxLever") or 1)
    assert found.max_market_qty == (number(row, "maxMarketOrderQty") or None)
    times = (("maintain_time_ms", "maintainTime"), ("off_time_ms", "offTime"), ("limit_open_time_ms", "limitOpenTime"))
    for ours, theirs in times:
        told = row.get(theirs)
        assert getattr(found, ours) == (None if told in (None, "", "-1", "0") else int(told))


def check_stream_ticker(row: T) -> None:
    event = translate.ticker(msgspec.json.decode(wire(row), type=TickerRow))
    assert (event.symbol, event.ts_exchange_ms) == (row["instId"], integer(row, "ts"))
    assert (event.last, event.mark, event.index) == (
        real(row, "lastPr"),
        real(row, "markPrice"),
        real(row, "indexPrice"),
    )
    assert (event.funding_rate, event.open_interest) == (real(row, "fundingRate"), real(row, "holdingAmount"))
    assert event.next_funding_ms == integer(row, "nextFundingTime")


def check_ticker(row: T) -> None:
    event = msgspec.json.decode(wire(row), type=RestTickerRow).to_event()
    assert (event.symbol, event.ts_exchange_ms) == (row["symbol"], integer(row, "ts"))
    assert (event.last, event.mark, event.index) == (
        real(row, "lastPr"),
        real(row, "markPrice"),
        real(row, "indexPrice"),
    )
    assert (event.funding_rate, event.open_interest) == (real(row, "fundingRate"), real(row, "holdingAmount"))


def check_trade(row: T) -> None:
    trade = translate.trade(msgspec.json.decode(wire(row), type=TradeRow))
    assert (trade.ts_ms, trade.price, trade.qty) == (int(row["ts"]), float(row["price"]), float(row["size"]))
    assert (trade.side, trade.trade_id) == (row["side"].lower(), row["tradeId"])


def check_candle(row: list[str]) -> None:
    candle = translate.candle(msgspec.json.decode(wire(row), type=CandleRow))
    told = (candle.open_time_ms, candle.open, candle.high, candle.low, candle.close, candle.volume, candle.quote_volume)
    assert told == (int(row[0]), *map(float, row[1:7]))


def check_bill(row: T) -> None:
    bill = msgspec.json.decode(wire(row), type=BillRow)
    event = BILLS[row["businessType"]](bill)
    assert isinstance(event, FundingPaid if row["businessType"] == "contract_settle_fee" else Transferred)
    assert (event.bill_id, event.amount, event.ts_exchange_ms) == (row["billId"], D(row["amount"]), int(row["cTime"]))


def check_funding(row: T) -> None:
    found = msgspec.json.decode(wire(row), type=FundingRow)
    assert (found.fundingTime, found.fundingRate) == (row["fundingTime"], row["fundingRate"])


def check_open_interest(row: T) -> None:
    found = msgspec.json.decode(wire(row), type=OpenInterestAnswer)
    assert [(one.symbol, one.size) for one in found.openInterestList] == [
        (one["symbol"], one["size"]) for one in row["openInterestList"]
    ]


def check_books(row: T) -> None:
    book = msgspec.json.decode(wire(row), type=BooksRow)
    assert [list(level) for level in book.bids] == [level[:2] for level in row["bids"]]
    assert [list(level) for level in book.asks] == [level[:2] for level in row["asks"]]
    assert (book.seq, book.pseq, book.checksum) == tuple(row.get(name, 0) for name in ("seq", "pseq", "checksum"))


def check_placed(row: T) -> None:
    placed = msgspec.json.decode(wire(row), type=Placed)
    assert (placed.orderId, placed.clientOid) == (row["orderId"], row["clientOid"])


def check_batch(row: T) -> None:
    batch = msgspec.json.decode(wire(row), type=Batch)
    assert [placed.orderId for placed in batch.successList or ()] == [one["orderId"] for one in row["successList"]]
    told = [(one.orderId, one.errorMsg, one.errorCode) for one in batch.failureList or ()]
    assert told == [(one["orderId"], one["errorMsg"], one.get("errorCode", "")) for one in row["failureList"]]


def check_event(row: T) -> None:
    assert is_reply(wire(row))
    reply = decode_reply(wire(row))
    assert (reply.event, str(reply.code)) == (row["event"], str(row.get("code", "")))
    arg = row.get("arg")
    if arg is not None:
        assert reply.arg is not None
        for name in ("channel", "instId", "instType", "coin"):
            assert getattr(reply.arg, name) == arg.get(name, "")


REFUSALS: dict[str, type[ExchangeError] | None] = {"40017": Rejected, "43026": None, "40015": OutcomeUnknown}
"""What a refusal of a cancellation is; a code that no table knows may have had an effect."""


def check_refusal(row: T) -> None:
    answer = msgspec.json.decode(wire(row), type=Answer)
    assert (answer.code, answer.msg) == (row["code"], row["msg"])
    error = classify(str(answer.code), answer.msg or "", Request.CANCEL, "cancel-order X")
    expected = REFUSALS.get(row["code"], OutcomeUnknown)
    assert type(error) is (expected or type(None))
    assert not isinstance(error, AuthRefused)


CHECKS: dict[str, Callable[[Any], None]] = {
    "order": check_rest_order,
    "stream order": check_stream_order,
    "fill": check_fill,
    "position": check_position,
    "plan": check_plan,
    "account": check_account,
    "stream account": check_stream_account,
    "contract": check_contract,
    "stream ticker": check_stream_ticker,
    "ticker": check_ticker,
    "trade": check_trade,
    "candle": check_candle,
    "bill": check_bill,
    "funding": check_funding,
    "open interest": check_open_interest,
    "books": check_books,
    "placed": check_placed,
    "batch": check_batch,
    "event": check_event,
    "refusal": check_refusal,
}


def why_unread(message: Message) -> str:
    text = f"{message.where} {message.path} {wire(message.content).decode()}"
    return next((why for pattern, why in UNREAD.items() if re.search(pattern, text)), "")


@pytest.mark.parametrize("message", samples())
def test_every_message_becomes_the_values_that_stand_in_it(message: Message) -> None:
    found = list(rows(message.content))
    for kind, row in found:
        CHECKS[kind](row)
    assert found or why_unread(message), f"nobody reads this, and there is no reason: {message.content}"


@pytest.mark.parametrize("message", samples())
def test_every_futures_push_is_taken_apart_by_its_channel(message: Message) -> None:
    content = message.content
    arg = content.get("arg") if isinstance(content, dict) else None
    if not isinstance(arg, dict) or "data" not in content or arg.get("instType") != "USDT-FUTURES":
        return
    push = decode_push(wire(content))
    if push is None:
        assert arg["channel"] in ("equity", "positions-history")
        return
    assert (push.arg.channel, push.arg.instId, push.arg.coin) == (
        arg["channel"],
        arg.get("instId", ""),
        arg.get("coin", ""),
    )
    assert len(push.data) == len(content["data"])
    assert push.action == content.get("action", "snapshot")


def test_the_samples_hold_every_kind_of_row() -> None:
    if not (ROOT / "data/bitget_fixtures").exists():
        pytest.skip("needs recorded data: data/bitget_fixtures")
    counted = Counter(kind for message in messages() for kind, _ in rows(message.content))
    assert set(counted) == set(CHECKS), counted


def test_a_contract_without_its_rules_is_told() -> None:
    with pytest.raises(DataError):
        msgspec.json.decode(b'{"symbol":"COINALPHAHBOT","baseCoin":"COINALPHA"}', type=ContractRow).to_instrument()
