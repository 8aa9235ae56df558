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
    Column("checks", JSON, nullable=False),
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
    Index("ix_decisions_decision_id", "decision_id"),
    Index("ix_decisions_ts_ms", "ts_ms"),
)
"""``checks`` is a list of [name, value, limit, verdict], values as exact text."""

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
"""What people and guards did; the engine's own halts and resumptions have the actor ``engine``."""

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
