"""A schedule of faults on the command line: its mistakes are told before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Tradebot


@pytest.mark.parametrize("command", ["sim", "demo"])
def test_a_mistake_in_a_schedule_is_one_line_with_its_place(tradebot: Tradebot, home: Path, command: str) -> None:
    (home / "faults.yaml").write_text("rules:\n  - kind: drp\n")
    code, out, err = tradebot(command, "--faults", "faults.yaml")
    assert (code, out) == (78, "")
    assert err.startswith("tradebot: faults.yaml:2:11: kind: no such kind 'drp'; did you mean drop?")
    assert err.count("\n") == 1
    assert not (home / "state").exists()


@pytest.mark.parametrize("command", ["sim", "demo"])
def test_a_schedule_that_is_not_there_is_one_line(tradebot: Tradebot, command: str) -> None:
    code, out, err = tradebot(command, "--faults", "none.yaml")
    assert (code, out) == (78, "")
    assert err == "tradebot: none.yaml: cannot be read (No such file or directory)\n"
