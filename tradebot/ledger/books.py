"""The books of a span of time: daily profit and loss, and what each strategy, model, symbol and trade came to.

All amounts in USDT, fees and funding negative when paid. Of every day::

    balance_end - balance_start = realised + fees + funding + transfers + other
    equity = balance + unrealised
    net = realised + fees + funding + (unrealised_end - unrealised_start)

``other`` is what the balance moved by for reasons that the ledger does not know: zero, but for executions near midnight
that one side dates to the next day, and for what happened while nobody looked. Amounts are dated by the exchange.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal, localcontext
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tradebot.errors import DataError
from tradebot.ledger import schema
from tradebot.ledger.database import Ledger
from tradebot.market.candle import DAY_MS
from tradebot.market.instrument import ARITHMETIC, ZERO


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """One UTC day, or the part of it that was asked for: from ``from_ms`` until before ``until_ms``."""

    from_ms: int
    until_ms: int
    equity_start: Decimal
    equity_end: Decimal
    balance_start: Decimal
    balance_end: Decimal
    realised: Decimal
    fees: Decimal
    funding: Decimal
    transfers: Decimal
    other: Decimal
    unrealised_change: Decimal
    net: Decimal
    fills: int


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """A trade that ended in the span, or is open (``closed_ms`` 0). Meanings as in ``events.TradeState``."""

    trade_id: str
    symbol: str
    side: str
    opened_ms: int
    closed_ms: int
    strategy: str
    model: str
    version: str
    model_sha256: str
    entry_decision: str
    exit_decision: str
    entered_qty: Decimal
    entry_price: Decimal
    exited_qty: Decimal
    exit_price: Decimal | None
    realised: Decimal
    fees: Decimal
    funding: Decimal
    net: Decimal
    net_bp: float | None
    best_bp: float | None
    worst_bp: float | None
    end: str
    adopted: bool


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What was booked in the span for one strategy, or one version of a symbol's model; ``trades`` and ``won`` count
    those that ended in it. Without a name: what belongs to no trade of ours, or to an adopted one."""

    name: str
    symbol: str = ""
    version: str = ""
    sha256: str = ""
    trades: int = 0
    won: int = 0
    realised: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO
    net: Decimal = ZERO


class Fees(msgspec.Struct, frozen=True, kw_only=True):
    """Trading fees of a symbol, those of a maker and of a taker apart."""

    symbol: str
    role: str
    fills: int
    notional: Decimal
    fee: Decimal


class Funding(msgspec.Struct, frozen=True, kw_only=True):
    """One settlement; ``trade_id`` is empty when no trade of ours was open."""

    ts_ms: int
    symbol: str
    amount: Decimal
    bill_id: str
    trade_id: str


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a span of one mode; ``total`` is all days as one. ``left_out``: other modes that ran then."""

    mode: str
    left_out: tuple[str, ...]
    total: Day
    days: list[Day]
    trades: list[Trade]
    strategies: list[Share]
    models: list[Share]
    fees: list[Fees]
    funding: list[Funding]


def statement(ledger: Ledger, from_ms: int, until_ms: int, mode: str | None = None) -> Statement:
    """The books from ``from_ms`` until before ``until_ms``: of one mode, the newest that ran then unless told.

    They begin with the first balance that is known, if that is later. Raises DataError when there is no ledger, or it
    knows nothing of that time; BusyError.
    """
    with ledger.read() as connection, localcontext(ARITHMETIC):
        chosen, epochs, left_out = _runs(connection, from_ms, until_ms, mode)
        asked = _Asked(connection, epochs, from_ms, until_ms)
        days = list(asked.days())
        if not days:
            raise DataError(f"the ledger {ledger} knows no balance of that time")
        total = _joined(days)
        bookings = asked.bookings()
        trades = asked.trades()
        return Statement(
            mode=chosen,
            left_out=left_out,
            total=total,
            days=days,
            trades=trades,
            strategies=_shares(bookings, trades, total, lambda row: (row["strategy"],)),
            models=_shares(bookings, trades, total, _model_of),
            fees=asked.fees(),
            funding=asked.funding(),
        )


def known_span(ledger: Ledger) -> tuple[int, int] | None:
    """Engine times of the first and the last thing that the ledger knows of; None: it is empty. Raises DataError."""
    with ledger.read() as connection:
        spans = [
            connection.execute(sa.select(sa.func.min(t.c.ts_ms), sa.func.max(t.c.ts_ms))).one() for t in _WITNESSES
        ]
    known = [(first, last) for first, last in spans if first is not None]
    return (min(first for first, _ in known), max(last for _, last in known)) if known else None


_WITNESSES = (schema.balances, schema.decisions, schema.fills)
"""Tables that tell that the bot ran: it decides at every candle, if only to do nothing."""


# --- what the ledger says -------------------------------------------------------------------------------------------


def _runs(
    connection: Connection, from_ms: int, until_ms: int, mode: str | None
) -> tuple[str, list[int], tuple[str, ...]]:
    """The mode, its epochs, and the other modes of which there is something in the span."""
    m = schema.meta.c
    modes: dict[int, str] = {
        row.epoch: row.mode for row in connection.execute(sa.select(m.epoch, m.mode).order_by(m.epoch))
    }
    there: set[int] = set()
    for table in _WITNESSES:
        t = table.c
        within = sa.select(t.epoch).where(t.ts_ms >= from_ms, t.ts_ms < until_ms).distinct()
        there |= {row.epoch for row in connection.execute(within)}
    if not there:
        raise DataError("the ledger has no data of that time")
    ran = list(dict.fromkeys(modes.get(epoch, "") for epoch in sorted(there, reverse=True)))
    chosen = ran[0] if mode is None else mode
    if chosen not in ran:
        raise DataError(f"nothing ran in mode {chosen} at that time, but in {', '.join(ran)}")
    return chosen, [e for e, name in modes.items() if name == chosen], tuple(name for name in ran if name != chosen)


class _Asked:
    """Questions about one span and the runs of one mode. Sums are made here: SQLite would add binary floats."""

    def __init__(self, connection: Connection, epochs: list[int], from_ms: int, until_ms: int) -> None:
        self._connection = connection
        self._epochs = epochs
        first = self._execute(schema.balances, lambda c: [c.ts_ms < until_ms], "ts_ms", limit=1)
        self._from = max(from_ms, first[0]["ts_ms"]) if first else until_ms
        self._until = until_ms

    def days(self) -> Iterator[Day]:
        """Each day of the span up to the last one of which something is known."""
        flows = self._flows()
        known = [self._execute(table, lambda c: [], "-ts_ms", limit=1) for table in _WITNESSES]
        end = max([row["ts_ms"] for rows in known for row in rows] + [at_ms for at_ms, *_ in flows], default=-1)
        since, at = self._from, 0
        before = self._account(self._from, at_or_after=True)
        while before is not None and since <= end and since < self._until:
            until = min(since // DAY_MS * DAY_MS + DAY_MS, self._until)
            first = at
            while at < len(flows) and flows[at][0] < until:
                at += 1
            after = self._account(until) or before
            yield _day(since, until, before, after, flows[first:at])
            before, since = after, until

    def bookings(self) -> list[dict[str, Any]]:
        """What was booked on trades, with whose they are."""
        t, b = schema.trades.c, schema.bookings.c
        query = sa.select(
            b.realised, b.fee, b.funding, t.strategy, t.symbol, t.model, t.version, t.model_sha256
        ).join_from(schema.bookings, schema.trades, b.trade_id == t.trade_id)  # fmt: skip
        query = query.where(
            b.epoch.in_(self._epochs), b.ts_exchange_ms >= self._from, b.ts_exchange_ms < self._until
        )  # fmt: skip
        return [dict(row) for row in self._connection.execute(query).mappings()]

    def trades(self) -> list[Trade]:
        """Trades that ended in the span, by that; then those that are open and began before its end."""
        rows = self._execute(
            schema.trades,
            lambda c: [
                ((c.closed_ms >= self._from) & (c.closed_ms < self._until))
                | ((c.closed_ms == 0) & (c.opened_ms < self._until))
            ],
            "opened_ms",
        )
        found = [Trade(**{name: row[name] for name in Trade.__struct_fields__}) for row in rows]
        return sorted(found, key=lambda trade: (not trade.closed_ms, trade.closed_ms, trade.opened_ms))

    def fees(self) -> list[Fees]:
        """By symbol and role."""
        sums: dict[tuple[str, str], list[Any]] = {}
        for row in self._dated(schema.fills):
            total = sums.setdefault((row["symbol"], "maker" if row["maker"] else "taker"), [0, ZERO, ZERO])
            total[0] += 1
            total[1] += row["price"] * row["qty"]
            total[2] += row["fee"]
        return [
            Fees(symbol=symbol, role=role, fills=fills, notional=notional, fee=fee)
            for (symbol, role), (fills, notional, fee) in sorted(sums.items())
        ]

    def funding(self) -> list[Funding]:
        """Every settlement, oldest first."""
        b = schema.bookings.c
        booked = self._connection.execute(sa.select(b.symbol, b.ref, b.trade_id).where(b.kind == "funding"))
        trade_of = {(row.symbol, row.ref): row.trade_id for row in booked}
        return [
            Funding(
                ts_ms=row["ts_exchange_ms"], symbol=row["symbol"], amount=row["amount"], bill_id=row["bill_id"],
                trade_id=trade_of.get((row["symbol"], row["bill_id"]), ""),
            )
            for row in self._dated(schema.funding)
        ]  # fmt: skip

    def _flows(self) -> list[tuple[int, str, Decimal, Decimal]]:
        """(moment, kind, amount, fee) of everything that moved the balance, oldest first."""
        found = [(row["ts_exchange_ms"], "fill", row["realised"], row["fee"]) for row in self._dated(schema.fills)]
        for kind, table in (("funding", schema.funding), ("transfer", schema.transfers)):
            found += [(row["ts_exchange_ms"], kind, row["amount"], ZERO) for row in self._dated(table)]
        return sorted(found, key=lambda flow: flow[0])

    def _account(self, at_ms: int, *, at_or_after: bool = False) -> tuple[Decimal, Decimal] | None:
        """(equity, balance) as last known before ``at_ms``, or at or after it where nothing earlier is known."""
        rows = self._execute(schema.balances, lambda c: [c.ts_ms < at_ms], "-ts_ms", limit=1)
        if not rows and at_or_after:
            rows = self._execute(schema.balances, lambda c: [c.ts_ms >= at_ms], "ts_ms", limit=1)
        return (rows[0]["equity"], rows[0]["balance"]) if rows else None

    def _dated(self, table: sa.Table) -> list[dict[str, Any]]:
        """Rows of the span by the exchange's time."""
        return self._execute(
            table, lambda c: [c.ts_exchange_ms >= self._from, c.ts_exchange_ms < self._until], "ts_exchange_ms"
        )

    def _execute(
        self,
        table: sa.Table,
        where: Callable[[Any], list[sa.ColumnElement[bool]]],
        order: str,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        c = table.c
        back = order.startswith("-")
        keys = [c[order.lstrip("-")], c.epoch, c.seq]
        query = sa.select(table).where(c.epoch.in_(self._epochs), *where(c))
        query = query.order_by(*(key.desc() if back else key for key in keys)).limit(limit)
        return [dict(row) for row in self._connection.execute(query).mappings()]


# --- sums -----------------------------------------------------------------------------------------------------------


def _day(
    from_ms: int,
    until_ms: int,
    before: tuple[Decimal, Decimal],
    after: tuple[Decimal, Decimal],
    flows: Iterable[tuple[int, str, Decimal, Decimal]],
) -> Day:
    sums = dict.fromkeys(("fill", "funding", "transfer"), ZERO)
    fees, fills = ZERO, 0
    for _, kind, amount, fee in flows:
        sums[kind] += amount
        fees += fee
        fills += kind == "fill"
    unrealised = (after[0] - after[1]) - (before[0] - before[1])
    earned = sums["fill"] + fees + sums["funding"]
    return Day(
        from_ms=from_ms,
        until_ms=until_ms,
        equity_start=before[0],
        equity_end=after[0],
        balance_start=before[1],
        balance_end=after[1],
        realised=sums["fill"],
        fees=fees,
        funding=sums["funding"],
        transfers=sums["transfer"],
        other=after[1] - before[1] - earned - sums["transfer"],
        unrealised_change=unrealised,
        net=earned + unrealised,
        fills=fills,
    )


def _joined(days: list[Day]) -> Day:
    """Consecutive days as one."""
    first, last = days[0], days[-1]
    summed = ("realised", "fees", "funding", "transfers", "other", "unrealised_change", "net")
    sums = {name: sum((getattr(day, name) for day in days), ZERO) for name in summed}
    return Day(
        from_ms=first.from_ms,
        until_ms=last.until_ms,
        equity_start=first.equity_start,
        equity_end=last.equity_end,
        balance_start=first.balance_start,
        balance_end=last.balance_end,
        fills=sum(day.fills for day in days),
        **sums,
    )


def _shares(
    bookings: list[dict[str, Any]], trades: list[Trade], total: Day, of: Callable[[dict[str, Any]], tuple[str, ...]]
) -> list[Share]:
    """Bookings by ``of``, and last, without a name, what the account has that no named trade has."""
    money: dict[tuple[str, ...], list[Decimal]] = {}
    for row in bookings:
        sums = money.setdefault(of(row), [ZERO, ZERO, ZERO])
        for i, name in enumerate(("realised", "fee", "funding")):
            sums[i] += row[name]
    ended: dict[tuple[str, ...], list[Trade]] = {}
    for trade in trades:
        if trade.closed_ms:
            ended.setdefault(of(msgspec.structs.asdict(trade)), []).append(trade)
    named = sorted(key for key in money.keys() | ended.keys() if key[0])
    nobody = next((key for key in money.keys() | ended.keys() if not key[0]), ("",))
    rest = [total.realised, total.fees, total.funding]
    for key in named:
        rest = [left - taken for left, taken in zip(rest, money.get(key, [ZERO] * 3), strict=True)]
    shares = [_share(key, money.get(key, [ZERO] * 3), ended.get(key, [])) for key in named]
    if any(rest) or ended.get(nobody):
        shares.append(_share(("",), rest, ended.get(nobody, [])))
    return shares


def _model_of(row: dict[str, Any]) -> tuple[str, ...]:
    """Whose version: versions are counted model by model, and each symbol has its own models."""
    return (row["model"], row["symbol"], row["version"], row["model_sha256"]) if row["model"] else ("",)


def _share(key: tuple[str, ...], money: list[Decimal], ended: list[Trade]) -> Share:
    name, symbol, version, sha256 = (*key, "", "", "")[:4]
    return Share(
        name=name,
        symbol=symbol,
        version=version,
        sha256=sha256,
        trades=len(ended),
        won=sum(trade.net > 0 for trade in ended),
        realised=money[0],
        fees=money[1],
        funding=money[2],
        net=sum(money, ZERO),
    )
