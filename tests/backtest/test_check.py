"""Look-ahead and recursion, through the real engine and as arithmetic."""

from __future__ import annotations

import doctest
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.backtest.market import BEGIN_MS, asked, random_walk
from tradebot.backtest import check, single
from tradebot.backtest.check import Checked, _compared, check_strategy
from tradebot.backtest.single import Spec
from tradebot.errors import DataError
from tradebot.market.candle import HOUR_MS
from tradebot.sim.source import MarketSource, MarketStep


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_walk(tmp_path_factory.mktemp("market"), days=11, reverting=0.4)


def test_examples_in_docstrings_hold() -> None:
    result = doctest.testmod(check)
    assert result.attempted
    assert not result.failed


def checked(spec: Spec, folder: Path, **options: Any) -> Checked:
    found = check_strategy(spec, folder, lambda run: None, None, **{"cuts": 1, "starts": 1, **options})
    assert found is not None
    return found


def test_a_strategy_that_looks_at_its_candles_only_is_sound(market: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    found = checked(
        asked(market, for_ms=4 * HOUR_MS, fade=True), tmp_path, cuts=2, on_run=lambda *counts: told.append(counts)
    )
    assert found.sound
    assert found.acted > 4
    assert [cut.parting for cut in found.look_ahead] == [None, None]
    assert [cut.decisions for cut in found.look_ahead] == [15, 31]
    assert found.recursion[0].settled_ms is not None
    assert found.recursion[0].later_ms == 11 * 300_000
    assert told == [(n, 4) for n in (1, 2, 3, 4)]


def test_a_strategy_that_counts_from_its_start_is_told_not_to_settle(market: Path, tmp_path: Path) -> None:
    found = checked(asked(market, strategy="counter", for_ms=7 * HOUR_MS), tmp_path, starts=2)
    assert not found.sound
    later = found.recursion[0]
    assert later.settled_ms is None
    assert later.different > 10
    assert later.parting is not None
    assert later.parting.field == "action"
    assert all(cut.parting is None for cut in found.look_ahead)


class Leaking:
    """A market whose funding rate tells where it ends."""

    def __init__(self, source: MarketSource) -> None:
        self._source = source

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def step(self) -> MarketStep:
        step = self._source.step()
        rate = Decimal("0.0005") if self._source.end_ms == BEGIN_MS + 11 * 24 * HOUR_MS else Decimal(0)
        return MarketStep(**{**{n: getattr(step, n) for n in MarketStep.__slots__}, "funding_rate": rate})


def test_what_knows_the_end_of_the_market_is_told_to_look_ahead(
    market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = single.open_sources
    monkeypatch.setattr(single, "open_sources", lambda spec: [Leaking(source) for source in opened(spec)])
    found = checked(asked(market, strategy="funded", for_ms=2 * HOUR_MS), tmp_path)
    assert not found.sound
    parting = found.look_ahead[0].parting
    assert parting is not None
    assert (parting.field, parting.whole, parting.cut) == ("action", "enter_long", "hold")


def test_models_that_had_seen_the_future_make_it_unsound(market: Path, tmp_path: Path) -> None:
    found = checked(asked(market, for_ms=HOUR_MS), tmp_path, knows=lambda run: ("SOLUSDT v0001 knows",))
    assert found.foresight == ("SOLUSDT v0001 knows",)
    assert not found.sound


def test_decisions_that_are_missing_or_added_before_a_cut_are_counted() -> None:
    rows = [(t, "A", "hold", "", 0.0, 0.5, 0.5, "v") for t in range(5)]
    assert _compared(4, rows, rows[:4]).parting is None
    missing = _compared(4, rows, rows[:2]).parting
    assert missing is not None
    assert (missing.at_ms, missing.field, missing.whole, missing.cut) == (2, "number of decisions", "4", "2")
    other = _compared(4, rows, [*rows[:3], (*rows[3][:3], "why", *rows[3][4:])]).parting
    assert other is not None
    assert (other.at_ms, other.field, other.cut) == (3, "reason", "why")


def test_a_stopped_check_and_one_without_a_decision_say_so(market: Path, tmp_path: Path) -> None:
    spec = asked(market, for_ms=HOUR_MS)
    assert check_strategy(spec, tmp_path / "a", lambda run: None, None, stop=lambda: True) is None
    assert msgspec.structs.fields(Checked)
    with pytest.raises(DataError):
        check_strategy(asked(market, for_ms=60_000 * 5), tmp_path / "b", lambda run: None, None)
