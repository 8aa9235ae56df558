"""Questions people ask the ledger. Every answer is newest first unless it says otherwise; times are ms (UTC)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from tradebot.ledger import schema
from tradebot.ledger.database import Ledger
from tradebot.ledger.orders import FINAL

R = TypeVar("R", bound=msgspec.Struct)

_ZERO = Decimal(0)
_AT_ONCE = 500
"""Decisions whose checks are asked for in one query."""


class AnswerRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one model said for a decision, or why it said nothing (``missing``)."""

    model: str
    version: str
    sha256: str
    expected_bp: float | None
    p_up: float | None
    p_down: float | None
    provisional: bool
    missing: str


class SignalRow(msgspec.Struct, frozen=True, kw_only=True):
    """A decision. ``checks`` are [name, seen, allowed, verdict], values as exact text; ``models`` what each said."""

    epoch: int
    seq: int
    ts_ms: int
    decision_id: str
    symbol: str
    mode: str
    strategy: str
    action: str
    reason: str
    verdict: str
    checks: list[list[str]]
    model: str
    version: str
    model_sha256: str
    row_hash: str
    expected_bp: float | None
    p_up: float | None
    p_down: float | None
    provisional: bool
    bid: float | None
    ask: float | None
    position_qty: Decimal
    qty: Decimal
    client_oid: str
    hook: str
    models: list[AnswerRow]


class OrderRow(msgspec.Struct, frozen=True, kw_only=True):
    """An order, exchange-side stop or flash close (``kind``) with the furthest status heard.

    ``ts_ms`` is when it was sent or first heard of, ``confirmed_ms`` when a stop was first seen live on the exchange.
    ``preset_stop`` and ``preset_take_profit`` are the trigger prices that an entry carries.
    """

    epoch: int
    seq: int
    ts_ms: int
    updated_ms: int
    confirmed_ms: int | None
    kind: str
    client_oid: str
    order_id: str
    decision_id: str
    symbol: str
    side: str
    order_type: str
    purpose: str
    tif: str
    reduce_only: bool
    qty: Decimal | None
    price: Decimal | None
    trigger_price: Decimal | None
    preset_stop: Decimal | None
    preset_take_profit: Decimal | None
    status: str
    filled_qty: Decimal
    avg_price: Decimal | None
    reason: str
    code: str


class FillRow(msgspec.Struct, frozen=True, kw_only=True):
    """One execution. ``fee`` is negative when paid (USDT); ``realised`` is profit before fees."""

    epoch: int
    seq: int
    ts_ms: int
    ts_exchange_ms: int
    trade_id: str
    order_id: str
    client_oid: str
    symbol: str
    side: str
    price: Decimal
    qty: Decimal
    fee: Decimal
    realised: Decimal
    maker: bool


class PositionRow(msgspec.Struct, frozen=True, kw_only=True):
    """An open position as the exchange reported it at ``ts_ms``; ``qty`` is signed base coin."""

    symbol: str
    qty: Decimal
    entry_price: Decimal
    liquidation_price: Decimal | None
    opened_ms: int
    ts_ms: int


class Pnl(msgspec.Struct, frozen=True, kw_only=True):
    """Money made in a span of time, USDT; ``net`` = realised + fees + funding (fees are negative when paid)."""

    symbol: str
    realised: Decimal
    fees: Decimal
    funding: Decimal
    net: Decimal
    fills: int


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """The account at ``ts_ms``, USDT."""

    ts_ms: int
    equity: Decimal
    available: Decimal
    balance: Decimal


class DifferenceRow(msgspec.Struct, frozen=True, kw_only=True):
    """What the exchange told otherwise than we had it at ``ts_ms``; ``symbol`` is empty for the account."""

    epoch: int
    seq: int
    ts_ms: int
    kind: str
    symbol: str
    ours: str
    theirs: str
    done: str


def last_differences(ledger: Ledger, *, limit: int = 20, symbol: str | None = None) -> list[DifferenceRow]:
    """The newest differences that reconciliation found. Raises DataError when there is no ledger, BusyError."""
    t = schema.differences
    query = sa.select(t) if symbol is None else sa.select(t).where(t.c.symbol == symbol)
    return _rows(ledger, query.order_by(t.c.epoch.desc(), t.c.seq.desc()).limit(limit), DifferenceRow)


def symbols_known(ledger: Ledger) -> list[str]:
    """Every symbol that a run traded or a difference speaks of. Raises DataError when there is no ledger, BusyError."""
    runs = sa.select(schema.meta.c.symbols)
    told = sa.select(schema.differences.c.symbol).distinct()
    with ledger.read() as connection:
        found = {name for (names,) in connection.execute(runs) for name in names}
        found |= {name for (name,) in connection.execute(told)}
    return sorted(found - {""})


def last_signals(
    ledger: Ledger, *, limit: int = 20, symbol: str | None = None, verdict: str | None = None, since_ms: int = 0
) -> list[SignalRow]:
    """The newest decisions. Raises DataError when there is no ledger, BusyError."""
    t = schema.decisions
    query = sa.select(t).where(t.c.ts_ms >= since_ms)
    if symbol is not None:
        query = query.where(t.c.symbol == symbol)
    if verdict is not None:
        query = query.where(t.c.verdict == verdict)
    return _signals(ledger, query.order_by(t.c.epoch.desc(), t.c.seq.desc()).limit(limit))


def signal(ledger: Ledger, decision_id: str) -> SignalRow | None:
    """One decision by its id. Raises DataError when there is no ledger, BusyError."""
    t = schema.decisions
    found = _signals(ledger, sa.select(t).where(t.c.decision_id == decision_id).limit(1))
    return found[0] if found else None


def _signals(ledger: Ledger, query: sa.Select[Any]) -> list[SignalRow]:
    c, m = schema.risk_checks.c, schema.model_answers.c
    names = [name for name in SignalRow.__struct_fields__ if name not in ("checks", "models")]
    checks: dict[tuple[int, int], list[list[str]]] = {}
    answers: dict[tuple[int, int], list[AnswerRow]] = {}
    with ledger.read() as connection:
        decided = connection.execute(query).mappings().all()
        ids = [row["decision_id"] for row in decided]
        for first in range(0, len(ids), _AT_ONCE):
            some = ids[first : first + _AT_ONCE]
            told = sa.select(schema.risk_checks).where(c.decision_id.in_(some)).order_by(c.epoch, c.seq, c.number)
            for row in connection.execute(told):
                checks.setdefault((row.epoch, row.seq), []).append([row.name, row.seen, row.allowed, row.verdict])
            said = sa.select(schema.model_answers).where(m.decision_id.in_(some)).order_by(m.epoch, m.seq, m.number)
            for answer in connection.execute(said).mappings():
                values = {name: answer[name] for name in AnswerRow.__struct_fields__}
                answers.setdefault((answer["epoch"], answer["seq"]), []).append(AnswerRow(**values))
    return [
        SignalRow(
            **{name: row[name] for name in names},
            checks=checks.get((row["epoch"], row["seq"]), []),
            models=answers.get((row["epoch"], row["seq"]), []),
        )
        for row in decided
    ]


def last_orders(
    ledger: Ledger, *, limit: int = 20, symbol: str | None = None, only_open: bool = False
) -> list[OrderRow]:
    """The newest orders and stops. Raises DataError when there is no ledger, BusyError."""
    t = schema.orders
    query = sa.select(t)
    if symbol is not None:
        query = query.where(t.c.symbol == symbol)
    if only_open:
        query = query.where(t.c.status.not_in(FINAL))
    return _rows(ledger, query.order_by(t.c.epoch.desc(), t.c.seq.desc(), t.c.order_key).limit(limit), OrderRow)


def orders_of(ledger: Ledger, client_oid: str) -> list[OrderRow]:
    """The order ``client_oid`` and, when it is an entry, the stops of the position that it opened, oldest first.

    Stops name no decision: they are those of the symbol between the sending of the entry and the moment when the
    position was flat again. Where the entry added to a position, the stops that protected it already count too.
    Empty when there is no such order. Raises DataError when there is no ledger, BusyError.
    """
    t = schema.orders
    found = _rows(ledger, sa.select(t).where(t.c.client_oid == client_oid).limit(1), OrderRow)
    if not found or found[0].purpose != "entry":
        return found
    entry = found[0]
    opened, closed = _span(ledger, entry)
    stops = sa.select(t).where(t.c.kind == "stop", t.c.symbol == entry.symbol)
    stops = stops.where((t.c.epoch > opened[0]) | ((t.c.epoch == opened[0]) & (t.c.seq >= opened[1])))
    if closed is not None:
        stops = stops.where((t.c.epoch < closed[0]) | ((t.c.epoch == closed[0]) & (t.c.seq <= closed[1])))
    return [entry, *_rows(ledger, stops.order_by(t.c.epoch, t.c.seq, t.c.order_key), OrderRow)]


_Place = tuple[int, int]
"""(epoch, seq) of a record."""


def _span(ledger: Ledger, entry: OrderRow) -> tuple[_Place, _Place | None]:
    """From where to where the position lived that ``entry`` opened or added to; end None: it is open.

    It ends with the execution that made it flat or, where executions were missed, with the exchange's report that it is
    flat. An entry without an execution opened nothing, and its span is its own record.
    """
    f, p = schema.fills.c, schema.positions.c
    with ledger.read() as connection:
        executed = connection.execute(
            sa.select(f.epoch, f.seq, f.client_oid, f.side, f.qty).where(f.symbol == entry.symbol)
        ).all()
        reported = connection.execute(sa.select(p.epoch, p.seq, p.qty).where(p.symbol == entry.symbol)).all()
    steps = [((row.epoch, row.seq), row.qty if row.side == "buy" else -row.qty, row.client_oid) for row in executed]
    flat = [((row.epoch, row.seq), None, "") for row in reported if row.qty == 0]
    opened = entry.epoch, entry.seq
    since: _Place | None = None
    held, filled = _ZERO, False
    for at, change, client_oid in sorted([*steps, *flat], key=lambda step: step[0]):
        since = since or at
        held = _ZERO if change is None else held + change
        if client_oid == entry.client_oid:
            opened, filled = min(opened, since), True
        if held == 0:
            if filled:
                return opened, at
            since = None
    return opened, None if filled else opened


def last_fills(
    ledger: Ledger,
    *,
    limit: int = 20,
    symbol: str | None = None,
    since_ms: int = 0,
    until_ms: int | None = None,
    client_oid: str | None = None,
) -> list[FillRow]:
    """The newest executions, by exchange time ``since_ms <= t < until_ms``. Raises DataError, BusyError."""
    t = schema.fills
    query = sa.select(t).where(t.c.ts_exchange_ms >= since_ms)
    if until_ms is not None:
        query = query.where(t.c.ts_exchange_ms < until_ms)
    if symbol is not None:
        query = query.where(t.c.symbol == symbol)
    if client_oid is not None:
        query = query.where(t.c.client_oid == client_oid)
    return _rows(ledger, query.order_by(t.c.epoch.desc(), t.c.seq.desc()).limit(limit), FillRow)


def open_positions(ledger: Ledger) -> list[PositionRow]:
    """Positions that were open when the exchange was last heard, by symbol. Raises DataError, BusyError."""
    return [row for row in _rows(ledger, latest_positions(), PositionRow) if row.qty]


def last_balance(ledger: Ledger) -> Balance | None:
    """The account as last reported. Raises DataError when there is no ledger, BusyError."""
    t = schema.balances
    found = _rows(ledger, sa.select(t).order_by(t.c.epoch.desc(), t.c.seq.desc()).limit(1), Balance)
    return found[0] if found else None


def pnl(ledger: Ledger, *, since_ms: int = 0, until_ms: int | None = None) -> list[Pnl]:
    """Profit by symbol over executions and funding with ``since_ms <= exchange time < until_ms``, by symbol.

    Summed as decimals here, because SQLite would sum as binary floats. Raises DataError, BusyError.
    """
    f, p = schema.fills.c, schema.funding.c
    executed = sa.select(f.symbol, f.realised, f.fee).where(f.ts_exchange_ms >= since_ms)
    paid = sa.select(p.symbol, p.amount).where(p.ts_exchange_ms >= since_ms)
    if until_ms is not None:
        executed = executed.where(f.ts_exchange_ms < until_ms)
        paid = paid.where(p.ts_exchange_ms < until_ms)
    sums: dict[str, list[Decimal]] = {}
    counts: dict[str, int] = {}
    with ledger.read() as connection:
        for symbol, realised, fee in connection.execute(executed):
            total = sums.setdefault(symbol, [_ZERO, _ZERO, _ZERO])
            total[0] += realised
            total[1] += fee
            counts[symbol] = counts.get(symbol, 0) + 1
        for symbol, amount in connection.execute(paid):
            sums.setdefault(symbol, [_ZERO, _ZERO, _ZERO])[2] += amount
    return [
        Pnl(
            symbol=symbol, realised=r, fees=fee, funding=transfers, net=r + fee + transfers, fills=counts.get(symbol, 0)
        )
        for symbol, (r, fee, transfers) in sorted(sums.items())
    ]


def latest_positions() -> sa.Select[Any]:
    """The newest row of each symbol, flat ones too."""
    t = schema.positions
    rank = sa.func.row_number().over(partition_by=t.c.symbol, order_by=(t.c.epoch.desc(), t.c.seq.desc()))
    newest = sa.select(t, rank.label("rank")).subquery()
    return sa.select(*(newest.c[column.name] for column in t.c)).where(newest.c.rank == 1).order_by(newest.c.symbol)


def _rows(ledger: Ledger, query: sa.Select[Any], row: type[R]) -> list[R]:
    names = row.__struct_fields__
    with ledger.read() as connection:
        return [row(**{name: found[name] for name in names}) for found in connection.execute(query).mappings()]
