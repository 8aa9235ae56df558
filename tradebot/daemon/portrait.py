"""What the bot looks like now, as the plain dict that views and ``tradebot status`` show."""

from __future__ import annotations

import os
import time
from decimal import Decimal
from typing import TYPE_CHECKING

import tradebot
from tradebot.daemon.condition import obstacles
from tradebot.daemon.metrics import health
from tradebot.daemon.snapshot import (
    JobSnapshot,
    ModelSnapshot,
    SignalSnapshot,
    Snapshot,
    SymbolSnapshot,
)
from tradebot.events import Decision, ModelRef
from tradebot.market.instrument import exact
from tradebot.shell.result import CountsSnapshot, stopped, totals
from tradebot.trading.symbol import SymbolState

if TYPE_CHECKING:
    from tradebot.daemon.app import Daemon

ROWS = 5
SIGNALS = 12
DIGITS = 10
"""Decimal places of a number that is shown: more than any tick or lot has."""


def portray(daemon: Daemon) -> Snapshot:
    """A snapshot of ``daemon``. Cheap: reads what is in memory, a few times a second at most."""
    state = daemon.engine.state
    equity = daemon.engine.live_equity()
    now_ms = daemon.clock.now_ms()
    wall_s = time.monotonic() - daemon.started_wall
    shot: Snapshot = {
        "mode": daemon.settings.mode,
        "phase": _phase(daemon, now_ms),
        "symbols": [_symbol(daemon, s) for s in daemon.engine.symbols.values() if s.name in daemon.config.symbols],
        "signals": [_signal(d) for d in list(daemon.tally.recent)[: -SIGNALS - 1 : -1]],
        "jobs": _jobs(daemon),
        "realised": _plain(state.portfolio.realised),
        "fees": _plain(state.portfolio.fees),
        "funding": _plain(state.portfolio.funding),
        "tradability": state.tradability,
        "halt_reason": state.halt_reason,
        "stopped": stopped(state, daemon.config.symbols),
        "obstacles": obstacles(daemon),
        "from_ms": daemon.started_ms,
        "now_ms": now_ms,
        "wall_s": wall_s,
        "pid": os.getpid(),
        "version": tradebot.__version__,
        "ready": daemon.ready.is_set(),
        "counts": counts(daemon),
        "health": health(daemon),
    }
    if daemon.metrics_port is not None:
        shot["metrics_port"] = daemon.metrics_port
    next_retrain = daemon.retrainer.next_fire_ms
    if next_retrain:
        shot["next_retrain_ms"] = next_retrain
    if equity is not None:
        shot["equity"] = _plain(equity)
    if daemon.start_equity is not None:
        shot["start_equity"] = _plain(daemon.start_equity)
    if daemon.stop_at_ms is not None:
        shot["to_ms"] = daemon.stop_at_ms
    if wall_s > 0 and daemon.started_ms:
        shot["rate"] = _plain((now_ms - daemon.started_ms) / 1000 / wall_s)
    return shot


def _phase(daemon: Daemon, now_ms: int) -> str:
    """In step with a paced exchange, trading stands still from a retrain's landing time until its result is there."""
    due = daemon.retrainer.next_due_ms()
    waits = daemon.drive.lockstep and daemon.retrainer.waiting() and due is not None and due <= now_ms
    return "waiting for a retrain" if waits and daemon.phase == "trading" else daemon.phase


def _plain(number: Decimal | float) -> float:
    """A number to be read: without the tail of binary arithmetic (0.30000000000000004), and never minus zero."""
    return round(float(number), DIGITS) + 0.0


def counts(daemon: Daemon) -> CountsSnapshot:
    """Totals of the run."""
    return totals(
        daemon.tally,
        events=daemon.sequencer.events,
        book_updates=daemon.feed.book_updates,
        dropped=daemon.dropped(),
    )


def _symbol(daemon: Daemon, symbol: SymbolState) -> SymbolSnapshot:
    shot: SymbolSnapshot = {
        "symbol": symbol.name,
        "mark": _plain(symbol.mark_price()),
        "feed_ok": symbol.feed_ok,
        "feed_reason": symbol.feed_reason,
    }
    row = daemon.feed.row(symbol.name)
    if row is not None:
        bid_px, bid_sz, ask_px, ask_sz = (side[:ROWS] for side in row)
        shot["bids"] = list(zip(bid_px, bid_sz, strict=True))
        shot["asks"] = list(zip(ask_px, ask_sz, strict=True))
        total = sum(bid_sz) + sum(ask_sz)
        if total > 0:
            shot["imbalance"] = _plain((sum(bid_sz) - sum(ask_sz)) / total)
    if symbol.top is not None:
        shot["price"] = price = _plain((symbol.top.bid + symbol.top.ask) / 2)
        shot["book_age_ms"] = max(0, daemon.clock.now_ms() - symbol.top_ms)
        first = daemon.first_prices.setdefault(symbol.name, price)
        shot["change_bp"] = _plain((price / first - 1) * 1e4)
    position = daemon.engine.state.portfolio.position(symbol.name)
    shot["position_qty"] = _plain(position.qty)
    if position.qty:
        shot["dust"] = daemon.engine.is_dust(symbol.name)
        shot["entry_price"] = _plain(position.entry_price)
        mark: Decimal = exact(symbol.mark_price())
        shot["unrealised"] = _plain(position.unrealised(mark))
        stop = daemon.engine.state.stops.get(symbol.name)
        if stop is not None and stop.confirmed:
            shot["stop_price"] = _plain(stop.trigger_price)
    theirs = daemon.engine.discrepancies.theirs(symbol.name)
    if theirs is not None:
        shot["exchange_qty"] = _plain(theirs)
    if symbol.model is not None:
        shot["model"] = symbol.model.name
        shot["model_version"] = symbol.model.version
        shot["models"] = [_model(daemon, ref) for ref in symbol.models.values()]
        shot["provisional"] = any(ref.provisional for ref in symbol.models.values())
    return shot


def _model(daemon: Daemon, ref: ModelRef) -> ModelSnapshot:
    shot: ModelSnapshot = {"model": ref.name, "version": ref.version}
    service = daemon.tally.service(ref.symbol, ref.name)
    if service is not None:
        shot["since_ms"] = service.since_ms
    return shot


def _signal(decision: Decision) -> SignalSnapshot:
    return {
        "decision_id": decision.decision_id,
        "ts_ms": decision.ts_ms,
        "symbol": decision.symbol,
        "action": decision.action,
        "verdict": decision.verdict,
        "reason": decision.reason,
        "blocked_by": ", ".join(c.name for c in decision.checks if c.verdict == "block"),
        "expected_bp": None if decision.expected_bp is None else _plain(decision.expected_bp),
        "qty": _plain(decision.qty),
        "model": decision.model,
        "version": decision.version,
        "provisional": decision.provisional,
    }


def _jobs(daemon: Daemon) -> list[JobSnapshot]:
    jobs: list[JobSnapshot] = []
    for name in daemon.retrainer.waiting():
        progress = daemon.retrainer.progress(name)
        symbol, _, model = name.partition("-")[2].rpartition("-")[0].partition("-")
        shot: JobSnapshot = {
            "id": name, "symbol": symbol, "model": model, "state": "running" if progress else "pending"
        }  # fmt: skip
        if progress is not None:
            shot |= {
                "stage": progress.stage,
                "done": progress.done,
                "total": progress.total,
                "message": progress.message,
                "elapsed_s": progress.elapsed_s,
                "eta_s": progress.eta_s,
            }
        jobs.append(shot)
    return jobs + [
        {
            "id": ended.job_id,
            "symbol": ended.symbol,
            "model": ended.model,
            "state": "done",
            "verdict": ended.verdict,
            "reason": ended.reason,
        }
        for ended in daemon.tally.verdicts[-2:]
    ]
