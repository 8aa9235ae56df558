"""What each journal record means in the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from tradebot.events import (
    AccountUpdated,
    Alert,
    Booted,
    ClosePosition,
    CommandOutcome,
    Decision,
    Difference,
    FeedStatus,
    Filled,
    FundingPaid,
    ModelSwapped,
    OperatorActed,
    OrderUpdated,
    PlaceOrder,
    PlaceStop,
    PositionsReported,
    PositionState,
    Reconciled,
    RetrainEnded,
    StopUpdated,
    TradabilityChanged,
    TradeBooked,
    TradeState,
    Transferred,
    UniverseChanged,
)
from tradebot.journal import JournalRecord
from tradebot.ledger import schema
from tradebot.ledger.orders import OrderRows
from tradebot.market.instrument import ARITHMETIC

PROJECTED: frozenset[type] = frozenset(
    {
        AccountUpdated,
        Alert,
        Booted,
        ClosePosition,
        CommandOutcome,
        Decision,
        Difference,
        FeedStatus,
        Filled,
        FundingPaid,
        ModelSwapped,
        OperatorActed,
        OrderUpdated,
        PlaceOrder,
        PlaceStop,
        PositionsReported,
        Reconciled,
        RetrainEnded,
        StopUpdated,
        TradabilityChanged,
        TradeBooked,
        Transferred,
        UniverseChanged,
    }
)
"""Records that leave a trace in the ledger; all others only move the mark of what has been read."""

DECISION = tuple(name for name in Decision.__struct_fields__ if name in schema.decisions.c and name != "ts_ms")
"""What a row of ``decisions`` tells of a decision."""
POSITION = ("symbol", "qty", "entry_price", "liquidation_price", "opened_ms")
"""What a row of ``positions`` tells of a position."""

Row = dict[str, Any]
Balance = tuple[Decimal, Decimal, Decimal]


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger said last, against which a record is news or not."""

    runs: dict[int, Row]
    positions: dict[str, PositionState]
    balance: Balance | None


class Batch:
    """Records on their way into the tables, within one transaction."""

    def __init__(self, connection: Connection, known: Known) -> None:
        """``known`` is as of the last commit; it is not changed, so that a failed batch can be tried again."""
        self._connection = connection
        self._runs = {epoch: dict(run) for epoch, run in known.runs.items()}
        self._positions = dict(known.positions)
        self._balance = known.balance
        self._orders = OrderRows(connection)
        self._rows: dict[str, list[Row]] = {}
        self._executions: set[tuple[str, str]] = set()
        self._trades: dict[str, Row] = {}

    def write(self, marks: dict[int, int]) -> Known:
        """Send the rows and the marks (last_seq by epoch) to the database; returns what is known then."""
        for name, rows in self._rows.items():
            table = schema.metadata.tables[name]
            self._connection.execute(_insert(self._connection, table).on_conflict_do_nothing(), rows)
        self._upsert(schema.orders, self._orders.rows())
        self._upsert(schema.trades, list(self._trades.values()))
        if self._orders.absorbed:
            c = schema.orders.c
            self._connection.execute(schema.orders.delete().where(c.order_key.in_(self._orders.absorbed)))
        for epoch, seq in marks.items():
            self._runs.setdefault(epoch, _unknown_run(epoch))["last_seq"] = seq
        self._upsert(schema.meta, [self._runs[epoch] for epoch in marks])
        return Known(self._runs, self._positions, self._balance)

    def project(self, epoch: int, seq: int, ts_ms: int, record: JournalRecord) -> None:
        """Add the rows of one record."""
        key = {"epoch": epoch, "seq": seq, "ts_ms": ts_ms}
        if isinstance(record, PlaceOrder | PlaceStop | ClosePosition | CommandOutcome | OrderUpdated | StopUpdated):
            self._orders.apply(key, record)
            return
        match record:
            case Booted():
                self._runs[epoch] = _run(key, record)
            case Decision():
                self._on_decision(key, record)
            case Filled():
                self._on_fill(key, record)
            case PositionsReported():
                self._on_positions(key, record.positions)
            case Reconciled():
                self._on_positions(key, record.positions)
                for order in record.open_orders:
                    self._orders.apply(key, order)
                for stop in record.stops:
                    self._orders.apply(key, stop)
            case AccountUpdated():
                if self._balance != (numbers := (record.equity, record.available, record.balance)):
                    self._balance = numbers
                    self._add(schema.balances, key, msgspec.structs.asdict(record))
            case ModelSwapped():
                self._add(schema.model_events, key, _swap(record))
            case RetrainEnded():
                values = {"kind": "retrain", "sha256": "", "provisional": record.verdict == "provisional"}
                self._add(schema.model_events, key, values | msgspec.structs.asdict(record))
            case TradabilityChanged():
                values = {"action": record.state, "symbol": record.symbol, "reason": record.reason}
                self._add(schema.operator_actions, key, values | {"actor": "engine"})
            case OperatorActed():
                self._add(schema.operator_actions, key, msgspec.structs.asdict(record))
            case FundingPaid():
                self._add(schema.funding, key, msgspec.structs.asdict(record))
            case TradeBooked():
                self._add(schema.bookings, key, _booking(record))
                self._trades[record.trade.trade_id] = key | _trade(record.trade)
            case UniverseChanged():
                why = f"{', '.join(record.symbols)}: {record.reason}" if record.reason else ", ".join(record.symbols)
                values = {"action": "universe", "actor": "engine", "symbol": "", "reason": why}
                self._add(schema.operator_actions, key, values)
            case Transferred():
                self._add(schema.transfers, key, msgspec.structs.asdict(record))
            case Alert():
                self._add(schema.alerts, key, msgspec.structs.asdict(record))
            case Difference():
                self._add(schema.differences, key, msgspec.structs.asdict(record))
            case FeedStatus():
                told = {"symbol": record.symbol, "ok": record.ok, "reason": record.reason}
                self._add(schema.feed_events, key, told)

    def _add(self, table: sa.Table, key: Row, values: Row) -> None:
        self._rows.setdefault(table.name, []).append(key | values)

    def _on_decision(self, key: Row, decision: Decision) -> None:
        values = {name: getattr(decision, name) for name in DECISION}
        self._add(schema.decisions, key, values | {"decided_ms": decision.ts_ms})
        about = key | {"decision_id": decision.decision_id, "symbol": decision.symbol}
        for number, check in enumerate(decision.checks):
            told = {"name": check.name, "seen": check.value, "allowed": check.limit, "verdict": check.verdict}
            self._add(schema.risk_checks, about, {"number": number, "action": decision.action} | told)
        for number, answer in enumerate(decision.models):
            self._add(schema.model_answers, about, {"number": number} | msgspec.structs.asdict(answer))

    def _on_fill(self, key: Row, fill: Filled) -> None:
        """The exchange reports an execution again after a reconnect, perhaps under another client order id (a flash
        close has one of its own): it counts once, by its trade id."""
        trade = (fill.symbol, fill.trade_id)
        c = schema.fills.c
        same = (c.symbol == fill.symbol, c.trade_id == fill.trade_id)
        if trade in self._executions or self._connection.execute(sa.select(c.seq).where(*same)).first():
            return
        self._executions.add(trade)
        self._orders.apply(key, fill)
        self._add(schema.fills, key, msgspec.structs.asdict(fill))

    def _on_positions(self, key: Row, reported: Sequence[PositionState]) -> None:
        current = {position.symbol: position for position in reported}
        for symbol in sorted(self._positions.keys() | current.keys()):
            flat = PositionState(symbol=symbol, qty=Decimal(0), entry_price=Decimal(0))
            position = current.get(symbol, flat)
            if position != self._positions.get(symbol):
                self._positions[symbol] = position
                told = msgspec.structs.asdict(position)
                self._add(schema.positions, key, {name: told[name] for name in POSITION})

    def _upsert(self, table: sa.Table, rows: list[Row]) -> None:
        if not rows:
            return
        statement = _insert(self._connection, table)
        keys = [column.name for column in table.primary_key]
        new = {column.name: statement.excluded[column.name] for column in table.c if column.name not in keys}
        self._connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=new), rows)


def _insert(connection: Connection, table: sa.Table) -> Any:
    """INSERT that can say what happens on a conflict; both dialects spell it alike."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


def _run(key: Row, booted: Booted) -> Row:
    return {
        "epoch": key["epoch"],
        "last_seq": key["seq"],
        "started_ms": key["ts_ms"],
        "mode": booted.config.mode,
        "shard": booted.config.shard,
        "strategy": booted.config.strategy,
        "symbols": list(booted.config.symbols),
        "settings_hash": booted.settings_hash,
        "engine_hash": booted.engine_hash,
        "strategy_hash": booted.strategy_hash,
    }


def _unknown_run(epoch: int) -> Row:
    """The mark of an epoch whose first segment has gone."""
    text = dict.fromkeys(("mode", "strategy", "settings_hash", "engine_hash", "strategy_hash"), "")
    return {"epoch": epoch, "last_seq": 0, "started_ms": 0, "shard": 0, "symbols": [], **text}


def _booking(record: TradeBooked) -> Row:
    values = msgspec.structs.asdict(record)
    trade: TradeState = values.pop("trade")
    return values | {"trade_id": trade.trade_id, "symbol": trade.symbol}


def _trade(trade: TradeState) -> Row:
    with localcontext(ARITHMETIC):
        return msgspec.structs.asdict(trade) | {
            "entry_price": trade.entry_price,
            "exit_price": trade.exit_price,
            "net": trade.net,
            "net_bp": trade.net_bp,
        }


def _swap(record: ModelSwapped) -> Row:
    ref = record.ref
    return {
        "kind": "swap",
        "symbol": ref.symbol,
        "model": ref.name,
        "version": ref.version,
        "sha256": ref.sha256,
        "provisional": ref.provisional,
        "job_id": "",
        "verdict": "",
        "reason": record.reason,
    }
