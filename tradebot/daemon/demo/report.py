"""What a demo says at its end: what was decided and earned, and whether it agrees with its exchange and its replay."""

from __future__ import annotations

from typing import Any

from tradebot.daemon.app import Daemon
from tradebot.daemon.demo.asked import Demo
from tradebot.daemon.portrait import counts
from tradebot.daemon.replay import replay as recompute
from tradebot.journal import DecisionDigest
from tradebot.settings import Settings
from tradebot.shell.result import AGREED, NOTHING_COUNTED, NOTHING_EARNED, earned, gates, result, served, stopped


def traded(demo: Demo, settings: Settings, daemon: Daemon, reconciled: dict[str, bool], epoch: int) -> dict[str, Any]:
    """The result of a run that has ended; every decision of ``epoch`` is computed again."""
    report = recompute(settings.state_dir, settings.strategies_dir, epoch=epoch)
    return result(
        mode=settings.mode,
        source=demo.source,
        symbols=settings.symbols,
        from_ms=daemon.started_ms,
        to_ms=daemon.clock.now_ms(),
        decisions_sha256=daemon.sequencer.digest.hexdigest(),
        counted=counts(daemon),
        equity=daemon.engine.live_equity(),
        replay={"decisions": report.decisions, "mismatches": report.mismatches},
        reconcile=reconciled,
        gate=gates(demo.results, daemon.tally.verdicts),
        models=served(daemon.tally.services),
        money=earned(daemon.engine, daemon.tally.trades),
        stops=stopped(daemon.engine.state, daemon.config.symbols),
    )


def nothing_traded(demo: Demo, settings: Settings, start_ms: int) -> dict[str, Any]:
    """The result of a run that was stopped before it began: while its first model was being trained, or just after."""
    return result(
        mode=settings.mode,
        source=demo.source,
        symbols=settings.symbols,
        from_ms=start_ms,
        to_ms=start_ms,
        decisions_sha256=DecisionDigest().hexdigest(),
        counted=NOTHING_COUNTED,
        equity=None,
        replay={"decisions": 0, "mismatches": 0},
        reconcile=AGREED,
        gate=gates(demo.results, ()),
        models=(),
        money=NOTHING_EARNED,
        stops=(),
    )
