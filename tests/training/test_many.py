"""Many symbols, some trouble: what ended stays, the rest goes on."""

from __future__ import annotations

from pathlib import Path

from tests.training import load


def test_a_full_disk_and_killed_workers_cost_nothing_but_time(tmp_path: Path) -> None:
    load.check(load.run(tmp_path, 4, trials=1, rounds=15), 4)
