"""The write-ahead log: what the engine consumed and answered, durable before an order leaves the machine.

It is the only place where durability is decided; the ledger is computed from it.
"""

from __future__ import annotations

from tradebot.journal.frames import JournalRecord, Kind, RecordedOutput, is_recorded
from tradebot.journal.reader import Frame, JournalReader
from tradebot.journal.replay import DecisionDigest, ReplayEngine, ReplayReport, find_decision, replay
from tradebot.journal.state import OpenState, journal_directory, next_epoch, open_state, state_lock
from tradebot.journal.writer import Journal

__all__ = [
    "DecisionDigest",
    "Frame",
    "Journal",
    "JournalReader",
    "JournalRecord",
    "Kind",
    "OpenState",
    "RecordedOutput",
    "ReplayEngine",
    "ReplayReport",
    "find_decision",
    "is_recorded",
    "journal_directory",
    "next_epoch",
    "open_state",
    "replay",
    "state_lock",
]
