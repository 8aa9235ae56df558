"""Telling systemd how the service is doing (``sd_notify(3)``); outside systemd nothing happens."""

from __future__ import annotations

import os
import time

import sdnotify


class ServiceNotifier:
    """The service's side of ``Type=notify`` and ``WatchdogSec=``."""

    def __init__(self) -> None:
        """Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID of this process."""
        self._socket = sdnotify.SystemdNotifier()
        self.active = "NOTIFY_SOCKET" in os.environ
        self.watchdog_s = _watchdog_interval_s()
        """Seconds between two ``watchdog`` calls (half of what systemd allows), or None when nobody waits for them."""

    def ready(self, status: str = "") -> None:
        """The service has started (or finished reloading)."""
        self._send("READY=1", status)

    def reloading(self) -> None:
        """The configuration is being reloaded; ``ready`` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str = "") -> None:
        """The service is shutting down."""
        self._send("STOPPING=1", status)

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        self._send("", text)

    def watchdog(self) -> None:
        """The event loop and the ledger are alive."""
        self._send("WATCHDOG=1")

    def _send(self, state: str, status: str = "") -> None:
        if not self.active:
            return
        line = " ".join(status.split())
        self._socket.notify("\n".join(part for part in (state, f"STATUS={line}" if line else "") if part))


def _watchdog_interval_s() -> float | None:
    usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not usec.isdigit() or int(usec) == 0 or (pid and pid != str(os.getpid())):
        return None
    return int(usec) / 2e6
