"""Contracts, requests and a venue with a small book, shared by the tests of this room."""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

from tradebot.market.instrument import Instrument, Side
from tradebot.matching.orders import OrderRequest
from tradebot.matching.plans import PlanRequest, PlanType
from tradebot.matching.reports import OrderChanged, VenueEvent
from tradebot.matching.venue import Venue

SOL = Instrument(symbol="SOLUSDT", tick=D("0.001"), lot=D("0.1"), min_qty=D("0.1"))
BTC = Instrument(symbol="BTCUSDT", tick=D("0.1"), lot=D("0.001"), min_qty=D("0.001"), max_leverage=125)
T = 1_760_000_000_000
DEEP = 1_000_000


def flat_book(venue: Venue, symbol: str, bid: str, ask: str, ts: int = T, lots: int = DEEP) -> None:
    """One deep level a side at these prices, and the mark between them."""
    tick = venue.instruments[symbol].tick
    venue.set_book(symbol, ((int(D(bid) / tick), lots),), ((int(D(ask) / tick), lots),), ts)
    venue.set_mark(symbol, (D(bid) + D(ask)) / 2, ts)


def sol_venue(cash: str = "10000", **settings: Any) -> Venue:
    """A venue whose SOLUSDT book is 150.120 x 12.5, 150.119 x 3 | 150.121 x 7.1, 150.125 x 20, mark 150.12."""
    venue = Venue([SOL, BTC], D(cash), **settings)
    venue.set_book("SOLUSDT", ((150_120, 125), (150_119, 30)), ((150_121, 71), (150_125, 200)), T)
    venue.set_mark("SOLUSDT", D("150.12"), T)
    return venue


def market(side: Side, qty: str, symbol: str = "SOLUSDT", **extra: Any) -> OrderRequest:
    return OrderRequest(symbol=symbol, side=side, order_type="market", qty=D(qty), **extra)


def limit(side: Side, qty: str, price: str, symbol: str = "SOLUSDT", **extra: Any) -> OrderRequest:
    return OrderRequest(symbol=symbol, side=side, order_type="limit", qty=D(qty), price=D(price), **extra)


def plan(kind: PlanType, trigger: str, symbol: str = "SOLUSDT", **extra: Any) -> PlanRequest:
    return PlanRequest(symbol=symbol, plan=kind, trigger_price=D(trigger), **extra)


def kinds(events: list[VenueEvent]) -> list[str]:
    """Names of events; order changes with their status."""
    return [f"{type(e).__name__}:{e.order.status}" if isinstance(e, OrderChanged) else type(e).__name__ for e in events]
