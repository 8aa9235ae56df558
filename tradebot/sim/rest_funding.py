"""Funding rates over REST (protocol section 6.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tradebot.sim.params import Params
from tradebot.sim.rest_public import MARKET, asked_markets, one_market
from tradebot.sim.routes import Routes
from tradebot.sim.wire import plain

if TYPE_CHECKING:
    from tradebot.sim.exchange import Exchange

routes = Routes()


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
        for market in asked_markets(exchange, params)
    ]


@routes.get(MARKET + "history-fund-rate")
def history_fund_rate(exchange: Exchange, params: Params) -> Any:
    """Settlements, newest first."""
    market = one_market(exchange, params)
    size = max(1, min(params.integer("pageSize", 20) or 20, 100))
    page = max(1, params.integer("pageNo", 1) or 1)
    newest_first = market.funding_history[::-1]
    return [
        {"symbol": market.symbol, "fundingRate": plain(rate), "fundingTime": str(at_ms)}
        for at_ms, rate in newest_first[(page - 1) * size : page * size]
    ]


@routes.get(MARKET + "funding-time")
def funding_time(exchange: Exchange, params: Params) -> Any:
    market = one_market(exchange, params)
    return [
        {
            "symbol": market.symbol,
            "nextFundingTime": str(market.next_funding_ms(exchange.now_ms)),
            "ratePeriod": str(market.instrument.funding_hours),
        }
    ]
