"""The fault matrix: ``python -m tests.faults --seeds 3``, or ``make faults``, ``make faults-long``.

Every kind of fault in every scope it can act in, over and over with another market and other dice; one row for each
in the table. Exit code 1 when a run failed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from tests.faults.cases import CASES, SCOPES, Case, reason
from tests.faults.runs import quiet, run_case
from tests.faults.verdict import Verdict
from tests.faults.world import model_store
from tradebot.sim.faults import KINDS

HEAD = (
    "kind",
    "scope",
    "runs",
    "faults",
    "noticed",
    "orders",
    "fills",
    "dupl.",
    "blocked",
    "halts",
    "resumed",
    "verdict",
    "seconds",
)
WIDTHS = (40, 8, 5, 8, 8, 7, 7, 6, 8, 6, 8, 9, 8)
BATCH = 100
"""Runs of one process: what it gathers over hundreds of them goes with it."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="markets and dice for each case (1)")
    parser.add_argument("--first-seed", type=int, default=1, metavar="N", help="the seeds count from here (1)")
    parser.add_argument("--kind", action="append", metavar="KIND", help="this kind alone; may be given again")
    parser.add_argument("--scope", choices=SCOPES, help="this scope alone")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time (1)")
    given = parser.parse_args(arguments)
    unknown = [kind for kind in given.kind or () if kind not in KINDS]
    if unknown or given.seeds < 1 or given.jobs < 1:
        parser.error(f"no such kind: {', '.join(unknown)}" if unknown else "--seeds and --jobs count from 1")
    cases = [
        case
        for case in CASES
        if (not given.kind or case.kind in given.kind) and (given.scope is None or case.scope == given.scope)
    ]
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = Path(name)
        model_store(folder)
        verdicts = list(_run_all(cases, seeds, folder, given.jobs))
    _table(cases, verdicts)
    if not given.kind:
        _left_out(given.scope)
    failed = [verdict for verdict in verdicts if verdict.problems]
    for verdict in failed:
        for problem in verdict.problems:
            print(f"{verdict.case.name} {verdict.case.scope} seed {verdict.seed}: {problem}")
    print(f"{len(verdicts)} runs, {len(failed)} failed")
    return 1 if failed else 0


def _run_all(cases: list[Case], seeds: Iterable[int], folder: Path, jobs: int) -> Iterable[Verdict]:
    wanted = [(case, seed) for case in cases for seed in seeds]
    began, done = time.monotonic(), 0
    for at in range(0, len(wanted), BATCH * jobs):
        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=quiet) as pool:
            running = [pool.submit(run_case, case, seed, folder) for case, seed in wanted[at : at + BATCH * jobs]]
            try:
                for future in as_completed(running):
                    verdict = future.result()
                    done += 1
                    left_s = (time.monotonic() - began) / done * (len(wanted) - done)
                    mark = "FAILED" if verdict.problems else "ok"
                    what = f"{verdict.case.name} {verdict.case.scope} seed {verdict.seed} {mark}"
                    print(f"{done}/{len(wanted)} {what}, about {left_s:.0f} s left", file=sys.stderr)
                    yield verdict
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                raise


def _table(cases: list[Case], verdicts: list[Verdict]) -> None:
    _row(HEAD)
    for case in cases:
        of = [verdict for verdict in verdicts if verdict.case == case]
        failed = sum(bool(verdict.problems) for verdict in of)
        _row(
            (
                case.name,
                case.scope,
                len(of),
                sum(v.injected for v in of),
                sum(v.noticed for v in of) if KINDS[case.kind].noticed.get(case.scope) else "-",
                sum(v.orders for v in of),
                sum(v.fills for v in of),
                sum(v.duplicates for v in of),
                sum(v.blocked for v in of),
                sum(v.halts for v in of),
                sum(v.resumed for v in of),
                f"{failed} FAILED" if failed else "equal",
                f"{sum(v.seconds for v in of):.1f}",
            )
        )


def _left_out(only: str | None) -> None:
    print()
    for kind in KINDS:
        for scope in SCOPES:
            why = reason(kind, scope)
            if why and only in (None, scope):
                print(f"{kind:<40}{scope:<8} not tried: {why}")
    print()


def _row(cells: tuple[object, ...]) -> None:
    left = "".join(f"{cell:<{width}}" for cell, width in zip(cells[:2], WIDTHS[:2], strict=True))
    print(left + "".join(f"{cell!s:>{width}}" for cell, width in zip(cells[2:], WIDTHS[2:], strict=True)), flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
