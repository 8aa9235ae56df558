"""Public REST endpoints (protocol section 6) and the ones an unmodified ccxt client probes (section 12.1)."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from tradebot.market.candle import DAY_MS
from tradebot.market.instrument import Instrument
from tradebot.matching.settings import VenueLimits
from tradebot.sim.exchange import Exchange
from tradebot.sim.params import Params
from tradebot.sim.routes import Routes
from tradebot.sim.symbol import SymbolMarket, TradeRow
from tradebot.sim.wire import MARGIN_COIN, Refusal, plain

routes = Routes()
MARKET = "/api/v2/mix/market/"

TRADE_REACH_MS, TRADE_WINDOW_MS = 90 * DAY_MS, 7 * DAY_MS


@routes.get("/api/v2/public/time")
def server_time(exchange: Exchange, params: Params) -> Any:
    return {"serverTime": str(exchange.now_ms + exchange.faults.requests.clock_ahead_ms())}


@routes.get(MARKET + "contracts")
def contracts(exchange: Exchange, params: Params) -> Any:
    limits = exchange.venue.limits
    asked = [market.symbol for market in asked_markets(exchange, params)]
    listed = [symbol for symbol in asked if exchange.faults.acts.lists(symbol)]
    if params.text("symbol") and len(listed) < len(asked):
        raise Refusal("40034", f"Parameter {params.text('symbol')} does not exist")
    return [contract_row(exchange.terms(symbol), limits) for symbol in listed]


@routes.get(MARKET + "ticker")
def ticker(exchange: Exchange, params: Params) -> Any:
    if not params.product_is_ours():
        return []
    return [_rest_ticker(exchange, exchange.market(params.required("symbol")))]


@routes.get(MARKET + "tickers")
def tickers(exchange: Exchange, params: Params) -> Any:
    return [_rest_ticker(exchange, market) for market in asked_markets(exchange, params)]


@routes.get(MARKET + "merge-depth")
def merge_depth(exchange: Exchange, params: Params) -> Any:
    market = one_market(exchange, params)
    text = params.lower("limit", "100")
    if text not in ("1", "5", "15", "50", "100", "max"):
        raise Refusal("40020", "Parameter limit error")
    precision = params.choice("precision", ("scale0", "scale1", "scale2", "scale3"), "scale0")
    scale = market.instrument.tick * 10 ** int(precision[5:])
    levels = None if text == "max" else int(text)
    return {
        "asks": _numbers(market, market.asks, scale, levels, up=True),
        "bids": _numbers(market, market.bids, scale, levels, up=False),
        "ts": str(market.book_ms),
        "scale": plain(scale),
        "precision": precision,
        "isMaxPrecision": "NO",
    }


@routes.get(MARKET + "fills")
def fills(exchange: Exchange, params: Params) -> Any:
    market = one_market(exchange, params)
    return [_trade(market, market.trades[i]) for i in range(min(params.limit(100, 100), len(market.trades)))]


@routes.get(MARKET + "fills-history")
def fills_history(exchange: Exchange, params: Params) -> Any:
    """Trades of up to 90 days, newest first; here the taker's side is capitalised, as in the exchange's examples."""
    market = one_market(exchange, params)
    limit = params.limit(500, 1000)
    before = params.integer("idLessThan")
    start, end = _trade_window(params, exchange.now_ms)
    out: list[dict[str, str]] = []
    for row in market.trades:
        if len(out) == limit:
            break
        if start <= int(row.ts) <= end and (before is None or int(row.tradeId) < before):
            out.append({**_trade(market, row), "side": row.side.capitalize()})
    return out


def _trade_window(params: Params, now_ms: int) -> tuple[int, int]:
    """startTime and endTime (ms), both included: at most 7 days apart, at most 90 days ago (section 6.7)."""
    start, end = params.integer("startTime"), params.integer("endTime")
    if start is not None and end is not None:
        if end < start:
            raise Refusal("40707", "Start time is greater than end time")
        if end - start > TRADE_WINDOW_MS:
            raise Refusal("00001", "startTime and endTime interval cannot be greater than 7 days")
    if start is not None and start < now_ms - TRADE_REACH_MS:
        raise Refusal("40704", "The data of the last 3 months only can be queried")
    return start or 0, now_ms if end is None else end


@routes.get(MARKET + "symbol-price")
def symbol_price(exchange: Exchange, params: Params) -> Any:
    market = one_market(exchange, params)
    return [
        {
            "symbol": market.symbol,
            "price": market.last_price,
            "indexPrice": plain(market.index),
            "markPrice": plain(market.mark),
            "ts": str(market.ts_ms),
        }
    ]


@routes.get(MARKET + "open-interest")
def open_interest(exchange: Exchange, params: Params) -> Any:
    market = one_market(exchange, params)
    row = {"symbol": market.symbol, "size": market.open_interest(exchange.now_ms)}
    return {"openInterestList": [row], "ts": str(exchange.now_ms)}


@routes.get(MARKET + "query-position-lever")
def position_tiers(exchange: Exchange, params: Params) -> Any:
    """All tiers of a symbol, by position value in USDT."""
    if not params.product_is_ours():
        return []
    symbol = exchange.market(params.required("symbol")).symbol
    return [
        {
            "symbol": symbol,
            "level": str(tier.level),
            "startUnit": plain(tier.start),
            "endUnit": plain(tier.end),
            "leverage": str(tier.max_leverage),
            "keepMarginRate": plain(tier.maintenance_rate),
        }
        for tier in exchange.venue.tiers[symbol]
    ]


@routes.get("/api/v2/spot/public/coins")
def spot_coins(exchange: Exchange, params: Params) -> Any:
    return [{"coinId": "2", "coin": MARGIN_COIN, "transfer": "true", "chains": []}]


@routes.get("/api/v2/spot/public/symbols")
@routes.get("/api/v2/margin/currencies")
def no_spot_market(exchange: Exchange, params: Params) -> Any:
    return []


def contract_row(instrument: Instrument, limits: VenueLimits) -> dict[str, Any]:
    """A row of ``contracts`` (section 6.2): tick = priceEndStep × 10^-pricePlace."""
    exponent = instrument.tick.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    price_place = max(0, -exponent)
    end_step = int(instrument.tick.scaleb(price_place))
    lot_exponent = instrument.lot.normalize().as_tuple().exponent
    assert isinstance(lot_exponent, int)
    base = instrument.symbol.removesuffix(MARGIN_COIN)
    return {
        "symbol": instrument.symbol,
        "baseCoin": base,
        "quoteCoin": MARGIN_COIN,
        "buyLimitPriceRatio": plain(limits.price_band),
        "sellLimitPriceRatio": plain(limits.price_band),
        "feeRateUpRatio": "0.005",
        "makerFeeRate": plain(instrument.maker_fee),
        "takerFeeRate": plain(instrument.taker_fee),
        "openCostUpRatio": plain(limits.open_cost_up_ratio),
        "supportMarginCoins": [MARGIN_COIN],
        "minTradeNum": plain(instrument.min_qty),
        "priceEndStep": str(end_step),
        "volumePlace": str(max(0, -lot_exponent)),
        "pricePlace": str(price_place),
        "sizeMultiplier": plain(instrument.lot),
        "symbolType": "perpetual",
        "minTradeUSDT": plain(instrument.min_notional),
        "maxSymbolOrderNum": str(limits.max_symbol_orders),
        "maxProductOrderNum": str(limits.max_product_orders),
        "maxPositionNum": str(limits.max_positions),
        "symbolStatus": instrument.status,
        "offTime": _moment(instrument.off_time_ms, "-1"),
        "limitOpenTime": _moment(instrument.limit_open_time_ms, "-1"),
        "deliveryTime": "",
        "deliveryStartTime": "",
        "deliveryPeriod": "",
        "launchTime": "",
        "fundInterval": str(instrument.funding_hours),
        "minLever": "1",
        "maxLever": str(instrument.max_leverage),
        "posLimit": "0.1",
        "maintainTime": _moment(instrument.maintain_time_ms, ""),
        "openTime": "",
        "maxMarketOrderQty": plain(instrument.max_market_qty) if instrument.max_market_qty else "",
        "maxOrderQty": plain(instrument.max_qty) if instrument.max_qty else "",
        "isRwa": "NO",
    }


def _moment(at_ms: int | None, none: str) -> str:
    return none if at_ms is None else str(at_ms)


def asked_markets(exchange: Exchange, params: Params) -> list[SymbolMarket]:
    """The markets of a request whose ``symbol`` is optional; none for another product type."""
    if not params.product_is_ours():
        return []
    symbol = params.text("symbol")
    return [exchange.market(symbol)] if symbol else list(exchange.markets.values())


def one_market(exchange: Exchange, params: Params) -> SymbolMarket:
    """The market of a request; 40034 for an unknown symbol or one of another product type."""
    if not params.product_is_ours():
        raise Refusal("40034", f"Parameter {params.text('symbol')} does not exist")
    return exchange.market(params.required("symbol"))


def _rest_ticker(exchange: Exchange, market: SymbolMarket) -> dict[str, Any]:
    return {**market.ticker(exchange.now_ms), "deliveryStartTime": None, "deliveryTime": None, "deliveryStatus": ""}


def _trade(market: SymbolMarket, row: TradeRow) -> dict[str, str]:
    return {
        "tradeId": row.tradeId,
        "price": row.price,
        "size": row.size,
        "side": row.side,
        "ts": row.ts,
        "symbol": market.symbol,
    }


def _numbers(
    market: SymbolMarket, levels: tuple[tuple[int, int], ...], scale: Decimal, count: int | None, *, up: bool
) -> list[tuple[float, float]]:
    """Levels as JSON numbers, merged to multiples of ``scale`` away from the market."""
    tick = market.instrument.tick
    if scale == tick:
        return [(float(market.price_text[ticks]), float(market.size_text[lots])) for ticks, lots in levels[:count]]
    step = int((scale / tick).to_integral_value(ROUND_HALF_EVEN))
    merged: dict[int, int] = {}
    for ticks, lots in levels:
        bucket = -(-ticks // step) * step if up else ticks // step * step
        merged[bucket] = merged.get(bucket, 0) + lots
    return [
        (float(market.price_text[ticks]), float(market.size_text[lots])) for ticks, lots in list(merged.items())[:count]
    ]
