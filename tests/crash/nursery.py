"""Where daemons are born: a process that has everything imported and forks one whenever it is told to.

A daemon that had to import everything would spend most of a short life with that.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from tests.faults.world import CREDENTIALS, timeouts
from tradebot.daemon.app import Daemon
from tradebot.features.kernel import kernel
from tradebot.journal import open_state
from tradebot.ops import logging as bot_logging
from tradebot.ops.loop import run_loop
from tradebot.settings import Settings

kernel()


def live(settings: Settings, log: Path) -> None:
    """Be a daemon until somebody ends it."""
    with open(log, "ab") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    bot_logging.configure(settings.mode, level="info", style="json")
    with open_state(settings.state_dir) as opened:
        daemon = Daemon(settings, CREDENTIALS, opened, timeouts=timeouts(brisk=False))
        # in step with an exchange a daemon lets nothing of its journal go; here that must survive being killed, too
        daemon._course = replace(daemon._course, chores=[*daemon._course.chores, daemon.keeper])
        run_loop(_run(daemon))


async def _run(daemon: Daemon) -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, daemon.request_stop)
    await daemon.run()
