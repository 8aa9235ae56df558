"""What came after a decision, by the ledger's rows: its trade, and where the price went."""

from __future__ import annotations

from typing import NamedTuple

import sqlalchemy as sa

from tradebot.ledger import schema
from tradebot.ledger.books import Trade
from tradebot.ledger.database import Ledger


class Mid(NamedTuple):
    """The middle of best bid and ask (USDT) as a decision at ``ts_ms`` saw it."""

    ts_ms: int
    price: float


def trade_of(ledger: Ledger, decision_id: str) -> Trade | None:
    """The newest trade that a decision opened or closed. Raises DataError when there is no ledger, BusyError."""
    t = schema.trades.c
    query = sa.select(schema.trades).where(sa.or_(t.entry_decision == decision_id, t.exit_decision == decision_id))
    with ledger.read() as connection:
        row = connection.execute(query.order_by(t.epoch.desc(), t.seq.desc()).limit(1)).mappings().first()
    return None if row is None else Trade(**{name: row[name] for name in Trade.__struct_fields__})


def mid_after(ledger: Ledger, symbol: str, from_ms: int) -> Mid | None:
    """What the first decision in ``symbol`` at ``from_ms`` or later saw; None: there is none yet. Raises as above."""
    t = schema.decisions.c
    query = sa.select(t.ts_ms, t.bid, t.ask).where(t.symbol == symbol, t.ts_ms >= from_ms, t.bid > 0, t.ask > 0)
    with ledger.read() as connection:
        row = connection.execute(query.order_by(t.ts_ms, t.epoch, t.seq).limit(1)).first()
    return None if row is None else Mid(row.ts_ms, (row.bid + row.ask) / 2)
