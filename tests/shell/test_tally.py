"""Counting what happened: an execution that is reported again, and what is remembered for that."""

from __future__ import annotations

from tests.trading.test_trades import filled
from tradebot.shell.tally import Tally
from tradebot.trading.state import KEEP_TRADE_IDS


def test_an_execution_that_is_reported_again_counts_once_and_what_is_remembered_is_bounded() -> None:
    tally = Tally()
    fills = [filled(number, "buy", "1", "100") for number in range(KEEP_TRADE_IDS + 500)]
    for record in [*fills, fills[-1]]:
        tally(0, 0, record)
    assert tally.fills == len(fills)
    assert len(tally._trades) == KEEP_TRADE_IDS
