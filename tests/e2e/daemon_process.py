"""A daemon as a process of its own, from a file of settings: ``python -m tests.e2e.daemon_process SETTINGS.json``; and
what of it can be seen from outside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.eventually import presently
from tradebot.daemon.run import run_daemon
from tradebot.events import PlaceOrder
from tradebot.journal import JournalReader, journal_directory
from tradebot.settings import Credentials, Settings


def start(settings: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.daemon_process", str(settings)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def count_orders(state: Path) -> int:
    frames = JournalReader(journal_directory(state)).frames() if journal_directory(state).exists() else ()
    return sum(isinstance(f.record, PlaceOrder) for f in frames)


def wait_for_orders(state: Path, more_than: int, within_s: float = 40.0) -> int:
    """Until the journal on disk holds more than ``more_than`` orders; returns how many.

    ``within_s`` is how long the next one may take: how fast they follow is up to the machine.
    """
    while (count := count_orders(state)) <= more_than:
        presently(lambda n=count: count_orders(state) > n, within_s)
    return count


if __name__ == "__main__":
    given = Settings.model_validate(json.loads(Path(sys.argv[1]).read_text()))
    sys.exit(run_daemon(given, Credentials("demo-key", "demo-secret", "demo-pass")))
