from __future__ import annotations

import os
import pty
import sys

import pytest

from tradebot.cli.bar import Bar
from tradebot.cli.counting import Counting


def test_a_terminal_shows_a_bar_and_lines_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w", buffering=1) as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with Counting("fetching", 3) as counting:
            counting.step("SOLUSDT[1]")
            counting.say("busy [429]")
            counting.of(3, 4)
        shown = ""
        while "\x1b[?25h" not in shown:  # the cursor is back: the bar has ended
            shown += os.read(ours, 65_536).decode()
    os.close(ours)
    assert "fetching" in shown
    assert "busy [429]" in shown
    assert "3/4" in shown


def test_elsewhere_a_line_in_between_is_a_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Bar() as bar:
        assert not bar.shown
        bar.show("fetching", 1, 3, 60.0, "SOLUSDT")
        bar.say("busy [429]")
    assert capsys.readouterr().err == "busy [429]\n"
