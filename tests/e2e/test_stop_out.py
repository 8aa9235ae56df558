"""Positions that their stops close: over and over, and while nobody listens."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from tests.e2e.conftest import STRATEGIES, Sim, settings_json
from tests.e2e.daemon_process import start, wait_for_orders
from tradebot.daemon.replay import replay
from tradebot.events import Alert, Decision, StopUpdated, TradabilityChanged
from tradebot.journal import JournalReader, journal_directory


def test_stops_that_act_are_ours_and_trading_goes_on(sim: Sim, model_store: Path, tmp_path: Path) -> None:
    state, settings = tmp_path / "state", tmp_path / "settings.json"
    tight = {"cooldown": "0s", "max_daily_loss": "0.5", "max_losses_in_a_row": None, "stop_distance": "0.001"}
    settings.write_text(json.dumps(settings_json(sim, state, model_store, risk=tight)))
    process = start(settings)
    wait_for_orders(state, 120)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    records = [f.record for f in JournalReader(journal_directory(state)).frames()]
    stopped = {r.order_id for r in records if isinstance(r, StopUpdated) and r.status == "executed"}
    assert len(stopped) >= 10
    assert [r for r in records if isinstance(r, Alert) and r.severity == "critical"] == []
    assert [r for r in records if isinstance(r, TradabilityChanged)] == []
    blocked = [r for r in records if isinstance(r, Decision) and r.action.startswith("enter") and r.verdict == "block"]
    assert blocked == []
    report = replay(state, STRATEGIES)
    assert report.decisions > 100
    assert report.mismatches == 0, report.first_mismatch
