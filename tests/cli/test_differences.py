"""Reading what reconciliation found, from a real ledger."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Tradebot
from tests.journal.records import booted
from tradebot.events import Difference
from tradebot.ledger import Ledger, Projector

START = 1_762_351_200_000
"""2025-11-05 14:00:00 UTC"""


def found(home: Path, *differences: Difference) -> None:
    (home / "state").mkdir(exist_ok=True)
    ledger = Ledger(f"sqlite:///{home / 'state' / 'ledger.sqlite'}")
    ledger.upgrade()
    projector = Projector(ledger)
    for seq, difference in enumerate(differences, 1):
        projector.apply(1, seq, START + seq * 1_000, difference)
    projector.commit()
    ledger.close()


def test_differences_are_listed_oldest_first_with_what_was_done(tradebot: Tradebot, home: Path) -> None:
    found(
        home,
        Difference(kind="leverage", symbol="SOLUSDT", ours="2", theirs="20", done="set back"),
        Difference(kind="balance", symbol="", ours="1000", theirs="990.5", done="taken over"),
    )
    shown = tradebot("differences")
    assert shown.code == 0
    first, second = shown.out.splitlines()[1:]
    assert first.split() == ["2025-11-05", "14:00:01", "leverage", "SOLUSDT", "2", "20", "set", "back"]
    assert "990.5" in second
    (row,) = map(json.loads, tradebot("differences", "--json", "--symbol", "SOLUSDT").out.splitlines())
    assert (row["kind"], row["ours"], row["theirs"], row["ts_ms"]) == ("leverage", "2", "20", START + 1_000)
    assert tradebot("differences", "-n", "1", "--json").out.count("\n") == 1


def test_nothing_found_and_nothing_there_are_one_line(tradebot: Tradebot, home: Path) -> None:
    missing = tradebot("differences")
    assert (missing.code, missing.err) == (
        65, "tradebot: state: there is no ledger yet; 'tradebot run' writes it\n"
    )  # fmt: skip
    found(home, Difference(kind="balance", symbol="", ours="1", theirs="2", done="taken over"))
    unknown = tradebot("differences", "--symbol", "NOPEUSDT")
    assert (unknown.code, unknown.out) == (65, "")
    assert unknown.err == "tradebot: nothing stored matches --symbol NOPEUSDT; symbols there are: none\n"
    assert tradebot("differences", "-n", "99999999999999999999").code == 2


def test_a_symbol_that_was_traded_without_a_difference_is_known(tradebot: Tradebot, home: Path) -> None:
    found(home)
    ledger = Ledger(f"sqlite:///{home / 'state' / 'ledger.sqlite'}")
    projector = Projector(ledger)
    projector.apply(1, 1, START, booted())
    projector.commit()
    ledger.close()
    empty = tradebot("differences", "--symbol", "BTCUSDT")
    assert (empty.code, empty.out, empty.err) == (0, "", "no difference was found\n")
