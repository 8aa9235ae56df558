"""Reading some types of records only."""

from __future__ import annotations

from pathlib import Path

from tradebot.events import Alert, BookTop, CancelOrder, OperatorActed
from tradebot.journal import open_state
from tradebot.journal.pick import pick


def test_only_the_types_asked_for_are_returned_in_order(tmp_path: Path) -> None:
    with open_state(tmp_path) as opened:
        journal = opened.journal
        for n in range(50):
            journal.append(
                "input", n, BookTop(symbol="S", ts_exchange_ms=n, bid=1.0, bid_size=1.0, ask=2.0, ask_size=1.0)
            )
            if n % 10 == 0:
                journal.append("input", n, OperatorActed(action="pause", actor=f"a{n}"))
                journal.append("output", n, Alert(severity="info", code="x", message="type" * 9))
                journal.append("output", n, CancelOrder(client_oid="c", symbol="S"))
        journal.sync()
        picked = list(pick(opened.reader, opened.epoch, (OperatorActed, Alert)))
    assert [(ts, type(r)) for ts, r in picked] == [(n, t) for n in range(0, 50, 10) for t in (OperatorActed, Alert)]
