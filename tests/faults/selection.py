"""The short form of the matrix: every kind once, its scopes taken in turn, so that all scopes are met."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.cases import CASES, Case
from tests.faults.runs import run_case
from tradebot.sim.faults import KINDS
from tradebot.sim.faults.kinds import Mechanism

SEED = 2


def selected(mechanism: Mechanism) -> list[Case]:
    """One case of each kind that works that way."""
    chosen = []
    for turn, kind in enumerate(KINDS):
        if KINDS[kind].mechanism == mechanism:
            cases = [case for case in CASES if case.kind == kind]
            chosen.append(cases[turn % len(cases)])
    return chosen


def named(case: Case) -> str:
    return f"{case.kind}-{case.scope}{f'-{case.label}' if case.label else ''}".replace(" ", "-")


def check(case: Case, folder: Path) -> None:
    """Fail with everything that is not as it should be."""
    problems = run_case(case, SEED, folder).problems
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)
