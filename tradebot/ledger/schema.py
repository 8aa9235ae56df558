"""The ledger's tables, the same on SQLite and Postgres.

Every row carries the ``epoch`` and ``seq`` of the journal record it comes from and that record's ``ts_ms`` (engine
time, ms since the epoch, UTC). Money is exact: NUMERIC on Postgres, decimal text on SQLite, which has no decimal type.
"""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Dialect,
    Double,
    Index,
    Integer,
    MetaData,
    Numeric,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.types import TypeEngine


class Money(TypeDecorator[Decimal]):
    """A Decimal that comes back digit for digit."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Numeric(asdecimal=True) if dialect.name == "postgresql" else Text())

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value
        return format(value, "f")

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)


class Real(TypeDecorator[float]):
    """A float; what is not finite becomes NULL, because SQLite cannot hold it. The journal has the original."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        return value if value is not None and math.isfinite(value) else None


class Line(TypeDecorator[str]):
    """Text; NUL characters, which Postgres refuses, become U+FFFD."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return value if value is None else value.replace("\x00", "\ufffd")


metadata = MetaData()


def _key() -> list[Column[Any]]:
    return [
        Column("epoch", BigInteger, primary_key=True, autoincrement=False),
        Column("seq", BigInteger, primary_key=True, autoincrement=False),
        Column("ts_ms", BigInteger, nullable=False),
    ]


def _origin() -> list[Column[Any]]:
    return [
        Column("epoch", BigInteger, nullable=False),
        Column("seq", BigInteger, nullable=False),
        Column("ts_ms", BigInteger, nullable=False),
    ]


meta = Table(
    "meta",
    metadata,
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("mode", Line, nullable=False),
    Column("shard", Integer, nullable=False),
    Column("strategy", Line, nullable=False),
    Column("symbols", JSON, nullable=False),
    Column("settings_hash", Line, nullable=False),
    Column("engine_hash", Line, nullable=False),
    Column("strategy_hash", Line, nullable=False),
)
"""One row for each run. ``last_seq``: every record of the epoch up to it is in the tables."""

decisions = Table(
    "decisions",
    metadata,
    *_key(),
    Column("decision_id", Line, nullable=False),
    Column("decided_ms", BigInteger, nullable=False),
    Column("symbol", Line, nullable=False),
    Column("mode", Line, nullable=False),
    Column("strategy", Line, nullable=False),
    Column("action", Line, nullable=False),
    Column("reason", Line, nullable=False),
    Column("verdict", Line, nullable=False),
    Column("model", Line, nullable=False),
    Column("version", Line, nullable=False),
    Column("model_sha256", Line, nullable=False),
    Column("row_hash", Line, nullable=False),
    Column("expected_bp", Real),
    Column("p_up", Real),
    Column("p_down", Real),
    Column("provisional", Boolean, nullable=False),
    Column("bid", Real),
    Column("ask", Real),
    Column("position_qty", Money, nullable=False),
    Column("qty", Money, nullable=False),
    Column("client_oid", Line, nullable=False),
    Column("hook", Line, nullable=False, server_default=""),
    Index("ix_decisions_decision_id", "decision_id"),
    Index("ix_decisions_ts_ms", "ts_ms"),
)
"""Every decision, also those to do nothing. ``hook``: what the strategy was asked by."""

risk_checks = Table(
    "risk_checks",
    metadata,
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("ts_ms", BigInteger, nullable=False),
    Column("decision_id", Line, nullable=False),
    Column("symbol", Line, nullable=False),
    Column("action", Line, nullable=False),
    Column("name", Line, nullable=False),
    Column("seen", Line, nullable=False),
    Column("allowed", Line, nullable=False),
    Column("verdict", Line, nullable=False),
    Index("ix_risk_checks_decision_id", "decision_id"),
    Index("ix_risk_checks_verdict", "verdict", "ts_ms"),
)
"""A row for each check of a decision, in the order in which they ran (``number``, from 0): what it saw and what it
allows, as text exact to the last digit. ``epoch`` and ``seq`` are the decision's."""

model_answers = Table(
    "model_answers",
    metadata,
    Column("epoch", BigInteger, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("ts_ms", BigInteger, nullable=False),
    Column("decision_id", Line, nullable=False),
    Column("symbol", Line, nullable=False),
    Column("model", Line, nullable=False),
    Column("version", Line, nullable=False),
    Column("sha256", Line, nullable=False),
    Column("expected_bp", Real),
    Column("p_up", Real),
    Column("p_down", Real),
    Column("provisional", Boolean, nullable=False),
    Column("missing", Line, nullable=False),
    Index("ix_model_answers_decision_id", "decision_id"),
)
"""What each model said for a decision, in configured order, or why it said nothing (``missing``)."""

orders = Table(
    "orders",
    metadata,
    Column("order_key", Line, primary_key=True),
    *_origin(),
    Column("updated_ms", BigInteger, nullable=False),
    Column("confirmed_ms", BigInteger),
    Column("kind", Line, nullable=False),
    Column("client_oid", Line, nullable=False),
    Column("order_id", Line, nullable=False),
    Column("decision_id", Line, nullable=False),
    Column("symbol", Line, nullable=False),
    Column("side", Line, nullable=False),
    Column("order_type", Line, nullable=False),
    Column("purpose", Line, nullable=False),
    Column("tif", Line, nullable=False),
    Column("reduce_only", Boolean, nullable=False),
    Column("qty", Money),
    Column("price", Money),
    Column("trigger_price", Money),
    Column("preset_stop", Money),
    Column("preset_take_profit", Money),
    Column("status", Line, nullable=False),
    Column("filled_qty", Money, nullable=False),
    Column("executed_qty", Money, nullable=False),
    Column("avg_price", Money),
    Column("reason", Line, nullable=False),
    Column("code", Line, nullable=False),
    Index("ix_orders_order_id", "order_id"),
    Index("ix_orders_ts_ms", "ts_ms"),
)
"""Orders, exchange-side stops and flash closes (``kind``), ours and those the exchange reports without our asking.

``order_key`` is the client order id, or ``#`` and the exchange's id where there is none. ``filled_qty`` is the most
that any report claimed, ``executed_qty`` what the executions in ``fills`` add up to. ``confirmed_ms`` is when a stop
was first seen live on the exchange (NULL: never, or recorded before schema 0002).
"""

fills = Table(
    "fills",
    metadata,
    Column("symbol", Line, primary_key=True),
    Column("trade_id", Line, primary_key=True),
    Column("client_oid", Line, primary_key=True),
    *_origin(),
    Column("ts_exchange_ms", BigInteger, nullable=False),
    Column("order_id", Line, nullable=False),
    Column("side", Line, nullable=False),
    Column("price", Money, nullable=False),
    Column("qty", Money, nullable=False),
    Column("fee", Money, nullable=False),
    Column("realised", Money, nullable=False),
    Column("maker", Boolean, nullable=False),
    Index("ix_fills_ts_exchange_ms", "ts_exchange_ms"),
)

funding = Table(
    "funding",
    metadata,
    Column("symbol", Line, primary_key=True),
    Column("bill_id", Line, primary_key=True),
    *_origin(),
    Column("ts_exchange_ms", BigInteger, nullable=False),
    Column("amount", Money, nullable=False),
    Index("ix_funding_ts_exchange_ms", "ts_exchange_ms"),
)

trades = Table(
    "trades",
    metadata,
    Column("trade_id", Line, primary_key=True),
    *_origin(),
    Column("symbol", Line, nullable=False),
    Column("side", Line, nullable=False),
    Column("opened_ms", BigInteger, nullable=False),
    Column("closed_ms", BigInteger, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("entry_decision", Line, nullable=False),
    Column("exit_decision", Line, nullable=False),
    Column("strategy", Line, nullable=False),
    Column("model", Line, nullable=False),
    Column("version", Line, nullable=False),
    Column("model_sha256", Line, nullable=False),
    Column("entry_order", Line, nullable=False),
    Column("exit_order", Line, nullable=False),
    Column("entered_qty", Money, nullable=False),
    Column("entered_value", Money, nullable=False),
    Column("entry_price", Money, nullable=False),
    Column("exited_qty", Money, nullable=False),
    Column("exited_value", Money, nullable=False),
    Column("exit_price", Money),
    Column("realised", Money, nullable=False),
    Column("fees", Money, nullable=False),
    Column("funding", Money, nullable=False),
    Column("net", Money, nullable=False),
    Column("net_bp", Real),
    Column("fills", Integer, nullable=False),
    Column("end", Line, nullable=False),
    Column("adopted", Boolean, nullable=False),
    Column("best_bp", Real),
    Column("worst_bp", Real),
    Index("ix_trades_closed_ms", "closed_ms"),
)
"""Our trades, from flat to flat, as the newest booking left them (``epoch``, ``seq`` and ``ts_ms`` are its).
``closed_ms`` 0: open. Meanings as in ``events.TradeState``; ``net`` = realised + fees + funding."""

bookings = Table(
    "bookings",
    metadata,
    *_key(),
    Column("trade_id", Line, nullable=False),
    Column("symbol", Line, nullable=False),
    Column("ts_exchange_ms", BigInteger, nullable=False),
    Column("kind", Line, nullable=False),
    Column("ref", Line, nullable=False),
    Column("qty", Money, nullable=False),
    Column("price", Money),
    Column("realised", Money, nullable=False),
    Column("fee", Money, nullable=False),
    Column("funding", Money, nullable=False),
    Index("ix_bookings_trade_id", "trade_id"),
    Index("ix_bookings_ts_exchange_ms", "ts_exchange_ms"),
)
"""What was booked on trades: ``ref`` is the execution's trade id or the id of the funding bill."""

transfers = Table(
    "transfers",
    metadata,
    Column("bill_id", Line, primary_key=True),
    *_origin(),
    Column("ts_exchange_ms", BigInteger, nullable=False),
    Column("amount", Money, nullable=False),
)
"""Money moved into (positive) or out of the account, USDT."""

positions = Table(
    "positions",
    metadata,
    *_key(),
    Column("symbol", Line, primary_key=True),
    Column("qty", Money, nullable=False),
    Column("entry_price", Money, nullable=False),
    Column("liquidation_price", Money),
    Column("opened_ms", BigInteger, nullable=False),
)
"""A row whenever the exchange's view of a symbol's position changed; ``qty`` 0 when it is flat again."""

balances = Table(
    "balances",
    metadata,
    *_key(),
    Column("equity", Money, nullable=False),
    Column("available", Money, nullable=False),
    Column("balance", Money, nullable=False),
    Index("ix_balances_ts_ms", "ts_ms"),
)
"""A row whenever one of the three numbers changed."""

model_events = Table(
    "model_events",
    metadata,
    *_key(),
    Column("kind", Line, nullable=False),
    Column("symbol", Line, nullable=False),
    Column("model", Line, nullable=False),
    Column("version", Line, nullable=False),
    Column("sha256", Line, nullable=False),
    Column("provisional", Boolean, nullable=False),
    Column("job_id", Line, nullable=False),
    Column("verdict", Line, nullable=False),
    Column("reason", Line, nullable=False),
)
"""``kind`` swap: from then on this model serves. ``kind`` retrain: a job ended with this verdict."""

operator_actions = Table(
    "operator_actions",
    metadata,
    *_key(),
    Column("action", Line, nullable=False),
    Column("actor", Line, nullable=False),
    Column("symbol", Line, nullable=False),
    Column("reason", Line, nullable=False),
)
"""What people and guards did; what the engine did itself has the actor ``engine``: it stopped or resumed entries, or
(``action`` universe) the symbols that it trades changed."""

alerts = Table(
    "alerts",
    metadata,
    *_key(),
    Column("severity", Line, nullable=False),
    Column("code", Line, nullable=False),
    Column("message", Line, nullable=False),
    Column("symbol", Line, nullable=False),
)

differences = Table(
    "differences",
    metadata,
    *_key(),
    Column("kind", Line, nullable=False),
    Column("symbol", Line, nullable=False),
    Column("ours", Line, nullable=False),
    Column("theirs", Line, nullable=False),
    Column("done", Line, nullable=False),
    Index("ix_differences_ts_ms", "ts_ms"),
)
"""What reconciliation found the exchange to tell otherwise than we had it, and what was done about each."""

feed_events = Table(
    "feed_events",
    metadata,
    *_key(),
    Column("symbol", Line, nullable=False),
    Column("ok", Boolean, nullable=False),
    Column("reason", Line, nullable=False),
)
