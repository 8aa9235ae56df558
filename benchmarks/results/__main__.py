"""``python -m benchmarks.results [--form short|full] [--only TEXT] [--page-only]``: run what is missing, write a page.

One process a case, at low priority. Each outcome is on disk before the next case begins; Ctrl-C ends the run after
writing the page of what is there, and the next run goes on.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from benchmarks.results.cases import Case, cases
from benchmarks.results.outcome import Outcome, keep, kept_at, load, newest
from benchmarks.results.page import write_page

WORK = Path("benchmarks/out/results")
SHARED = Path(os.environ.get("TRADEBOT_SHARED", "../shared"))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.results", description="the results page")
    parser.add_argument("--form", choices=("short", "full"), default="short")
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--page-only", action="store_true", help="run nothing, write the page of what is kept")
    parser.add_argument("--data", type=Path, default=SHARED / "data/market/candles")
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--out", type=Path, default=Path("docs/results.md"))
    asked = parser.parse_args()
    if not asked.data.is_dir():
        print(f"{asked.data}: there are no recorded candles; name their folder with --data", file=sys.stderr)
        return 65
    wanted = cases(asked.form)
    code = 0
    try:
        if not asked.page_only:
            _run_missing([case for case in wanted if asked.only in case.name], asked.data, asked.work)
    except KeyboardInterrupt:
        print("interrupted: what is finished is kept, the next run goes on", file=sys.stderr)
        code = 130
    found = [(case, newest(case, asked.data, asked.work)) for case in wanted]
    write_page(asked.out, asked.form, found)
    print(f"{asked.out}: {sum(outcome is not None for _, outcome in found)} of {len(found)} cases")
    return code


def _run_missing(wanted: list[Case], data: Path, work: Path) -> None:
    started, left = time.monotonic(), [case for case in wanted if not _is_kept(case, data, work)]
    print(f"{len(wanted)} cases, {len(wanted) - len(left)} kept from before", flush=True)
    for number, case in enumerate(left, 1):
        taken = time.monotonic() - started
        eta = f", about {taken / (number - 1) * (len(left) - number + 1) / 60:.0f} min left" if number > 1 else ""
        print(f"{number}/{len(left)} {case.name}{eta}", flush=True)
        outcome = _run(case, data, work)
        print(f"  {outcome.status} {outcome.reason}", flush=True)


def _is_kept(case: Case, data: Path, work: Path) -> bool:
    """A failure or an absence is tried again."""
    outcome = load(kept_at(case, data, work))
    return outcome is not None and outcome.status == "done"


def _run(case: Case, data: Path, work: Path) -> Outcome:
    out = kept_at(case, data, work)
    out.unlink(missing_ok=True)
    caps = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder) / "case.json"
        asked.write_bytes(msgspec.json.encode(case))
        command = [sys.executable, "-m", "benchmarks.results.run_case", str(asked), str(out), "--data", str(data)]
        try:
            done = subprocess.run(
                ["nice", *command, "--work", str(work)], env={**os.environ, **caps, "OMP_WAIT_POLICY": "passive"},
                stderr=subprocess.PIPE, text=True, timeout=case.limit_s, check=False,
            )  # fmt: skip
            problem = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        except subprocess.TimeoutExpired:
            problem = f"given up after {case.limit_s / 60:.0f} minutes"
    outcome = load(out)
    if outcome is None:
        outcome = Outcome(case=case, status="failed", reason=problem[:300])
        keep(out, outcome)
    return outcome


if __name__ == "__main__":
    sys.exit(main())
