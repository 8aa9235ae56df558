"""When a stop was first seen live on the exchange."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("orders", sa.Column("confirmed_ms", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("orders", "confirmed_ms")
