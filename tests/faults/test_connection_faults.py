"""Connections that are cut, refused or half open: afterwards the accounts are equal, and the bot trades on."""

from __future__ import annotations

import pytest

from tests.faults.cases import Case
from tests.faults.selection import check, named, selected


@pytest.mark.parametrize("case", selected("connection"), ids=named)
def test_accounts_are_equal_and_trading_goes_on(case: Case, tmp_path_factory: pytest.TempPathFactory) -> None:
    check(case, tmp_path_factory.getbasetemp())
