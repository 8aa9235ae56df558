"""The first tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

MONEY = sa.Text().with_variant(sa.Numeric(), "postgresql")


def _text(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _ints(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False) for name in names]


def _flags(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Boolean(), nullable=False) for name in names]


def _money(*names: str, nullable: bool = False) -> list[sa.Column[Any]]:
    return [sa.Column(name, MONEY, nullable=nullable) for name in names]


def _reals(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Double(), nullable=True) for name in names]


def _by_seq() -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint("epoch", "seq")


def upgrade() -> None:
    origin = ("epoch", "seq", "ts_ms")
    op.create_table(
        "meta",
        *_ints("epoch", "last_seq", "started_ms"),
        *_text("mode"),
        sa.Column("shard", sa.Integer(), nullable=False),
        *_text("strategy"),
        sa.Column("symbols", sa.JSON(), nullable=False),
        *_text("settings_hash", "engine_hash", "strategy_hash"),
        sa.PrimaryKeyConstraint("epoch"),
    )
    op.create_table(
        "decisions",
        *_ints(*origin),
        *_text("decision_id"),
        *_ints("decided_ms"),
        *_text("symbol", "mode", "strategy", "action", "reason", "verdict"),
        sa.Column("checks", sa.JSON(), nullable=False),
        *_text("model", "version", "model_sha256", "row_hash"),
        *_reals("expected_bp", "p_up", "p_down"),
        *_flags("provisional"),
        *_reals("bid", "ask"),
        *_money("position_qty", "qty"),
        *_text("client_oid"),
        _by_seq(),
    )
    op.create_index("ix_decisions_decision_id", "decisions", ["decision_id"])
    op.create_index("ix_decisions_ts_ms", "decisions", ["ts_ms"])
    op.create_table(
        "orders",
        *_text("order_key"),
        *_ints(*origin, "updated_ms"),
        *_text("kind", "client_oid", "order_id", "decision_id", "symbol", "side", "order_type", "purpose", "tif"),
        *_flags("reduce_only"),
        *_money("qty", "price", "trigger_price", "preset_stop", nullable=True),
        *_text("status"),
        *_money("filled_qty", "executed_qty"),
        *_money("avg_price", nullable=True),
        *_text("reason", "code"),
        sa.PrimaryKeyConstraint("order_key"),
    )
    op.create_index("ix_orders_order_id", "orders", ["order_id"])
    op.create_index("ix_orders_ts_ms", "orders", ["ts_ms"])
    op.create_table(
        "fills",
        *_text("symbol", "trade_id", "client_oid"),
        *_ints(*origin, "ts_exchange_ms"),
        *_text("order_id", "side"),
        *_money("price", "qty", "fee", "realised"),
        *_flags("maker"),
        sa.PrimaryKeyConstraint("symbol", "trade_id", "client_oid"),
    )
    op.create_index("ix_fills_ts_exchange_ms", "fills", ["ts_exchange_ms"])
    op.create_table(
        "funding",
        *_text("symbol", "bill_id"),
        *_ints(*origin, "ts_exchange_ms"),
        *_money("amount"),
        sa.PrimaryKeyConstraint("symbol", "bill_id"),
    )
    op.create_index("ix_funding_ts_exchange_ms", "funding", ["ts_exchange_ms"])
    op.create_table(
        "positions",
        *_ints(*origin),
        *_text("symbol"),
        *_money("qty", "entry_price"),
        *_money("liquidation_price", nullable=True),
        *_ints("opened_ms"),
        sa.PrimaryKeyConstraint("epoch", "seq", "symbol"),
    )
    op.create_table("balances", *_ints(*origin), *_money("equity", "available", "balance"), _by_seq())
    op.create_table(
        "model_events",
        *_ints(*origin),
        *_text("kind", "symbol", "model", "version", "sha256"),
        *_flags("provisional"),
        *_text("job_id", "verdict", "reason"),
        _by_seq(),
    )
    op.create_table("operator_actions", *_ints(*origin), *_text("action", "actor", "symbol", "reason"), _by_seq())
    op.create_table("alerts", *_ints(*origin), *_text("severity", "code", "message", "symbol"), _by_seq())
    op.create_table("feed_events", *_ints(*origin), *_text("symbol"), *_flags("ok"), *_text("reason"), _by_seq())


def downgrade() -> None:
    raise NotImplementedError("there is nothing before the first version; delete the ledger and rebuild it instead")
