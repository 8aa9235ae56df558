"""Rows of REST answers and what they become (protocol sections 6 to 9)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal, Protocol, TypeVar

import msgspec

from tradebot.errors import DataError
from tradebot.events import AccountUpdated, AccountVerified, FundingPaid, OrderUpdated, TickerUpdated, Transferred
from tradebot.exchange.bitget import translate
from tradebot.exchange.bitget.messages import FillRow, PlanRow, Text
from tradebot.exchange.bitget.translate import decimal, decimal_or_none, finite, milliseconds, number
from tradebot.market.day import DayTicker
from tradebot.market.instrument import Instrument

Row = TypeVar("Row", covariant=True)

NO_TIME = ("", "-1", "0")


class ContractRow(msgspec.Struct, gc=False):
    symbol: str
    pricePlace: str = ""
    priceEndStep: str = ""
    sizeMultiplier: str = ""
    minTradeNum: str = ""
    minTradeUSDT: str = ""
    makerFeeRate: str = ""
    takerFeeRate: str = ""
    maxLever: str = ""
    symbolStatus: str = "normal"
    symbolType: str = "perpetual"
    maintainTime: str | None = ""
    offTime: str | None = ""
    limitOpenTime: str | None = ""
    fundInterval: str | None = ""
    maxOrderQty: str | None = ""
    maxMarketOrderQty: str | None = ""

    def to_instrument(self) -> Instrument:
        """The tick is ``priceEndStep`` × 10^−``pricePlace``. Raises DataError when the contract lacks its rules."""
        lot = decimal(self.sizeMultiplier)
        if not self.pricePlace or not self.priceEndStep or lot <= 0:
            raise DataError(f"Bitget's contract list has no tick or lot for {self.symbol}")
        tick = decimal(self.priceEndStep).scaleb(-int(self.pricePlace))
        return Instrument(
            symbol=self.symbol,
            tick=tick,
            lot=lot,
            min_qty=decimal(self.minTradeNum) or lot,
            min_notional=decimal(self.minTradeUSDT),
            maker_fee=decimal(self.makerFeeRate),
            taker_fee=decimal(self.takerFeeRate),
            max_leverage=int(self.maxLever or 1),
            status=self.symbolStatus,
            maintain_time_ms=_moment(self.maintainTime),
            off_time_ms=_moment(self.offTime),
            limit_open_time_ms=_moment(self.limitOpenTime),
            funding_hours=int(self.fundInterval or 8),
            max_qty=decimal_or_none(self.maxOrderQty),
            max_market_qty=decimal_or_none(self.maxMarketOrderQty),
        )


class RateRow(msgspec.Struct, gc=False):
    makerFeeRate: str
    takerFeeRate: str

    def to_rates(self) -> tuple[Decimal, Decimal]:
        """Maker and taker. Raises DataError for what is no number."""
        if not self.makerFeeRate or not self.takerFeeRate:
            raise DataError("Bitget does not tell the account's fees")
        return decimal(self.makerFeeRate), decimal(self.takerFeeRate)


class RestTickerRow(msgspec.Struct, gc=False):
    symbol: str
    lastPr: str = ""
    markPrice: str | None = ""
    indexPrice: str | None = ""
    fundingRate: str | None = ""
    holdingAmount: str | None = ""
    ts: str = ""

    def to_event(self) -> TickerUpdated:
        """REST tells no next funding time."""
        return TickerUpdated(
            symbol=self.symbol,
            ts_exchange_ms=milliseconds(self.ts),
            last=number(self.lastPr),
            mark=number(self.markPrice),
            index=number(self.indexPrice),
            funding_rate=number(self.fundingRate),
            open_interest=number(self.holdingAmount),
        )


class SettlementRow(msgspec.Struct, gc=False):
    fundingRate: str
    fundingTime: str

    def to_pair(self) -> tuple[int, float]:
        """Moment (ms) and rate."""
        return int(self.fundingTime), finite(self.fundingRate)


class DayTickerRow(msgspec.Struct, gc=False):
    symbol: str
    bidPr: str | None = ""
    askPr: str | None = ""
    usdtVolume: str | None = ""

    def to_ticker(self) -> DayTicker:
        return DayTicker(self.symbol, decimal(self.usdtVolume), decimal(self.bidPr), decimal(self.askPr))


class AccountDetail(msgspec.Struct, gc=False):
    """One account with its settings for one symbol; the leverages are numbers or texts."""

    accountEquity: str
    crossedMaxAvailable: str = ""
    isolatedMaxAvailable: str = ""
    unrealizedPL: str | None = ""
    crossedMarginLeverage: Text = ""
    isolatedLongLever: Text = ""
    isolatedShortLever: Text = ""
    marginMode: str = ""
    posMode: str = ""

    def settings(self, symbol: str) -> AccountVerified:
        """Where isolated long and short leverage differ, the higher one is told: the riskier."""
        isolated = self.marginMode == "isolated"
        levers = (self.isolatedLongLever, self.isolatedShortLever) if isolated else (self.crossedMarginLeverage,)
        return AccountVerified(
            symbol=symbol,
            position_mode=self.posMode,
            margin_mode=self.marginMode,
            leverage=max(int(decimal(lever)) for lever in levers),
        )

    def money(self) -> AccountUpdated:
        equity = decimal(self.accountEquity)
        available = self.isolatedMaxAvailable if self.marginMode == "isolated" else self.crossedMaxAvailable
        return AccountUpdated(equity=equity, available=decimal(available), balance=equity - decimal(self.unrealizedPL))


class OrderDetail(msgspec.Struct, frozen=True, kw_only=True):
    """An order with the terms it was placed on: ``limit`` or ``market`` (empty: not told), the price of a limit order,
    and when the exchange made it."""

    update: OrderUpdated
    order_type: str
    price: Decimal | None
    created_ms: int
    source: str = ""
    """What sent it; ``pos_loss_market`` or ``loss_market``: a stop."""


class RestOrderRow(msgspec.Struct, gc=False):
    """An order; ``detail`` calls its status ``state``, the lists ``status``."""

    symbol: str
    orderId: str
    side: str
    size: str
    state: str = ""
    status: str = ""
    orderSource: str = ""
    clientOid: str | None = ""
    baseVolume: str = ""
    priceAvg: str | None = ""
    reduceOnly: str | None = ""
    cancelReason: str | None = ""
    tradeSide: str | None = ""
    price: Text = ""
    orderType: str | None = ""
    uTime: Text = ""
    cTime: Text = ""

    def to_detail(self) -> OrderDetail:
        order_type = (self.orderType or "").lower()
        return OrderDetail(
            source=self.orderSource,
            update=self.to_event(),
            order_type=order_type,
            price=decimal_or_none(self.price) if order_type == "limit" else None,
            created_ms=milliseconds(self.cTime or self.uTime),
        )

    def to_event(self) -> OrderUpdated:
        filled = decimal(self.baseVolume)
        return OrderUpdated(
            client_oid=self.clientOid or "",
            order_id=self.orderId,
            symbol=self.symbol,
            side=translate.side_of(self.side),
            status=translate.order_status(self.state or self.status),
            qty=decimal(self.size),
            filled_qty=filled,
            avg_price=decimal_or_none(self.priceAvg) if filled else None,
            reduce_only=(self.reduceOnly or "").upper() == "YES",
            reason=self.cancelReason or "",
            forced=translate.forced(self.tradeSide),
            ts_exchange_ms=milliseconds(self.uTime or self.cTime),
            queried=True,
        )


class Page(Protocol[Row]):
    """Rows of a list, newest first, and the id below which the next page begins. An empty list may be null."""

    @property
    def rows(self) -> Sequence[Row] | None: ...

    @property
    def endId(self) -> str | None: ...


class OrderPage(msgspec.Struct, gc=False):
    rows: list[RestOrderRow] | None = msgspec.field(default=None, name="entrustedList")
    endId: str | None = None


class PlanPage(msgspec.Struct, gc=False):
    rows: list[PlanRow] | None = msgspec.field(default=None, name="entrustedList")
    endId: str | None = None


class FillPage(msgspec.Struct, gc=False):
    rows: list[FillRow] | None = msgspec.field(default=None, name="fillList")
    endId: str | None = None


class BillRow(msgspec.Struct, gc=False):
    billId: str
    symbol: str
    amount: str
    businessType: str
    cTime: str

    def to_funding(self) -> FundingPaid:
        return FundingPaid(
            bill_id=self.billId,
            symbol=self.symbol,
            amount=Decimal(self.amount),
            ts_exchange_ms=milliseconds(self.cTime),
        )

    def to_transfer(self) -> Transferred:
        return Transferred(bill_id=self.billId, amount=Decimal(self.amount), ts_exchange_ms=milliseconds(self.cTime))


class BillPage(msgspec.Struct, gc=False):
    rows: list[BillRow] | None = msgspec.field(default=None, name="bills")
    endId: str | None = None


class Placed(msgspec.Struct, gc=False):
    """The answer to order entry. In one rare case the id is missing (section 8.1)."""

    orderId: str | None = ""
    clientOid: str | None = ""


class Failure(msgspec.Struct, gc=False):
    orderId: str | None = ""
    clientOid: str | None = ""
    errorMsg: str | None = ""
    errorCode: Text = ""


class Batch(msgspec.Struct, gc=False):
    """The answer to a request about several orders: the envelope is a success even when all failed."""

    successList: list[Placed] | None = None
    failureList: list[Failure] | None = None


MarginMode = Literal["isolated", "crossed"]


def _moment(text: str | None) -> int | None:
    return None if text is None or text in NO_TIME else int(text)
