"""Journals that were written before a record had all the members it has now."""

from __future__ import annotations

import msgspec

from tradebot.events import Decision, FeedStatus, PlaceOrder, Restored, TradabilityChanged
from tradebot.journal.frames import decode_record
from tradebot.trading.state import recover


def test_a_feed_s_status_without_a_cause_is_read_as_one_of_unknown_cause() -> None:
    written = {"type": "feed", "symbol": "SOLUSDT", "ok": False, "reason": "checksum mismatch"}
    record = decode_record(msgspec.msgpack.encode(written))
    assert record == FeedStatus(symbol="SOLUSDT", ok=False, reason="checksum mismatch", cause="", since_ms=0)


def test_a_decision_and_an_order_from_before_several_models_and_take_profits_are_read() -> None:
    decided = {
        "type": "decision", "decision_id": "1-2", "ts_ms": 1, "symbol": "SOLUSDT", "mode": "paper",
        "strategy": "threshold", "action": "enter_long", "reason": "x", "verdict": "pass", "checks": [], "model": "m",
        "version": "v", "model_sha256": "ab", "row_hash": "cd", "expected_bp": 1.0, "p_up": 0.4, "p_down": 0.3,
        "provisional": False, "bid": 1.0, "ask": 1.0, "position_qty": "0", "qty": "1", "client_oid": "tb0-1-3-e",
    }  # fmt: skip
    placed = {
        "type": "place", "client_oid": "tb0-1-3-e", "symbol": "SOLUSDT", "side": "buy", "order_type": "market",
        "qty": "1", "purpose": "entry", "decision_id": "1-2", "preset_stop": "98",
    }  # fmt: skip
    decision, order = (decode_record(msgspec.msgpack.encode(written)) for written in (decided, placed))
    assert isinstance(decision, Decision)
    assert isinstance(order, PlaceOrder)
    assert (decision.hook, decision.models) == ("", ())
    assert (order.preset_take_profit, order.stop_distance) == (None, None)
    assert recover([(1, decision), (1, order)], cooldown_ms=0).stop_distances == {}


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
