"""Journals that were written before a record had all the members it has now."""

from __future__ import annotations

import msgspec

from tradebot.events import FeedStatus, Restored, TradabilityChanged
from tradebot.journal.frames import decode_record
from tradebot.trading.state import recover


def test_a_feed_s_status_without_a_cause_is_read_as_one_of_unknown_cause() -> None:
    written = {"type": "feed", "symbol": "SOLUSDT", "ok": False, "reason": "checksum mismatch"}
    record = decode_record(msgspec.msgpack.encode(written))
    assert record == FeedStatus(symbol="SOLUSDT", ok=False, reason="checksum mismatch", cause="", since_ms=0)


def test_what_older_journals_call_paused_is_read_as_reducing() -> None:
    written = {"type": "tradability", "state": "paused", "reason": "strategy failed"}
    record = decode_record(msgspec.msgpack.encode(written))
    assert record == TradabilityChanged(state="paused", reason="strategy failed", symbol="", cause="", close=())
    state = recover([(1, record)], cooldown_ms=0)
    assert (state.tradability, state.halt_reason) == ("reducing", "strategy failed")
    older = {"type": "restored", "state": {"tradability": "paused", "halt_reason": "cli"}}
    restored = decode_record(msgspec.msgpack.encode(older))
    assert isinstance(restored, Restored)
    assert recover([(1, restored)], cooldown_ms=0).tradability == "reducing"
