"""Whether three parties have the same account: the exchange, the engine, and the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import sqlalchemy as sa

from tradebot.ledger import Ledger, schema
from tradebot.matching.venue import Venue
from tradebot.trading.orders import FINAL, KEEP_FINAL, parse_client_oid
from tradebot.trading.state import TradingState

CASH = Decimal(10_000)
EQUAL_WITHIN = Decimal("1e-6")
"""USDT: the two sides round averages at different places."""


@dataclass(slots=True)
class Compared:
    """How many orders and executions of ours the exchange has, how many came twice and how many our side lacks, and
    what differs in words."""

    orders: int = 0
    fills: int = 0
    duplicated: int = 0
    lost: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Kept:
    """The tables of a ledger, oldest rows first."""

    orders: list[Any]
    fills: list[Any]
    positions: list[Any]
    balances: list[Any]
    funding: list[Any]


def compare(state: TradingState, ledger_url: str, venue: Venue) -> Compared:
    """Orders, executions, positions, stops and money of the three."""
    found = Compared()
    kept = _read(ledger_url)
    for part in (
        _positions(state, kept, venue),
        _orders(state, kept, venue, found),
        _executions(kept, venue, found),
        _money(state, kept, venue),
        _stops(state, venue),
    ):
        found.problems += part
    return found


def _read(ledger_url: str) -> _Kept:
    with closing(Ledger(ledger_url)) as ledger, ledger.read() as connection:

        def rows(table: sa.Table, *by: str) -> list[Any]:
            return list(connection.execute(sa.select(table).order_by(*(table.c[name] for name in by))).mappings())

        return _Kept(
            rows(schema.orders),
            rows(schema.fills),
            rows(schema.positions, "epoch", "seq"),
            rows(schema.balances, "epoch", "seq"),
            rows(schema.funding),
        )


def _positions(state: TradingState, kept: _Kept, venue: Venue) -> Iterator[str]:
    theirs = {report.position.symbol: report.position.qty for report in venue.positions()}
    ours = {position.symbol: position.qty for position in state.portfolio.open_positions()}
    newest = {row["symbol"]: row["qty"] for row in kept.positions}
    booked = {symbol: qty for symbol, qty in newest.items() if qty}
    if not theirs == ours == booked:
        yield f"positions: exchange {_plain(theirs)}, engine {_plain(ours)}, ledger {_plain(booked)}"


def _orders(state: TradingState, kept: _Kept, venue: Venue, found: Compared) -> Iterator[str]:
    every = [*venue.open_orders(), *venue.past_orders()]
    listed = [order for order in every if parse_client_oid(order.client_oid)]
    found.orders = len(listed)
    twice = sum(count - 1 for count in Counter(order.client_oid for order in listed).values())
    found.duplicated += twice
    if twice:
        yield f"orders: {twice} client order ids came twice"
    by_id = {order.order_id: order for order in every}
    on_exchange = {o.client_oid: (o.order_id, str(o.status), o.filled_qty) for o in listed}
    in_engine = {o.client_oid: (o.order_id, str(o.status), o.filled_qty) for o in state.orders}
    in_ledger = {
        row["client_oid"]: (row["order_id"], row["status"], row["filled_qty"])
        for row in kept.orders
        if row["kind"] == "order"
    }
    for name, known in (("engine", in_engine), ("ledger", in_ledger)):
        for oid, told in on_exchange.items():
            forgets = name == "engine" and len(known) >= KEEP_FINAL and told[1] in FINAL
            if known.get(oid) != told and not (forgets and oid not in known):
                found.lost += oid not in known
                yield f"order {oid}: exchange {told}, {name} {known.get(oid)}"
        ghosts = []
        for oid, told in known.items():
            if oid in on_exchange or told[1] == "rejected" or not parse_client_oid(oid):
                continue
            # a flash close has an id of the exchange's own there
            theirs_too = by_id.get(told[0])
            if theirs_too is None or (str(theirs_too.status), theirs_too.filled_qty) != told[1:]:
                ghosts.append(oid)
        if ghosts:
            yield f"orders that only the {name} has: {', '.join(f'{oid} {known[oid][1]}' for oid in ghosts)}"


def _executions(kept: _Kept, venue: Venue, found: Compared) -> Iterator[str]:
    executed = {execution.trade_id for execution in venue.executions()}
    found.fills = len(executed)
    booked = Counter(row["trade_id"] for row in kept.fills)
    missing = len(executed - set(booked))
    found.lost += missing
    if set(booked) != executed:
        yield f"executions: {missing} missing in the ledger, {len(set(booked) - executed)} too many"
    twice = sum(booked.values()) - len(booked)
    found.duplicated += twice
    if twice:
        yield f"executions: {twice} booked twice"


def _money(state: TradingState, kept: _Kept, venue: Venue) -> Iterator[str]:
    book, cash = state.portfolio, venue.account.cash
    in_total = CASH + book.realised + book.fees + book.funding
    if abs(in_total - cash) > EQUAL_WITHIN:
        yield f"balance: exchange {cash}, engine {in_total}"
    in_books = CASH + sum(row["realised"] + row["fee"] for row in kept.fills) + sum(r["amount"] for r in kept.funding)
    if abs(in_books - cash) > EQUAL_WITHIN:
        yield f"balance: exchange {cash}, ledger {in_books}"
    heard = kept.balances[-1]["balance"] if kept.balances else None
    if heard is None or abs(heard - cash) > EQUAL_WITHIN:
        yield f"balance: exchange {cash}, last heard {heard}"


def _stops(state: TradingState, venue: Venue) -> Iterator[str]:
    held = {report.position.symbol for report in venue.positions()}
    protected = {plan.symbol for plan in venue.live_plans() if plan.plan == "pos_loss"}
    for symbol in sorted(held):
        if symbol not in protected:
            yield f"{symbol} is held without a stop"
        elif symbol not in state.stops or not state.stops[symbol].confirmed:
            yield f"the stop of {symbol} is not known to the engine"
    if orphans := protected - held:
        yield f"stops without a position: {', '.join(sorted(orphans))}"


def _plain(sizes: dict[str, Any]) -> str:
    return ", ".join(f"{symbol} {qty}" for symbol, qty in sorted(sizes.items())) or "flat"
