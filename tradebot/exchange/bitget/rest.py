"""The REST interface of Bitget's USDT perpetuals as calls with our types (protocol sections 6 to 9)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from decimal import Decimal
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import msgspec

from tradebot.errors import AuthRefused, DataError, ExchangeError, Rejected, Unreadable
from tradebot.events import (
    AccountUpdated,
    AccountVerified,
    CancelOrder,
    CancelStop,
    ClosePosition,
    Filled,
    FundingPaid,
    OrderUpdated,
    PlaceOrder,
    PlaceStop,
    PositionState,
    StopUpdated,
    TickerUpdated,
    Transferred,
)
from tradebot.exchange.bitget import translate
from tradebot.exchange.bitget.errors import ADVICE, ORDER_NOT_FOUND, OTHER_ENVIRONMENT, UNIFIED, Request, classify
from tradebot.exchange.bitget.history import BILLS_SPAN_MS, FILLS_SPAN_MS, REACH_MS, Window, closed, spans, windows
from tradebot.exchange.bitget.http import HttpClient, ServerTime, wall_ms
from tradebot.exchange.bitget.messages import CandleRow, PositionRow
from tradebot.exchange.bitget.naming import (
    ACCOUNT,
    MARGIN_COIN,
    MARKET,
    ORDER,
    POSITION,
    PRODUCT_TYPE,
    granularity,
)
from tradebot.exchange.bitget.rows import (
    AccountDetail,
    Batch,
    BillPage,
    BillRow,
    ContractRow,
    DayTickerRow,
    FillPage,
    MarginMode,
    OrderDetail,
    OrderPage,
    Page,
    Placed,
    PlanPage,
    RateRow,
    RestOrderRow,
    RestTickerRow,
    SettlementRow,
)
from tradebot.exchange.bitget.signing import Credentials
from tradebot.exchange.loopback import on_loopback
from tradebot.market.candle import INTERVAL_MS, Candle
from tradebot.market.day import DayTicker
from tradebot.market.instrument import Instrument
from tradebot.market.series import find_gaps

log = logging.getLogger(__name__)

UNIFIED_SETTINGS = "/api/v3/account/settings"
TRADE_RATE = "/api/v2/common/trade-rate"

PAGE = 100
SETTLEMENTS_A_PAGE, SETTLEMENT_PAGES = 100, 5
CANDLE_PAGES_AT_ONCE = 4

Row = TypeVar("Row")
Read = TypeVar("Read")
UNREADABLE = (DataError, ValueError, ArithmeticError)
"""What translating an odd row raises: an unknown word, no number where one belongs."""

BILLS: dict[str, Callable[[BillRow], FundingPaid | Transferred]] = {
    "contract_settle_fee": BillRow.to_funding,
    "trans_from_exchange": BillRow.to_transfer,
    "trans_to_exchange": BillRow.to_transfer,
}
"""What a bill's ``businessType`` is to us (protocol section 7.8)."""

FORCE = {"gtc": "GTC", "ioc": "IOC", "fok": "FOK", "post_only": "post_only"}


class BitgetRest:
    """One account, or none: without credentials only the public calls work.

    ``limited`` keeps the exchange's rate limits; by default it is off for an exchange on this machine. Orders and
    positions are one-way. Prices and sizes are Decimal and sent as they are: rounding happens before. Raises the errors
    of ``tradebot.errors`` as ``classify`` says. Use as ``async with BitgetRest(url) as rest``, or ``close`` it.
    ``http`` is what carries the requests, where that is not a connection to ``url`` of its own.
    """

    def __init__(
        self,
        url: str,
        *,
        credentials: Credentials | None = None,
        demo: bool = False,
        limited: bool | None = None,
        timeout_s: float = 10.0,
        now_ms: Callable[[], int] = wall_ms,
        on_clock_refused: Callable[[], Awaitable[object]] | None = None,
        first_retry_s: float = 1.0,
        http: HttpClient | None = None,
    ) -> None:
        if limited is None:
            limited = not on_loopback(url)
        self.http = http or HttpClient(
            url,
            credentials=credentials,
            demo=demo,
            limited=limited,
            timeout_s=timeout_s,
            now_ms=now_ms,
            on_clock_refused=on_clock_refused,
            first_retry_s=first_retry_s,
        )
        self.unreadable = 0
        self.repeated_candles = 0
        """Rows of lists that could not be read and were left out."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the session."""
        await self.http.close()

    # --- public -----------------------------------------------------------------------------------------------------

    async def server_time(self) -> int:
        """The exchange's clock, ms."""
        return int((await self.http.get("/api/v2/public/time", {}, ServerTime)).serverTime)

    async def contracts(self, symbol: str = "") -> list[Instrument]:
        """All perpetual contracts, or one. One without a tick or lot yet, or that cannot be read, is left out."""
        rows = await self.http.get(
            MARKET + "contracts", {"symbol": symbol, "productType": PRODUCT_TYPE}, list[ContractRow]
        )
        listed = (row for row in rows if row.symbolType == "perpetual" and row.pricePlace and row.sizeMultiplier)
        found = (self._readable(ContractRow.to_instrument, row, row.symbol) for row in listed)
        return [instrument for instrument in found if instrument is not None]

    async def ticker(self, symbol: str) -> TickerUpdated:
        """Last, mark and index price of one symbol."""
        rows = await self.http.get(
            MARKET + "ticker", {"symbol": symbol, "productType": PRODUCT_TYPE}, list[RestTickerRow]
        )
        if not rows:
            raise Rejected(f"Bitget has no ticker for {symbol}")
        return _read(RestTickerRow.to_event, rows[0], f"ticker of {symbol}")

    async def day_tickers(self) -> list[DayTicker]:
        """The last 24 hours of every contract (protocol section 6.3). One that cannot be read is left out."""
        rows = await self.http.get(MARKET + "tickers", {"productType": PRODUCT_TYPE}, list[DayTickerRow])
        found = (self._readable(DayTickerRow.to_ticker, row, row.symbol) for row in rows)
        return [ticker for ticker in found if ticker is not None]

    async def candles(self, symbol: str, interval: str, start_ms: int, end_ms: int) -> list[Candle]:
        """Closed candles with ``start_ms <= open_time_ms < end_ms``, ascending, without duplicates.

        Asked for newest first, several windows at once, until a window is empty (the contract is younger). Gaps that
        the exchange itself has are logged; ``market.series.find_gaps`` finds them in the result.
        """
        name, step = granularity(interval), INTERVAL_MS[interval]
        now_ms = await self.server_time()
        rows: list[Candle] = []
        asked = windows(interval, start_ms, min(end_ms, now_ms), now_ms)
        for at in range(0, len(asked), CANDLE_PAGES_AT_ONCE):
            pages = await asyncio.gather(
                *(self._candle_page(symbol, name, window) for window in asked[at : at + CANDLE_PAGES_AT_ONCE])
            )
            rows += (row for page in pages for row in page)
            if not pages[-1]:
                break
        candles = closed(rows, start_ms, end_ms, step, now_ms)
        for gap in find_gaps(candles, step):
            log.warning("%s %s: no candles from %d to %d", symbol, interval, gap.start_ms, gap.end_ms)
        return candles

    async def _candle_page(self, symbol: str, name: str, window: Window) -> list[Candle]:
        query = {
            "symbol": symbol,
            "granularity": name,
            "startTime": window.start_ms,
            "endTime": window.end_ms,
            "limit": window.limit,
            "productType": PRODUCT_TYPE,
        }
        rows = await self.http.get(window.path, query, list[CandleRow])
        self.repeated_candles += len(rows) - len({row[0] for row in rows if row})
        return [_read(translate.candle, row, f"candles of {symbol}") for row in rows]

    async def settlements(self, symbol: str, since_ms: int) -> list[tuple[int, float]]:
        """Funding that was settled since ``since_ms``, oldest first: moment (ms) and rate as a fraction of notional."""
        found: dict[int, float] = {}
        for page in range(1, SETTLEMENT_PAGES + 1):
            query = {"symbol": symbol, "productType": PRODUCT_TYPE, "pageSize": SETTLEMENTS_A_PAGE, "pageNo": page}
            rows = await self.http.get(MARKET + "history-fund-rate", query, list[SettlementRow])
            found |= dict(_read(SettlementRow.to_pair, row, f"funding of {symbol}") for row in rows)
            if len(rows) < SETTLEMENTS_A_PAGE or min(found) < since_ms:
                break
        return sorted((at_ms, rate) for at_ms, rate in found.items() if at_ms >= since_ms)

    # --- account ----------------------------------------------------------------------------------------------------

    async def account(self, symbol: str) -> tuple[AccountVerified, AccountUpdated]:
        """Settings of the account for a symbol, and its money."""
        query = {"symbol": symbol, "productType": PRODUCT_TYPE, "marginCoin": MARGIN_COIN}
        row = await self.http.get(ACCOUNT + "account", query, AccountDetail, private=True)
        return _read(lambda row: (row.settings(symbol), row.money()), row, f"account for {symbol}")

    async def require_classic_account(self) -> None:
        """Raise AuthRefused when the key belongs to a unified (UTA) account, which this interface does not serve.

        A classic account is refused by the unified interface; what else that may answer tells nothing (section 12.2).
        """
        try:
            settings = await self.http.get(UNIFIED_SETTINGS, {}, dict[str, object] | None, private=True)  # type: ignore[arg-type]
        except ExchangeError as error:
            if error.code == OTHER_ENVIRONMENT:
                raise
            return
        if settings is not None:
            raise AuthRefused(f"Bitget: {ADVICE[UNIFIED]}", code=UNIFIED)

    async def trade_rate(self, symbol: str) -> tuple[Decimal, Decimal]:
        """The account's own fees in ``symbol``, maker and taker, as fractions of notional (protocol section 6.2)."""
        query = {"symbol": symbol, "businessType": "mix"}
        row = await self.http.get(TRADE_RATE, query, RateRow, private=True)
        return _read(RateRow.to_rates, row, f"fees in {symbol}")

    async def positions(self) -> list[PositionState]:
        """All open positions, ordered by symbol."""
        query = {"productType": PRODUCT_TYPE, "marginCoin": MARGIN_COIN}
        rows = await self.http.get(POSITION + "all-position", query, list[PositionRow] | None, private=True)  # type: ignore[arg-type]
        return list(_read(translate.positions, rows or [], "positions").positions)

    async def bills(self, since_ms: int, until_ms: int | None = None) -> list[FundingPaid | Transferred]:
        """Funding settlements and transfers since ``since_ms``, oldest first. ``until_ms`` is the present moment: from
        a ``since_ms`` long before it several windows are asked for, and nothing older than the exchange tells."""
        found: dict[str, FundingPaid | Transferred] = {}
        for window in spans(since_ms, until_ms, BILLS_SPAN_MS):
            for row in await self._pages(ACCOUNT + "bill", {"productType": PRODUCT_TYPE, **window}, BillPage):
                kind = BILLS.get(row.businessType)  # trades are bills too: the fills tell of them
                if kind is not None and (told := self._readable(kind, row, row.billId)) is not None:
                    found[row.billId] = told
        return sorted(found.values(), key=lambda bill: (bill.ts_exchange_ms, len(bill.bill_id), bill.bill_id))

    async def set_leverage(self, symbol: str, leverage: int) -> None:
        """Set the leverage of a symbol in its present margin mode."""
        body = {"symbol": symbol, "leverage": str(leverage), "marginCoin": MARGIN_COIN, "productType": PRODUCT_TYPE}
        await self._set("set-leverage", body)

    async def set_margin_mode(self, symbol: str, mode: MarginMode) -> None:
        """Set the margin mode of a symbol. Raises Rejected while a position or order exists."""
        body = {"symbol": symbol, "marginCoin": MARGIN_COIN, "marginMode": mode, "productType": PRODUCT_TYPE}
        await self._set("set-margin-mode", body)

    async def set_position_mode(self, mode: Literal["one_way_mode", "hedge_mode"]) -> None:
        """Set the position mode of all symbols. Raises Rejected while any position or order exists."""
        await self._set("set-position-mode", {"posMode": mode, "productType": PRODUCT_TYPE})

    async def _set(self, name: str, body: dict[str, str]) -> None:
        await self.http.post(ACCOUNT + name, body, object, Request.ADJUST)

    # --- orders: questions ------------------------------------------------------------------------------------------

    async def order_detail(
        self, symbol: str, *, client_oid: str = "", order_id: str = "", urgent: bool = False
    ) -> OrderDetail | None:
        """One order by either id, or None when the exchange does not know it (or not yet: section 8.12).

        ``urgent``: it may have what the rate budget reserves.
        """
        query = {"symbol": symbol, "productType": PRODUCT_TYPE, "clientOid": client_oid, "orderId": order_id}
        try:
            row = await self.http.get(ORDER + "detail", query, RestOrderRow, private=True, urgent=urgent)
        except Rejected as error:
            if error.code in ORDER_NOT_FOUND:
                return None
            raise
        return _read(RestOrderRow.to_detail, row, f"order {order_id or client_oid} of {symbol}")

    async def open_orders(self, symbol: str = "") -> list[OrderUpdated]:
        """All resting orders, newest first."""
        query = {"productType": PRODUCT_TYPE, "symbol": symbol}
        rows = await self._pages(ORDER + "orders-pending", query, OrderPage)
        return [_read(RestOrderRow.to_event, row, "open orders") for row in _once(rows, lambda row: row.orderId)]

    async def orders_history(
        self, symbol: str = "", since_ms: int | None = None, until_ms: int | None = None
    ) -> list[OrderUpdated]:
        """Final orders since ``since_ms``, newest first; ``until_ms`` is the present moment, as for ``bills``. They can
        lag the stream by a second or so."""
        rows: list[RestOrderRow] = []
        for window in spans(since_ms, until_ms, REACH_MS):
            query = {"productType": PRODUCT_TYPE, "symbol": symbol, **window}
            rows += await self._pages(ORDER + "orders-history", query, OrderPage)
        events = (
            self._readable(RestOrderRow.to_event, row, row.orderId) for row in _once(rows, lambda row: row.orderId)
        )
        return [event for event in events if event is not None]

    async def fills(self, symbol: str = "", since_ms: int | None = None, until_ms: int | None = None) -> list[Filled]:
        """Executions since ``since_ms``, oldest first. They name no client order id: join on ``order_id``.

        ``until_ms`` is the present moment, as for ``bills``. One that cannot be read is left out, with a warning: what
        it did shows in the positions.
        """
        found: dict[str, Filled] = {}
        for window in spans(since_ms, until_ms, FILLS_SPAN_MS):
            query = {"productType": PRODUCT_TYPE, "symbol": symbol, **window}
            for row in await self._pages(ORDER + "fills", query, FillPage):
                if (fill := self._readable(translate.fill, row, row.tradeId)) is not None:
                    found[row.tradeId] = msgspec.structs.replace(fill, queried=True)
        kept = (fill for fill in found.values() if since_ms is None or fill.ts_exchange_ms >= since_ms)
        return sorted(kept, key=lambda fill: (fill.ts_exchange_ms, len(fill.trade_id), fill.trade_id))

    async def plan_orders(self, symbol: str = "", *, urgent: bool = False) -> list[StopUpdated]:
        """All live TP/SL orders (partial and position ones), newest first. ``urgent`` as for ``order_detail``."""
        query = {"planType": "profit_loss", "productType": PRODUCT_TYPE, "symbol": symbol}
        rows = await self._pages(ORDER + "orders-plan-pending", query, PlanPage, urgent=urgent)
        return [_read(translate.stop, row, "stops") for row in _once(rows, lambda row: row.orderId)]

    async def _pages(
        self, path: str, query: Mapping[str, object], into: type[Page[Row]], *, urgent: bool = False
    ) -> list[Row]:
        """All rows of a list, newest first: pages until one is not full or its end does not move."""
        rows: list[Row] = []
        end_id = ""
        while True:
            asked = {**query, "limit": PAGE, "idLessThan": end_id}
            page = await self.http.get(path, asked, into, private=True, urgent=urgent)
            rows += page.rows or []
            if len(page.rows or ()) < PAGE or not page.endId or page.endId == end_id:
                return rows
            end_id = page.endId

    # --- orders: commands -------------------------------------------------------------------------------------------

    async def place_order(self, order: PlaceOrder, margin_mode: MarginMode) -> str:
        """Send a new order. Returns its id (empty in the one case of section 8.1). Accepted says nothing of fills."""
        body = {
            "symbol": order.symbol,
            "orderType": order.order_type,
            "price": _plain(order.price) if order.order_type == "limit" else None,
            "force": FORCE[order.tif],
            "marginCoin": MARGIN_COIN,
            "size": _plain(order.qty),
            "productType": PRODUCT_TYPE,
            "clientOid": order.client_oid or None,
            "presetStopLossPrice": _plain(order.preset_stop),
            "presetStopSurplusPrice": _plain(order.preset_take_profit),
            "marginMode": margin_mode,
            "reduceOnly": "YES" if order.reduce_only else None,
            "side": order.side,
        }
        urgent = order.reduce_only or order.purpose != "entry"
        placed = await self.http.post(ORDER + "place-order", body, Placed, Request.ENTRY, urgent=urgent)
        return (placed.orderId or "") if placed is not None else ""

    async def cancel_order(self, order: CancelOrder) -> str:
        """Ask for a cancellation; a fill may still win. An order already gone counts as cancelled (empty id)."""
        body = {"symbol": order.symbol, "clientOid": order.client_oid, "productType": PRODUCT_TYPE}
        placed = await self.http.post(ORDER + "cancel-order", body, Placed, Request.CANCEL, urgent=True)
        return (placed.orderId or "") if placed is not None else ""

    async def place_stop(self, stop: PlaceStop) -> str:
        """Place the stop of a whole position, triggered by the mark price, executed at market."""
        body = {
            "symbol": stop.symbol,
            "marginCoin": MARGIN_COIN,
            "productType": PRODUCT_TYPE,
            "triggerType": "mark_price",
            "holdSide": "buy" if stop.position_side == "long" else "sell",
            "triggerPrice": _plain(stop.trigger_price),
            "planType": "pos_loss",
            "clientOid": stop.client_oid,
        }
        placed = await self.http.post(ORDER + "place-tpsl-order", body, Placed, Request.ADJUST, urgent=True)
        return (placed.orderId or "") if placed is not None else ""

    async def cancel_stop(self, stop: CancelStop) -> str:
        """Cancel a TP/SL order by id, else by client id. One already gone counts as cancelled (empty id).

        The exchange wants its kind, which is looked up; one that is not listed (yet) is taken for a position stop.
        """
        plans = [
            plan.plan
            for plan in await self.plan_orders(stop.symbol, urgent=True)
            if (stop.order_id and plan.order_id == stop.order_id)
            or (not stop.order_id and plan.client_oid == stop.client_oid)
        ]
        body = {
            "symbol": stop.symbol,
            "orderIdList": [{"orderId": stop.order_id} if stop.order_id else {"clientOid": stop.client_oid}],
            "productType": PRODUCT_TYPE,
            "planType": plans[0] if plans else "pos_loss",
        }
        return await self._batch("cancel-plan-order", stop.symbol, body, Request.CANCEL)

    async def close_position(self, close: ClosePosition) -> str:
        """Flash-close the whole position of a symbol at market. Flat already counts as closed (empty id)."""
        body = {"symbol": close.symbol, "productType": PRODUCT_TYPE}
        return await self._batch("close-positions", close.symbol, body, Request.ADJUST)

    def _readable(self, translated: Callable[[Row], Read], row: Row, name: str) -> Read | None:
        """The translation of one row of a list, or None, counted and said, when it cannot be read."""
        try:
            return translated(row)
        except UNREADABLE as error:
            self.unreadable += 1
            log.warning("Bitget sent a row that is left out (%s): %s", name, error)
            return None

    async def _batch(self, name: str, symbol: str, body: dict[str, Any], request: Request) -> str:
        batch = await self.http.post(ORDER + name, body, Batch, request, urgent=True)
        if batch is None:
            return ""
        for failure in batch.failureList or ():
            error = classify(str(failure.errorCode or ""), failure.errorMsg or "", request, f"{name} {symbol}")
            if error is not None:
                raise error
        return next((placed.orderId or "" for placed in batch.successList or ()), "")


def _once(rows: Iterable[Row], identity: Callable[[Row], str]) -> Iterable[Row]:
    """Rows without repetitions: a list can move between two pages."""
    return {identity(row): row for row in rows}.values()


def _read(translated: Callable[[Row], Read], row: Row, what: str) -> Read:
    """The translation of an answer. Raises Unreadable when it holds something this program does not know."""
    try:
        return translated(row)
    except UNREADABLE as error:
        raise Unreadable(f"Bitget's answer about {what} is unreadable: {error}") from error


def _plain(value: Decimal | None) -> str | None:
    """A number as the exchange wants it: no exponent."""
    return None if value is None else format(value, "f")
