"""Private REST endpoints of account, settings, positions and bills (protocol section 7)."""

from __future__ import annotations

from typing import Any, cast

from tradebot.matching.orders import MarginMode, PositionMode
from tradebot.sim import rows
from tradebot.sim.exchange import Exchange
from tradebot.sim.paging import listed, paged
from tradebot.sim.params import Params
from tradebot.sim.routes import Routes
from tradebot.sim.wire import MARGIN_COIN, Refusal, plain

routes = Routes()
ACCOUNT = "/api/v2/mix/account/"
POSITION = "/api/v2/mix/position/"


@routes.get(ACCOUNT + "accounts", private=True)
def accounts(exchange: Exchange, params: Params) -> Any:
    return [rows.accounts_row(exchange.venue.summary())] if params.product_is_ours() else []


@routes.get(ACCOUNT + "account", private=True)
def account(exchange: Exchange, params: Params) -> Any:
    """Balance and, for one symbol, the settings in force."""
    settings = exchange.venue.account.settings[traded(exchange, params)]
    leverage = str(settings.leverage)
    return {
        **rows.account_row(exchange.venue.summary()),
        "crossedMarginLeverage": leverage,
        "isolatedLongLever": leverage,
        "isolatedShortLever": leverage,
        "marginMode": settings.margin_mode,
        "posMode": exchange.venue.position_mode,
    }


@routes.post(ACCOUNT + "set-leverage")
def set_leverage(exchange: Exchange, params: Params) -> Any:
    """One leverage for both sides and both margin modes: the venue trades one-way."""
    symbol = traded(exchange, params)
    leverage = params.integer("leverage")
    if leverage is None:
        leverage = params.integer("longLeverage")
    if leverage is None:
        raise Refusal("40019", "Parameter leverage cannot be empty")
    exchange.venue.set_leverage(symbol, leverage, exchange.now_ms)
    return {**_setting_row(exchange, symbol), "crossMarginLeverage": str(leverage)}


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


@routes.get(ACCOUNT + "max-open", private=True)
def max_open(exchange: Exchange, params: Params) -> Any:
    symbol = traded(exchange, params)
    side = params.choice("posSide", ("long", "short"), "long")
    size = exchange.venue.max_open(symbol, "buy" if side == "long" else "sell", params.positive_or_none("openPrice"))
    return {"maxOpen": plain(size)}


@routes.get(ACCOUNT + "bill", private=True)
def bills(exchange: Exchange, params: Params) -> Any:
    if not params.product_is_ours():
        return listed("bills", [], "")
    business = params.lower("businessType")
    if params.lower("onlyFunding") == "yes":
        business = "contract_settle_fee"
    symbol = params.upper("symbol")
    chosen = [
        bill
        for bill in exchange.venue.bills()
        if business in ("", bill.business) and symbol in ("", bill.symbol) and params.upper("coin", "USDT") == "USDT"
    ]
    page = paged(chosen, params, lambda bill: bill.bill_id, lambda bill: bill.ts_ms, default=20)
    return listed("bills", [rows.bill_row(bill) for bill in page], page[-1].bill_id if page else "")


@routes.get(POSITION + "all-position", private=True)
def all_position(exchange: Exchange, params: Params) -> Any:
    if not params.product_is_ours() or params.upper("marginCoin", MARGIN_COIN) != MARGIN_COIN:
        return []
    newest_first = sorted(exchange.venue.positions(), key=lambda report: -report.position.opened_ms)
    return [rows.position_row(report) for report in newest_first]


@routes.get(POSITION + "single-position", private=True)
def single_position(exchange: Exchange, params: Params) -> Any:
    report = exchange.venue.position(traded(exchange, params))
    return [] if report is None else [rows.position_row(report)]


@routes.get(POSITION + "history-position", private=True)
def history_position(exchange: Exchange, params: Params) -> Any:
    symbol = params.text("symbol")
    closed = exchange.venue.closed_positions(exchange.market(symbol).symbol if symbol else None)
    page = paged(closed, params, lambda one: one.position_id, lambda one: one.updated_ms, default=20)
    return listed("list", [rows.closed_position_row(one) for one in page], page[-1].position_id if page else "")


@routes.get("/api/v2/common/trade-rate", private=True)
def trade_rate(exchange: Exchange, params: Params) -> Any:
    instrument = exchange.market(params.required("symbol")).instrument
    return {"makerFeeRate": plain(instrument.maker_fee), "takerFeeRate": plain(instrument.taker_fee)}


def require_product(params: Params) -> None:
    """Refuse a request that changes something in another product type."""
    if not params.product_is_ours():
        raise Refusal("40020", "Parameter productType error")


def traded(exchange: Exchange, params: Params) -> str:
    """The symbol of a request in our product type, in upper case; 40034 when unknown."""
    require_product(params)
    return exchange.market(params.required("symbol")).symbol


def _setting_row(exchange: Exchange, symbol: str) -> dict[str, str]:
    settings = exchange.venue.account.settings[symbol]
    leverage = str(settings.leverage)
    return {
        "symbol": symbol,
        "marginCoin": MARGIN_COIN,
        "longLeverage": leverage,
        "shortLeverage": leverage,
        "marginMode": settings.margin_mode,
    }
