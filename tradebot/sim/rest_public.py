"""Public REST endpoints (protocol section 6) and the ones an unmodified ccxt client probes (section 12.1)."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from tradebot.market.candle import DAY_MS, Candle
from tradebot.market.instrument import Instrument
from tradebot.sim.exchange import Exchange
from tradebot.sim.granularity import GRANULARITIES, Granularity
from tradebot.sim.params import Params
from tradebot.sim.routes import Routes
from tradebot.sim.symbol import SymbolMarket, TradeRow
from tradebot.sim.wire import MARGIN_COIN, Refusal, float_text, plain

routes = Routes()
MARKET = "/api/v2/mix/market/"

PRICE_BAND = Decimal("0.05")
MAX_CANDLE_SPAN_MS = 90 * DAY_MS


@routes.get("/api/v2/public/time")
def server_time(exchange: Exchange, params: Params) -> Any:
    return {"serverTime": str(exchange.now_ms + exchange.faults.requests.clock_ahead_ms())}


@routes.get(MARKET + "contracts")
def contracts(exchange: Exchange, params: Params) -> Any:
    return [contract_row(exchange.terms(market.symbol)) for market in _asked(exchange, params)]


@routes.get(MARKET + "ticker")
def ticker(exchange: Exchange, params: Params) -> Any:
    if not params.product_is_ours():
        return []
    return [_rest_ticker(exchange, exchange.market(params.required("symbol")))]


@routes.get(MARKET + "tickers")
def tickers(exchange: Exchange, params: Params) -> Any:
    return [_rest_ticker(exchange, market) for market in _asked(exchange, params)]


@routes.get(MARKET + "merge-depth")
def merge_depth(exchange: Exchange, params: Params) -> Any:
    market = _one(exchange, params)
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


@routes.get(MARKET + "candles")
def candles(exchange: Exchange, params: Params) -> Any:
    """Recent candles, the running one included; what lies beyond the endpoint's reach is not an error."""
    granularity = _granularity(params)
    oldest = exchange.now_ms - granularity.reach_ms
    return _candles(exchange, params, granularity, params.limit(100, 1000), finished=False, oldest_ms=oldest)


@routes.get(MARKET + "history-candles")
@routes.get(MARKET + "history-mark-candles")
@routes.get(MARKET + "history-index-candles")
def history_candles(exchange: Exchange, params: Params) -> Any:
    """Finished candles of the whole history. Mark and index candles are those of the market: no separate record."""
    return _candles(exchange, params, _granularity(params), params.limit(100, 200), finished=True, oldest_ms=0)


@routes.get(MARKET + "fills")
def fills(exchange: Exchange, params: Params) -> Any:
    market = _one(exchange, params)
    return [_trade(market, market.trades[i]) for i in range(min(params.limit(100, 100), len(market.trades)))]


@routes.get(MARKET + "fills-history")
def fills_history(exchange: Exchange, params: Params) -> Any:
    market = _one(exchange, params)
    limit = params.limit(500, 1000)
    before = params.integer("idLessThan")
    start = params.integer("startTime", 0) or 0
    end = params.integer("endTime", exchange.now_ms) or 0
    out: list[dict[str, str]] = []
    for row in market.trades:
        if len(out) == limit or int(row.ts) < start:
            break
        if int(row.ts) <= end and (before is None or int(row.tradeId) < before):
            out.append(_trade(market, row))
    return out


@routes.get(MARKET + "symbol-price")
def symbol_price(exchange: Exchange, params: Params) -> Any:
    market = _one(exchange, params)
    return [
        {
            "symbol": market.symbol,
            "price": market.last_price,
            "indexPrice": plain(market.index),
            "markPrice": plain(market.mark),
            "ts": str(market.ts_ms),
        }
    ]


@routes.get(MARKET + "current-fund-rate")
def current_fund_rate(exchange: Exchange, params: Params) -> Any:
    return [
        {
            "symbol": market.symbol,
            "fundingRate": plain(market.funding_rate),
            "fundingRateInterval": str(market.instrument.funding_hours),
            "nextUpdate": str(market.next_funding_ms(exchange.now_ms)),
            "minFundingRate": "-0.003",
            "maxFundingRate": "0.003",
        }
        for market in _asked(exchange, params)
    ]


@routes.get(MARKET + "history-fund-rate")
def history_fund_rate(exchange: Exchange, params: Params) -> Any:
    """Settlements since the exchange was opened, newest first."""
    market = _one(exchange, params)
    size = max(1, min(params.integer("pageSize", 20) or 20, 100))
    page = max(1, params.integer("pageNo", 1) or 1)
    newest_first = market.funding_history[::-1]
    return [
        {"symbol": market.symbol, "fundingRate": plain(rate), "fundingTime": str(at_ms)}
        for at_ms, rate in newest_first[(page - 1) * size : page * size]
    ]


@routes.get(MARKET + "funding-time")
def funding_time(exchange: Exchange, params: Params) -> Any:
    market = _one(exchange, params)
    return [
        {
            "symbol": market.symbol,
            "nextFundingTime": str(market.next_funding_ms(exchange.now_ms)),
            "ratePeriod": str(market.instrument.funding_hours),
        }
    ]


@routes.get(MARKET + "open-interest")
def open_interest(exchange: Exchange, params: Params) -> Any:
    market = _one(exchange, params)
    row = {"symbol": market.symbol, "size": market.open_interest(exchange.now_ms)}
    return {"openInterestList": [row], "ts": str(exchange.now_ms)}


@routes.get(MARKET + "query-position-lever")
def position_tiers(exchange: Exchange, params: Params) -> Any:
    """One tier: the account of the matching engine has one maintenance rate per contract."""
    instrument = _one(exchange, params).instrument
    return [
        {
            "symbol": instrument.symbol,
            "level": "1",
            "startUnit": "0",
            "endUnit": "100000000",
            "leverage": str(instrument.max_leverage),
            "keepMarginRate": plain(instrument.maintenance_rate),
        }
    ]


@routes.get("/api/v2/spot/public/coins")
def spot_coins(exchange: Exchange, params: Params) -> Any:
    return [{"coinId": "2", "coin": MARGIN_COIN, "transfer": "true", "chains": []}]


@routes.get("/api/v2/spot/public/symbols")
@routes.get("/api/v2/margin/currencies")
def no_spot_market(exchange: Exchange, params: Params) -> Any:
    return []


def contract_row(instrument: Instrument) -> dict[str, Any]:
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
        "buyLimitPriceRatio": plain(PRICE_BAND),
        "sellLimitPriceRatio": plain(PRICE_BAND),
        "feeRateUpRatio": "0.005",
        "makerFeeRate": plain(instrument.maker_fee),
        "takerFeeRate": plain(instrument.taker_fee),
        "openCostUpRatio": "0.01",
        "supportMarginCoins": [MARGIN_COIN],
        "minTradeNum": plain(instrument.min_qty),
        "priceEndStep": str(end_step),
        "volumePlace": str(max(0, -lot_exponent)),
        "pricePlace": str(price_place),
        "sizeMultiplier": plain(instrument.lot),
        "symbolType": "perpetual",
        "minTradeUSDT": plain(instrument.min_notional),
        "maxSymbolOrderNum": "200",
        "maxProductOrderNum": "1000",
        "maxPositionNum": "150",
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


def _asked(exchange: Exchange, params: Params) -> list[SymbolMarket]:
    """The markets of a request whose ``symbol`` is optional; none for another product type."""
    if not params.product_is_ours():
        return []
    symbol = params.text("symbol")
    return [exchange.market(symbol)] if symbol else list(exchange.markets.values())


def _one(exchange: Exchange, params: Params) -> SymbolMarket:
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


def _granularity(params: Params) -> Granularity:
    granularity = GRANULARITIES.get(params.required("granularity"))
    if granularity is None:
        raise Refusal("400171", "Parameter verification failed granularity")
    return granularity


def _candles(
    exchange: Exchange, params: Params, granularity: Granularity, limit: int, *, finished: bool, oldest_ms: int
) -> list[tuple[str, ...]]:
    """Rows with startTime ≤ row start ≤ endTime, oldest first; of too many, those nearest endTime (section 6.5)."""
    market = _one(exchange, params)
    now_ms = exchange.now_ms
    start = params.integer("startTime")
    end = params.integer("endTime")
    if start is not None and end is not None:
        if end < start:
            raise Refusal("40707", "Start time is greater than end time")
        if end - start > MAX_CANDLE_SPAN_MS:
            raise Refusal("00001", "startTime and endTime interval cannot be greater than 90 days")
    last = min(end if end is not None else now_ms, now_ms)
    longest = granularity.length_ms or 31 * DAY_MS
    first = max(granularity.start(last) - limit * longest, oldest_ms, start or 0)
    rows = granularity.rows(market.source, first, last, now_ms)
    if finished:
        rows = [row for row in rows if granularity.next_start(row.open_time_ms) <= now_ms]
    return [_candle_row(row) for row in rows[-limit:]]


def _candle_row(row: Candle) -> tuple[str, ...]:
    return (
        str(row.open_time_ms),
        float_text(row.open),
        float_text(row.high),
        float_text(row.low),
        float_text(row.close),
        float_text(row.volume),
        float_text(row.quote_volume),
    )
