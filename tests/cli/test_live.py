"""What it takes to trade with real money."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Tradebot
from tradebot.cli.live import guard_live
from tradebot.errors import ConfigError, UsageError
from tradebot.settings import Credentials, load_settings

KEY = Credentials("k", "s", "p")


def live_config(home: Path) -> Path:
    path = home / "config.yaml"
    path.write_text("mode: live\n")
    return path


def test_the_flag_without_the_configuration_is_refused(tradebot: Tradebot, home: Path) -> None:
    done = tradebot("run", "--live")
    assert done.code == 78
    assert "--live also needs 'mode: live' in the configuration" in done.err
    (home / "config.yaml").write_text("mode: paper\n")
    assert tradebot("run", "--live").err.startswith("tradebot: config.yaml:1:7: ")


def test_the_configuration_without_the_flag_is_refused(tradebot: Tradebot, home: Path) -> None:
    live_config(home)
    done = tradebot("run")
    assert (done.code, done.err) == (
        78, "tradebot: config.yaml:1:7: mode is live; real orders also need: tradebot run --live\n",
    )  # fmt: skip


def test_no_override_can_stand_for_the_configuration(home: Path) -> None:
    loaded = load_settings(None, {"mode": "live"}, {})
    with pytest.raises(ConfigError, match="in the configuration"):
        guard_live(loaded, True, KEY)


def test_no_key_is_refused_before_anything_is_asked(tradebot: Tradebot, home: Path) -> None:
    live_config(home)
    done = tradebot("run", "--live")
    assert done.code == 78
    assert "live trading needs an exchange key" in done.err


def test_without_a_terminal_nobody_can_confirm(home: Path) -> None:
    loaded = load_settings(live_config(home), None, {})
    with pytest.raises(UsageError, match="a person at a terminal"):
        guard_live(loaded, True, KEY)


@pytest.mark.parametrize(("typed", "code"), [("live\n", 0), ("yes\n", 2), ("\n", 2), ("Live\n", 2)])
def test_only_the_typed_word_confirms(home: Path, typed: str, code: int) -> None:
    live_config(home)
    script = (
        "import sys\n"
        "from tradebot.cli.live import guard_live\n"
        "from tradebot.errors import TradebotError\n"
        "from tradebot.settings import Credentials, load_settings\n"
        "try:\n"
        "    guard_live(load_settings(None, None, {}), True, Credentials('k', 's', 'p'))\n"
        "except TradebotError as error:\n"
        "    sys.exit(error.exit_code)\n"
    )
    master, slave = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", script], cwd=home, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        shown = b""
        deadline = time.monotonic() + 30
        while b"Type 'live' to go on" not in shown and time.monotonic() < deadline:
            shown += os.read(master, 4096)
        assert b"REAL MONEY" in shown
        assert b"https://api.bitget.com" in shown
        os.write(master, typed.encode())
        assert process.wait(30) == code
    os.close(master)


def test_the_other_modes_say_what_they_lack(tradebot: Tradebot, home: Path) -> None:
    done = tradebot("run", "--exchange-demo")
    assert done.code == 78
    assert "demo key" in done.err
    (home / "config.yaml").write_text("mode: demo\n")
    done = tradebot("run")
    assert done.code == 78
    assert "use 'tradebot demo'" in done.err
