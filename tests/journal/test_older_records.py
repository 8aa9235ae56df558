"""Journals that were written before a record had all the members it has now."""

from __future__ import annotations

import msgspec

from tradebot.events import FeedStatus
from tradebot.journal.frames import decode_record


def test_a_feed_s_status_without_a_cause_is_read_as_one_of_unknown_cause() -> None:
    written = {"type": "feed", "symbol": "SOLUSDT", "ok": False, "reason": "checksum mismatch"}
    record = decode_record(msgspec.msgpack.encode(written))
    assert record == FeedStatus(symbol="SOLUSDT", ok=False, reason="checksum mismatch", cause="", since_ms=0)
