"""One daemon per account."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tradebot.errors import BusyError
from tradebot.execution.lease import account_lease

URL = "https://exchange.test"


def test_an_account_is_held_by_one_and_free_again_afterwards() -> None:
    with account_lease(URL, "lease-test-key"):
        with pytest.raises(BusyError, match="another daemon"), account_lease(URL, "lease-test-key"):
            pass
        with account_lease(URL, "another-key"), account_lease("https://elsewhere.test", "lease-test-key"):
            pass
    with account_lease(URL, "lease-test-key"):
        pass


def test_the_lease_ends_with_its_process_however_it_dies() -> None:
    code = (
        "import os, signal; from tradebot.execution.lease import account_lease; "
        f"lease = account_lease({URL!r}, 'lease-kill-key'); lease.__enter__(); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    with account_lease(URL, "lease-kill-key"):
        pass
