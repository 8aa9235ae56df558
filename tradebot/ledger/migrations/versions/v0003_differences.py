"""What the exchange told otherwise than we had it, and what was done about it; transfers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "differences",
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("epoch", "seq", "ts_ms")),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("kind", "symbol", "ours", "theirs", "done")),
        sa.PrimaryKeyConstraint("epoch", "seq"),
    )
    op.create_table(
        "transfers",
        sa.Column("bill_id", sa.Text(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("epoch", "seq", "ts_ms", "ts_exchange_ms")),
        sa.Column("amount", sa.Text().with_variant(sa.Numeric(), "postgresql"), nullable=False),
        sa.PrimaryKeyConstraint("bill_id"),
    )
    op.create_index("ix_differences_ts_ms", "differences", ["ts_ms"])


def downgrade() -> None:
    op.drop_table("transfers")
    op.drop_table("differences")
