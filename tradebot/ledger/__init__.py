"""Decisions, orders, fills and balances as SQL tables: a projection of the journal, which alone is the truth."""

from __future__ import annotations

from tradebot.ledger.books import Statement, known_span, statement
from tradebot.ledger.database import Ledger
from tradebot.ledger.projector import Projector
from tradebot.ledger.queries import (
    Balance,
    DifferenceRow,
    FillRow,
    OrderRow,
    Pnl,
    PositionRow,
    SignalRow,
    last_balance,
    last_differences,
    last_fills,
    last_orders,
    last_signals,
    open_positions,
    orders_of,
    pnl,
    signal,
    symbols_known,
)
from tradebot.ledger.rebuild import Mismatch, Verified, rebuild, verify
from tradebot.ledger.writer import LedgerWriter

__all__ = [
    "Balance",
    "DifferenceRow",
    "FillRow",
    "Ledger",
    "LedgerWriter",
    "Mismatch",
    "OrderRow",
    "Pnl",
    "PositionRow",
    "Projector",
    "SignalRow",
    "Statement",
    "Verified",
    "known_span",
    "last_balance",
    "last_differences",
    "last_fills",
    "last_orders",
    "last_signals",
    "open_positions",
    "orders_of",
    "pnl",
    "rebuild",
    "signal",
    "statement",
    "symbols_known",
    "verify",
]
