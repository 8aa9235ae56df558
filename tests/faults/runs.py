"""A case and a seed to a verdict."""

from __future__ import annotations

import asyncio
import logging
import tempfile
from pathlib import Path

from tests.faults.cases import Case
from tests.faults.verdict import Verdict, judge
from tests.faults.world import trade
from tradebot.market.candle import MINUTE_MS
from tradebot.ops import logging as bot_logging
from tradebot.ops.loop import new_event_loop


async def _run(case: Case, seed: int, folder: Path) -> Verdict:
    run = await trade(
        case.schedule(seed),
        seed,
        folder,
        for_ms=case.total_min * MINUTE_MS,
        speed=case.speed,
        person_at_ms=case.end_ms(seed) if case.stops or case.may_halt else None,
        brisk=case.brisk,
    )
    return judge(case, seed, run)


def quiet() -> None:
    """What goes wrong here is meant to: the log of it is for looking at one run."""
    bot_logging.configure("demo", level="critical")
    logging.disable(logging.CRITICAL)


def run_case(case: Case, seed: int, folder: Path | None = None) -> Verdict:
    """Run in a directory of its own below ``folder``, which keeps the model, and judge."""
    with (
        tempfile.TemporaryDirectory(dir=folder) as own,
        asyncio.Runner(loop_factory=new_event_loop) as runner,
    ):
        return runner.run(_run(case, seed, Path(own)))
