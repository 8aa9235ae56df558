"""A daemon as a process of its own, from a file of settings: ``python -m tests.e2e.daemon_process SETTINGS.json``."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from tradebot.daemon.app import Daemon
from tradebot.daemon.run import _serve
from tradebot.journal import open_state
from tradebot.settings import Credentials, Settings

if __name__ == "__main__":
    settings = Settings.model_validate(json.loads(Path(sys.argv[1]).read_text()))
    with open_state(settings.state_dir) as opened:
        daemon = Daemon(settings, Credentials("demo-key", "demo-secret", "demo-pass"), opened)
        sys.exit(asyncio.run(_serve(daemon)))
