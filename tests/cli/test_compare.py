"""``tradebot compare`` and the table of figures."""

from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console

from tests.backtest.report.planted import plant
from tests.cli.conftest import Tradebot
from tradebot.backtest.report import write_report
from tradebot.cli.headline import render_headline


def test_two_runs_are_told_apart_in_words_and_as_json(tradebot: Tradebot, home: Path) -> None:
    plant(home / "a", days=30, skill=0.4, params={"entry": 5})
    plant(home / "b", days=20, skill=0.0, params={"entry": 6})
    done = tradebot("compare", "a", "b")
    assert done.code == 0
    assert "windows differ" in done.err
    assert "no promise" in done.err
    assert "strategy_params.entry" in done.out
    assert "a less b, 20 days" in done.out
    as_json = tradebot("compare", "a", "b", "--json")
    found = json.loads(as_json.out)
    assert (as_json.out.count("\n"), found["days"]) == (1, 20)
    assert found["difference"]["p_positive"] > 0.9


def test_runs_given_the_same_are_said_to_be(tradebot: Tradebot, home: Path) -> None:
    plant(home / "a", days=3)
    done = tradebot("compare", "a", "a")
    assert "both were given the same" in done.out
    assert "to the byte" in done.out
    assert "too little to conclude" in done.out


def test_what_is_no_run_is_one_line(tradebot: Tradebot, home: Path) -> None:
    done = tradebot("compare", ".", ".")
    assert done.code == 65
    assert done.err.count("\n") == 1
    assert "not the directory of a back-test" in done.err


def test_the_table_of_figures_says_value_interval_baselines_and_what_is_too_little(home: Path) -> None:
    text = io.StringIO()
    report = write_report(plant(home / "few", days=4, every=150), draws=50)
    Console(file=text, width=140).print(render_headline(report, home / "few" / "report.html"))
    said = text.getvalue()
    for words in (
        "Sharpe",
        "Win rate",
        "buy and hold",
        "random entries",
        "too little",
        "no promise",
        "report.html",
        "†",
    ):
        assert words in said, words
