"""A training of many symbols that meets a full disk and two killed workers, is gone on with, and is done again on a
full disk while the first champions serve.

``python -m tests.training.load --symbols 30`` is the long form (``make train-load``); the suite runs a short one.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.shared import ROOT
from tests.training import market
from tradebot.data.files import read_candles
from tradebot.forecasters.base import CandleColumns

RECORDED = ROOT / "data/market/candles/bybit_SOLUSDT_perp_5m.parquet"
CANDLES = 9_000
AGAIN = 2
"""Symbols that are trained anew once all have a champion."""
FILE_LIMIT_KB = 24
"""Smaller than any graph: the disk is full when a version is stored."""


@dataclass(frozen=True)
class Outcome:
    """Exit codes of the four runs (disk full; killed; gone on with; done anew, disk full) and what the summary said
    after each; how many workers were killed; the champions' files before and after the last run."""

    codes: tuple[int, int, int, int]
    statuses: tuple[dict[str, str], dict[str, str], dict[str, str], dict[str, str]]
    versions: dict[str, list[str]]
    errors: str
    killed: int
    champions: tuple[dict[str, bytes], dict[str, bytes]]


def write_market(folder: Path, symbols: int) -> list[str]:
    """Copies: parts of the recorded candles where they are there, made-up ones elsewhere; the last one cannot do."""
    names = [f"S{number:02d}USDT" for number in range(symbols)]
    recorded = read_candles(RECORDED) if RECORDED.exists() else None
    for number, name in enumerate(names):
        if recorded is None:
            columns = market.candles(CANDLES, momentum=0.4, seed=number)
        else:
            end = len(recorded.open_time) - number * 40
            part = slice(end - CANDLES, end)
            columns = CandleColumns(
                recorded.open_time[-CANDLES:], recorded.open[part], recorded.high[part], recorded.low[part],
                recorded.close[part], recorded.volume[part],
            )  # fmt: skip
        if number == symbols - 1:
            flat = np.full(len(columns), 1.0)
            columns = CandleColumns(columns.open_ms, flat, flat, flat, flat, columns.volume)
        market.write_parquet(folder / f"{name}.parquet", columns)
    return names


def run(root: Path, symbols: int, *, kills: int = 2, trials: int = 2, rounds: int = 20) -> Outcome:
    """The whole story in folder ``root``."""
    data, out = root / "data", root / "models"
    data.mkdir()
    names = write_market(data, symbols)
    command = [sys.executable, "-m", "tradebot", "train", "--model", "lightgbm", "--all", "--data", str(data), "--out",
               str(out), "--parallel", "2", "--trials", str(trials), "--rounds", str(rounds), "--json"]  # fmt: skip
    shell = ["bash", "-c", f'ulimit -f {FILE_LIMIT_KB}; exec "$@"', "-"]
    full = subprocess.run([*shell, *command], capture_output=True, text=True, cwd=root)
    with (root / "second.err").open("w") as err, (root / "second.out").open("w") as said:
        second = subprocess.Popen([*command, "--resume"], stdout=said, stderr=err, cwd=root)
        killed = _kill_workers(second, kills)
        second.wait()
    third = subprocess.run([*command, "--resume"], capture_output=True, text=True, cwd=root)
    summary = json.loads((out / "training_summary.json").read_text())
    assert {name: row["status"] for name, row in summary["symbols"].items()} == _statuses(third.stdout)
    champions = _files(out)
    command[command.index("--all") : command.index("--all") + 1] = ["--symbol", *names[:AGAIN]]
    anew = subprocess.run([*shell, *command, "--seed", "8"], capture_output=True, text=True, cwd=root)
    outputs = (full.stdout, (root / "second.out").read_text(), third.stdout, anew.stdout)
    first, resumed, again, last = (_statuses(text) for text in outputs)
    return Outcome(
        codes=(full.returncode, second.returncode, third.returncode, anew.returncode),
        statuses=(first, resumed, again, last),
        versions={name: sorted(p.name for p in out.glob(f"{name}/lightgbm-5m/v*")) for name in names},
        errors=full.stderr + (root / "second.err").read_text() + third.stderr + anew.stderr,
        killed=killed,
        champions=(champions, _files(out)),
    )


def _files(store: Path) -> dict[str, bytes]:
    """Pointers and versions of every model."""
    return {str(path): path.read_bytes() for path in store.glob("*/lightgbm-5m/**/*") if path.is_file()}


def _statuses(text: str) -> dict[str, str]:
    rows = [json.loads(line) for line in text.splitlines()]
    return {row["symbol"]: row["status"] for row in rows if "symbol" in row}


def _kill_workers(driver: subprocess.Popen[bytes], wanted: int) -> int:
    """SIGKILL ``wanted`` workers of a driver, each in the middle of a symbol."""
    killed: set[int] = set()
    while driver.poll() is None and len(killed) < wanted:
        for pid in _children(driver.pid):
            if pid not in killed and len(killed) < wanted and _at_work(pid):
                os.kill(pid, signal.SIGKILL)
                killed.add(pid)
        time.sleep(0.2)
    return len(killed)


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _at_work(pid: int) -> bool:
    """Whether a worker holds the lock of a symbol."""
    try:
        return any("/queue/locks/" in os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def main() -> int:
    """The long form: prints what happened, and fails where it should not have."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--symbols", type=int, default=30)
    arguments = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(Path(folder), arguments.symbols)
    check(outcome, arguments.symbols)
    counts = {status: list(outcome.statuses[2].values()).count(status) for status in set(outcome.statuses[2].values())}
    print(
        f"{arguments.symbols} symbols, disk full (exit {outcome.codes[0]}), {outcome.killed} workers killed, resumed "
        f"(exit {outcome.codes[1]}), again (exit {outcome.codes[2]}): {counts}; {AGAIN} anew on a full disk (exit "
        f"{outcome.codes[3]}), {len(outcome.champions[1])} files of champions untouched, "
        f"{time.monotonic() - started:.0f} s"
    )
    return 0


def check(outcome: Outcome, symbols: int) -> None:
    """What has to hold, whatever the number of symbols."""
    full, resumed, again, anew = outcome.statuses
    assert len(full) == len(resumed) == len(again) == symbols
    assert set(full.values()) == {"failed"}, full
    assert outcome.codes[0] == 75
    assert outcome.killed == 2
    good = [name for name, status in resumed.items() if status != "failed"]
    assert len(good) == symbols - 1, resumed
    assert again == resumed
    assert outcome.codes[1] == outcome.codes[2] == 65, "the symbol whose price never moves"
    assert all(outcome.versions[name] == ["v0001"] for name in good), outcome.versions
    assert outcome.errors.count("was killed (signal 9); S") == 2, outcome.errors
    assert (list(anew.values()), outcome.codes[3]) == (["failed"] * AGAIN, 75)
    assert outcome.champions[0] == outcome.champions[1]
    assert sum(path.endswith("champion.json") for path in outcome.champions[0]) == symbols - 1
    assert "Traceback" not in outcome.errors
    assert f"{symbols - 1} of {symbols} symbols are done already" in outcome.errors


if __name__ == "__main__":
    raise SystemExit(main())
