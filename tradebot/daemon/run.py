"""``tradebot run``: the daemon as a service."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import nullcontext

import structlog

from tradebot.daemon.app import Daemon
from tradebot.daemon.universe import with_universe
from tradebot.execution.lease import account_lease
from tradebot.journal import open_state
from tradebot.ops import logging as bot_logging
from tradebot.ops.loop import run_loop
from tradebot.ops.notify import ServiceNotifier
from tradebot.settings import Credentials, Settings

log = structlog.get_logger(__name__)

ALIVE_S = 5.0
"""How often a sign of life is given when systemd does not say how often it wants one."""
READY_S = 0.1
"""How often is looked whether the first run has started."""


def run_daemon(settings: Settings, credentials: Credentials | None) -> int:
    """Run until SIGTERM or Ctrl-C. Returns the exit code; raises TradebotError for what stops the service."""
    secrets = (credentials.key, credentials.secret, credentials.passphrase) if credentials else ()
    style = None if settings.log.format == "auto" else settings.log.format
    bot_logging.configure(settings.mode, level=settings.log.level, style=style, secrets=secrets)
    lease = account_lease(settings.exchange.rest_url, credentials.key) if credentials else nullcontext()
    with lease:
        run_loop(_Service(settings, credentials).serve())
    log.info("stopped", pid=os.getpid())
    return 0


class _Service:
    """Runs one after the other, in one process: another universe of symbols begins a new one."""

    def __init__(self, settings: Settings, credentials: Credentials | None) -> None:
        self._settings = settings
        self._credentials = credentials
        self._notifier = ServiceNotifier()
        self._daemon: Daemon | None = None
        self._stopping = False
        self._halting = False
        self._told_ready = False

    async def serve(self) -> None:
        """Until a signal says stop. Raises TradebotError for what stops the service."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGUSR1, self._halt)
        alive = asyncio.create_task(self._watchdog())
        try:
            while not self._stopping and await self._run():
                log.info("universe_changed", what="a new run begins with other symbols")
        finally:
            self._notifier.stopping()
            alive.cancel()
            await asyncio.gather(alive, return_exceptions=True)

    async def _run(self) -> bool:
        """One run; whether another one is to follow it."""
        # a state directory that was lost must not bring old order ids back
        with open_state(self._settings.state_dir, first_epoch=int(time.time())) as opened:
            for warning in opened.warnings:
                log.warning("journal", message=warning)
            settings, traded = await with_universe(self._settings, opened)
            daemon = self._daemon = Daemon(settings, self._credentials, opened, universe=traded)
            if self._halting:
                self._halt()
            if self._stopping:
                daemon.request_stop()
            try:
                await daemon.run()
            finally:
                self._daemon = None
            return daemon.begins_anew

    def _stop(self) -> None:
        self._stopping = True
        if self._daemon is not None:
            self._daemon.request_stop()

    def _halt(self) -> None:
        self._halting = self._daemon is None
        if self._daemon is not None:
            self._daemon.halt_switch.press("signal", "SIGUSR1")

    async def _watchdog(self) -> None:
        """Tell systemd that the loop turns and the ledger's thread lives. A feed outage is no reason for a restart."""
        interval = self._notifier.watchdog_s or ALIVE_S
        last, told = time.monotonic(), False
        while True:
            await asyncio.sleep(min(interval, ALIVE_S) if self._told_ready else READY_S)
            daemon, now = self._daemon, time.monotonic()
            if daemon is not None and daemon.ready.is_set() and not self._told_ready:
                self._told_ready = True
                self._notifier.ready(f"{daemon.settings.mode}: {', '.join(daemon.config.symbols)}")
                last = now
                continue
            if not self._told_ready:
                continue
            if daemon is None or daemon.ledger.alive:
                self._notifier.watchdog()
            elif not told:
                told = True
                why = daemon.ledger.failure
                log.error("ledger_failed", reason=why, remedy="restart: it is rebuilt from the journal")
            lag = now - last - min(interval, ALIVE_S)
            if lag > 1.0:
                log.warning("loop_lag", seconds=round(lag, 3))
            last = now
