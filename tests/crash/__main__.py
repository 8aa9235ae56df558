"""The crash campaign: ``python -m tests.crash --kills 200 --seed 7``, or ``make crash-long``.

A daemon that trades at every candle is killed at random moments, over and over, and the next one has to find
everything. Exit code 1 when anything was lost, duplicated, forgotten or decided otherwise by a replay.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from multiprocessing.queues import Queue
from pathlib import Path
from queue import Empty

from tests.crash.autopsy import PHASES
from tests.crash.campaign import Campaign, run_campaign
from tests.faults.runs import quiet
from tests.faults.world import model_store


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200, metavar="N", help="how many daemons are killed (200)")
    parser.add_argument("--seed", type=int, default=7, metavar="N", help="market and moments (7)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="markets at a time (1)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave state directories and logs there")
    given = parser.parse_args(arguments)
    if given.kills < 1 or given.jobs < 1:
        parser.error("--kills and --jobs count from 1")
    with tempfile.TemporaryDirectory(prefix="crash-") as name:
        folder = given.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        model_store(folder)
        campaign = _campaigns(given.kills, given.seed, given.jobs, folder)
    _table(campaign)
    return 1 if campaign.problems else 0


def _campaigns(kills: int, seed: int, jobs: int, folder: Path) -> Campaign:
    context = multiprocessing.get_context("spawn")
    shares = [kills // jobs + (i < kills % jobs) for i in range(jobs)]
    total = Campaign()
    with context.Manager() as shared, ProcessPoolExecutor(jobs, mp_context=context, initializer=quiet) as pool:
        told: Queue[int] = shared.Queue()  # type: ignore[assignment]  # a proxy of one
        running = [
            pool.submit(run_campaign, share, 1_000 * seed + i, folder / f"market-{i}", told.put)
            for i, share in enumerate(shares)
            if share
        ]
        for line in _progress(running, told, kills):
            print(line, file=sys.stderr)
        for future in running:
            total.add(future.result())
    return total


def _progress(running: list[Future[Campaign]], told: Queue[int], kills: int) -> Iterator[str]:
    began, done = time.monotonic(), 0
    while True:
        try:
            done += told.get(timeout=0.2)
        except Empty:
            if not wait(running, timeout=0).not_done:
                return
            continue
        left_s = (time.monotonic() - began) / done * (kills - done)
        yield f"{done}/{kills} kills, about {left_s:.0f} s left"


def _table(campaign: Campaign) -> None:
    each_s = campaign.seconds / max(campaign.kills, 1)
    worst_s = max(campaign.recovery_s, default=0.0)
    rows: list[tuple[str, object]] = [
        ("kills", campaign.kills),
        *((f"  {phase}", campaign.phases[phase]) for phase in PHASES),
        ("halts kept", campaign.halts),
        ("orders", campaign.orders),
        ("executions", campaign.fills),
        ("lost", campaign.lost),
        ("duplicated", campaign.duplicated),
        ("decisions replayed", campaign.decisions),
        ("mismatches", campaign.mismatches),
        ("worst recovery", f"{worst_s:.2f} s"),
        ("seconds", f"{campaign.seconds:.1f} ({each_s:.2f} for each kill)"),
    ]
    for name, value in rows:
        print(f"{name:<24}{value!s:>12}")
    for problem in campaign.problems:
        print(problem)
    print("FAILED" if campaign.problems else "nothing lost, duplicated or forgotten")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
