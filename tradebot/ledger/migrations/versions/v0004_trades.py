"""Trades and what was booked on them; a row for each risk check and each model's answer; take-profits of entries."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_BATCH = 5_000
MONEY = sa.Text().with_variant(sa.Numeric(), "postgresql")


def _ints(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False) for name in names]


def _text(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Text(), nullable=False) for name in names]


def _money(*names: str, nullable: bool = False) -> list[sa.Column[Any]]:
    return [sa.Column(name, MONEY, nullable=nullable) for name in names]


def _reals(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.Double(), nullable=True) for name in names]


def _number() -> sa.Column[Any]:
    return sa.Column("number", sa.Integer(), nullable=False)


def upgrade() -> None:
    checks = op.create_table(
        "risk_checks",
        *_ints("epoch", "seq"),
        _number(),
        *_ints("ts_ms"),
        *_text("decision_id", "symbol", "action", "name", "seen", "allowed", "verdict"),
        sa.PrimaryKeyConstraint("epoch", "seq", "number"),
    )
    op.create_table(
        "model_answers",
        *_ints("epoch", "seq"),
        _number(),
        *_ints("ts_ms"),
        *_text("decision_id", "symbol", "model", "version", "sha256"),
        *_reals("expected_bp", "p_up", "p_down"),
        sa.Column("provisional", sa.Boolean(), nullable=False),
        *_text("missing"),
        sa.PrimaryKeyConstraint("epoch", "seq", "number"),
    )
    op.create_table(
        "trades",
        *_text("trade_id"),
        *_ints("epoch", "seq", "ts_ms"),
        *_text("symbol", "side"),
        *_ints("opened_ms", "closed_ms", "since_ms"),
        *_text("entry_decision", "exit_decision", "strategy", "model", "version", "model_sha256"),
        *_text("entry_order", "exit_order"),
        *_money("entered_qty", "entered_value", "entry_price", "exited_qty", "exited_value"),
        *_money("exit_price", nullable=True),
        *_money("realised", "fees", "funding", "net"),
        *_reals("net_bp"),
        sa.Column("fills", sa.Integer(), nullable=False),
        *_text("end"),
        sa.Column("adopted", sa.Boolean(), nullable=False),
        *_reals("best_bp", "worst_bp"),
        sa.PrimaryKeyConstraint("trade_id"),
    )
    op.create_table(
        "bookings",
        *_ints("epoch", "seq", "ts_ms"),
        *_text("trade_id", "symbol"),
        *_ints("ts_exchange_ms"),
        *_text("kind", "ref"),
        *_money("qty"),
        *_money("price", nullable=True),
        *_money("realised", "fee", "funding"),
        sa.PrimaryKeyConstraint("epoch", "seq"),
    )
    op.create_index("ix_risk_checks_decision_id", "risk_checks", ["decision_id"])
    op.create_index("ix_risk_checks_verdict", "risk_checks", ["verdict", "ts_ms"])
    op.create_index("ix_model_answers_decision_id", "model_answers", ["decision_id"])
    op.create_index("ix_trades_closed_ms", "trades", ["closed_ms"])
    op.create_index("ix_bookings_trade_id", "bookings", ["trade_id"])
    op.create_index("ix_bookings_ts_exchange_ms", "bookings", ["ts_exchange_ms"])
    op.create_index("ix_balances_ts_ms", "balances", ["ts_ms"])
    op.add_column("orders", sa.Column("preset_take_profit", MONEY, nullable=True))
    op.add_column("decisions", sa.Column("hook", sa.Text(), nullable=False, server_default=""))
    _move_checks(checks)
    op.drop_column("decisions", "checks")


def _move_checks(into: sa.Table) -> None:
    names = ("epoch", "seq", "ts_ms", "decision_id", "symbol", "action")
    old = sa.table("decisions", *map(sa.column, (*names, "checks")))
    connection, after = op.get_bind(), (0, 0)
    while True:
        later = (old.c.epoch > after[0]) | ((old.c.epoch == after[0]) & (old.c.seq > after[1]))
        query = sa.select(old).where(later).order_by(old.c.epoch, old.c.seq).limit(_BATCH)
        decisions = connection.execute(query).mappings().all()
        if not decisions:
            return
        after = decisions[-1]["epoch"], decisions[-1]["seq"]
        rows = []
        for decision in decisions:
            checks = decision["checks"]
            about = {name: decision[name] for name in names}
            found = json.loads(checks) if isinstance(checks, str) else checks
            rows += [
                about | {"number": number, "name": name, "seen": seen, "allowed": allowed, "verdict": verdict}
                for number, (name, seen, allowed, verdict) in enumerate(found)
            ]
        if rows:
            connection.execute(into.insert(), rows)


def downgrade() -> None:
    raise NotImplementedError("delete the ledger and have it rebuilt from the journal instead")
