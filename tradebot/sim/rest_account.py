"""Private REST endpoints of account, settings, positions and bills (protocol section 7)."""

from __future__ import annotations

from typing import Any, Final, cast

from tradebot.market.instrument import Side
from tradebot.matching.orders import MarginMode, PositionMode, PosSide
from tradebot.sim.exchange import Exchange
from tradebot.sim.paging import MONTH, QUARTER, check_window, listed, paged
from tradebot.sim.params import Params
from tradebot.sim.routes import Routes
from tradebot.sim.rows_money import account_row, accounts_row, bill_row
from tradebot.sim.rows_positions import closed_position_row, position_row
from tradebot.sim.wire import MARGIN_COIN, Refusal, plain

routes = Routes()
ACCOUNT = "/api/v2/mix/account/"
POSITION = "/api/v2/mix/position/"

HOLD_SIDES: Final[dict[str, Side]] = {"buy": "buy", "sell": "sell", "long": "buy", "short": "sell"}
"""Every spelling of the side of a position."""


@routes.get(ACCOUNT + "accounts", private=True)
def accounts(exchange: Exchange, params: Params) -> Any:
    return [accounts_row(exchange.venue.summary())] if params.product_is_ours() else []


@routes.get(ACCOUNT + "account", private=True)
def account(exchange: Exchange, params: Params) -> Any:
    """Balance and, for one symbol, the settings in force."""
    settings = exchange.venue.account.settings[traded(exchange, params)]
    return {
        **account_row(exchange.venue.summary()),
        "crossedMarginLeverage": str(settings.crossed_leverage),
        "isolatedLongLever": str(settings.long_leverage),
        "isolatedShortLever": str(settings.short_leverage),
        "marginMode": settings.margin_mode,
        "posMode": exchange.venue.position_mode,
    }


@routes.post(ACCOUNT + "set-leverage")
def set_leverage(exchange: Exchange, params: Params) -> Any:
    """``leverage`` for the margin mode in force; isolated hedge: with ``holdSide``, or as long- and shortLeverage."""
    symbol = traded(exchange, params)
    leverage, longs, shorts = (params.integer(name) for name in ("leverage", "longLeverage", "shortLeverage"))
    side = params.choice("holdSide", ("", "long", "short"), "")
    venue = exchange.venue
    if leverage is not None:
        venue.set_leverage(symbol, leverage, exchange.now_ms, side=HOLD_SIDES.get(side))
    elif longs is not None:
        venue.set_leverage(symbol, longs, exchange.now_ms, short_leverage=shorts)
    else:
        raise Refusal("40019", "Parameter leverage cannot be empty")
    crossed = venue.account.settings[symbol].crossed_leverage
    return {**_setting_row(exchange, symbol), "crossMarginLeverage": str(crossed)}


@routes.post(ACCOUNT + "set-margin-mode")
def set_margin_mode(exchange: Exchange, params: Params) -> Any:
    symbol = traded(exchange, params)
    mode = cast(MarginMode, params.choice("marginMode", ("isolated", "crossed")))
    exchange.venue.set_margin_mode(symbol, mode)
    return _setting_row(exchange, symbol)


@routes.post(ACCOUNT + "set-position-mode")
def set_position_mode(exchange: Exchange, params: Params) -> Any:
    require_product(params)
    mode = cast(PositionMode, params.choice("posMode", ("one_way_mode", "hedge_mode")))
    exchange.venue.set_position_mode(mode)
    return {"posMode": mode}


@routes.post(ACCOUNT + "set-asset-mode")
def set_asset_mode(exchange: Exchange, params: Params) -> Any:
    """Only single-currency margin exists here."""
    require_product(params)
    if params.choice("assetMode", ("single", "union")) == "union":
        raise Refusal("40919", "This function is not open yet")
    return "success"


@routes.post(ACCOUNT + "set-margin")
def set_margin(exchange: Exchange, params: Params) -> Any:
    """Add margin to an isolated position, or take some of what was added back (negative amount)."""
    symbol = traded(exchange, params)
    slot = _slot(exchange, params)
    side = HOLD_SIDES.get(params.lower("holdSide"))
    held = exchange.venue.account.held(symbol, slot)
    if held is not None and side not in (None, held.side):
        raise Refusal("22002", "No position on this side")
    exchange.venue.set_margin(symbol, params.required_number("amount"), exchange.now_ms, slot)
    return ""


@routes.get(ACCOUNT + "max-open", private=True)
def max_open(exchange: Exchange, params: Params) -> Any:
    symbol = traded(exchange, params)
    side = params.choice("posSide", ("long", "short"))
    limit = params.choice("orderType", ("limit", "market"), "market") == "limit"
    price = params.required_number("openPrice") if limit else params.positive_or_none("openPrice")
    if price is not None and price <= 0:
        raise Refusal("40020", "Parameter openPrice error")
    return {"maxOpen": plain(exchange.venue.max_open(symbol, HOLD_SIDES[side], price))}


@routes.get(ACCOUNT + "bill", private=True)
def bills(exchange: Exchange, params: Params) -> Any:
    if not params.product_is_ours():
        return listed("bills", [], "")
    check_window(params, exchange.now_ms, MONTH)
    business = params.lower("businessType")
    if params.choice("onlyFunding", ("yes", "no"), "no") == "yes":
        business = "contract_settle_fee"
    symbol, coin = params.upper("symbol"), params.upper("coin", MARGIN_COIN)
    chosen = [
        bill
        for bill in exchange.venue.bills()
        if business in ("", bill.business) and symbol in ("", bill.symbol) and coin == MARGIN_COIN
    ]
    page = paged(chosen, params, lambda bill: bill.bill_id, lambda bill: bill.ts_ms, default=20)
    return listed("bills", [bill_row(bill) for bill in page], page[-1].bill_id if page else "")


@routes.get(POSITION + "all-position", private=True)
def all_position(exchange: Exchange, params: Params) -> Any:
    if not params.product_is_ours() or params.upper("marginCoin", MARGIN_COIN) != MARGIN_COIN:
        return []
    return _position_rows(exchange, None)


@routes.get(POSITION + "single-position", private=True)
def single_position(exchange: Exchange, params: Params) -> Any:
    symbol = traded(exchange, params)
    return _position_rows(exchange, symbol) if params.upper("marginCoin", MARGIN_COIN) == MARGIN_COIN else []


@routes.get(POSITION + "history-position", private=True)
def history_position(exchange: Exchange, params: Params) -> Any:
    if params.text("productType") and not params.product_is_ours():
        return listed("list", [], "")
    check_window(params, exchange.now_ms, QUARTER)
    closed = exchange.venue.closed_positions(asked_symbol(exchange, params))
    page = paged(closed, params, lambda one: one.position_id, lambda one: one.updated_ms, default=20)
    return listed("list", [closed_position_row(one) for one in page], page[-1].position_id if page else "")


@routes.get("/api/v2/common/trade-rate", private=True)
def trade_rate(exchange: Exchange, params: Params) -> Any:
    """The account's fees; ``businessType`` is ``mix``, the only business here."""
    params.choice("businessType", ("mix",), "mix")
    instrument = exchange.market(params.required("symbol")).instrument
    return {"makerFeeRate": plain(instrument.maker_fee), "takerFeeRate": plain(instrument.taker_fee)}


def require_product(params: Params) -> None:
    """Refuse a request that changes something in another product type or coin."""
    if not params.product_is_ours():
        raise Refusal("40020", "Parameter productType error")
    if params.upper("marginCoin", MARGIN_COIN) != MARGIN_COIN:
        raise Refusal("40020", "Parameter marginCoin error")


def traded(exchange: Exchange, params: Params) -> str:
    """The symbol of a request in our product type, in upper case; 40034 when unknown."""
    require_product(params)
    return exchange.market(params.required("symbol")).symbol


def asked_symbol(exchange: Exchange, params: Params) -> str | None:
    """The optional symbol of a request in upper case; 40034 when unknown."""
    symbol = params.text("symbol")
    return exchange.market(symbol).symbol if symbol else None


def _slot(exchange: Exchange, params: Params) -> PosSide:
    """The position that ``holdSide`` means: in hedge mode it has to be said."""
    side = params.choice("holdSide", ("", "long", "short"), "")
    if exchange.venue.position_mode == "one_way_mode":
        return "net"
    if not side:
        raise Refusal("40019", "Parameter holdSide cannot be empty")
    return cast(PosSide, side)


def _position_rows(exchange: Exchange, symbol: str | None) -> list[dict[str, Any]]:
    reports = [r for r in exchange.venue.positions() if symbol in (None, r.position.symbol)]
    return [position_row(r) for r in sorted(reports, key=lambda r: -r.position.opened_ms)]


def _setting_row(exchange: Exchange, symbol: str) -> dict[str, str]:
    """Leverages in the margin mode in force: with crossed margin both sides have the one."""
    settings = exchange.venue.account.settings[symbol]
    return {
        "symbol": symbol,
        "marginCoin": MARGIN_COIN,
        "longLeverage": str(settings.leverage("buy")),
        "shortLeverage": str(settings.leverage("sell")),
        "marginMode": settings.margin_mode,
    }
