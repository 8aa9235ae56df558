"""What the commands say of features."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Tradebot
from tradebot.features.views import VIEWS


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_listed_in_the_order_of_its_rows(tradebot: Tradebot, view: str) -> None:
    told = tradebot("features", "list", "--view", view, "--json")
    assert told.code == 0
    entries = [json.loads(text) for text in told.out.splitlines()]
    assert tuple(entry["name"] for entry in entries) == VIEWS[view].names
    assert [entry["number"] for entry in entries] == list(range(1, len(entries) + 1))
    assert all(view in entry["views"] and entry["formula"] and entry["meaning"] for entry in entries)


def test_without_a_view_every_feature_is_listed_once(tradebot: Tradebot) -> None:
    told = tradebot("features", "list")
    lines = told.out.splitlines()
    names = [text.split()[1] for text in lines[1:-1]]
    assert set(names) == {name for view in VIEWS.values() for name in view.names}
    assert len(names) == len(set(names))
    assert lines[-1].startswith(f"{len(names)} features in {len(VIEWS)} views")


def test_a_feature_is_explained_with_an_example(tradebot: Tradebot) -> None:
    told = tradebot("features", "explain", "funding")
    assert told.code == 0
    for said in ("What longs paid shorts last.", "rate of the last settlement", "0.0001 (5m)", "needs    funding"):
        assert said in told.out
    entry = json.loads(tradebot("features", "explain", "rsi_9", "--json").out)
    assert entry["views"] == ["bars-5m", "bars-15m", "bars-1h"]
    assert set(entry["example"]) == {"5m", "15m", "1h"}
    assert all(0 < value < 1 for value in entry["example"].values())


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (("explain", "rsi14"), "did you mean rsi_14"),
        (("explain", "qqqqq"), "'tradebot features list' names them"),
        (("list", "--view", "candles-3m"), "known: candles-5m, bars-5m"),
    ],
)
def test_what_is_not_there_is_one_line_and_a_usage_error(tradebot: Tradebot, argv: tuple[str, ...], hint: str) -> None:
    told = tradebot("features", *argv)
    assert (told.code, told.out) == (2, "")
    assert hint in told.err
    assert len(told.err.splitlines()) == 1
