"""``tradebot run``: the daemon as a service."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import nullcontext

import structlog
import uvloop

from tradebot.daemon.app import Daemon
from tradebot.execution.lease import account_lease
from tradebot.journal import open_state
from tradebot.ops import logging as bot_logging
from tradebot.ops.notify import ServiceNotifier
from tradebot.settings import Credentials, Settings

log = structlog.get_logger(__name__)

ALIVE_S = 5.0
"""How often a sign of life is given when systemd does not say how often it wants one."""


def run_daemon(settings: Settings, credentials: Credentials | None) -> int:
    """Run until SIGTERM or Ctrl-C. Returns the exit code; raises TradebotError for what stops the service."""
    secrets = (credentials.key, credentials.secret, credentials.passphrase) if credentials else ()
    style = None if settings.log.format == "auto" else settings.log.format
    bot_logging.configure(settings.mode, level=settings.log.level, style=style, secrets=secrets)
    lease = account_lease(settings.exchange.rest_url, credentials.key) if credentials else nullcontext()
    # a state directory that was lost must not bring old order ids back
    with lease, open_state(settings.state_dir, first_epoch=int(time.time())) as opened:
        for warning in opened.warnings:
            log.warning("journal", message=warning)
        daemon = Daemon(settings, credentials, opened)
        return uvloop.run(_serve(daemon))


async def _serve(daemon: Daemon) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, daemon.request_stop)
    loop.add_signal_handler(signal.SIGUSR1, lambda: daemon.halt_switch.press("signal", "SIGUSR1"))
    notifier = ServiceNotifier()
    alive = asyncio.create_task(_watchdog(notifier, daemon))
    try:
        await daemon.run()
    finally:
        notifier.stopping()
        alive.cancel()
        await asyncio.gather(alive, return_exceptions=True)
    log.info("stopped", pid=os.getpid())
    return 0


async def _watchdog(notifier: ServiceNotifier, daemon: Daemon) -> None:
    """Tell systemd that the loop turns and the ledger's thread lives. A feed outage is no reason for a restart."""
    await daemon.ready.wait()
    notifier.ready(f"{daemon.settings.mode}: {', '.join(daemon.config.symbols)}")
    interval = notifier.watchdog_s or ALIVE_S
    last, told = time.monotonic(), False
    while True:
        await asyncio.sleep(min(interval, ALIVE_S))
        now = time.monotonic()
        if daemon.ledger.alive:
            notifier.watchdog()
        elif not told:
            told = True
            log.error("ledger_failed", reason=daemon.ledger.failure, remedy="restart: it is rebuilt from the journal")
        lag = now - last - min(interval, ALIVE_S)
        if lag > 1.0:
            log.warning("loop_lag", seconds=round(lag, 3))
        last = now
