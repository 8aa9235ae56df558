"""Every family against every leak test."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.training.leaks import CASES, CHECKS, Case


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_nothing_leaks(check: Callable[[Case], None], case: Case) -> None:
    check(case)
