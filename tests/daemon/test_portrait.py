"""What is shown of the bot is written as people write numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tradebot.daemon.portrait import _plain, _symbol
from tradebot.events import (
    Alert,
    BookTop,
    Difference,
    ModelRef,
    ModelSwapped,
    PositionsReported,
    PositionState,
    StopState,
    TickerUpdated,
)
from tradebot.shell.result import stopped
from tradebot.shell.tally import Tally
from tradebot.trading.portfolio import Portfolio
from tradebot.trading.state import TradingState
from tradebot.trading.symbol import SymbolState


def shown(
    qty: str, entry: str, mark: float, bid: float, ask: float, *, stop: StopState | None = None,
    theirs: Decimal | None = None, models: Iterable[ModelRef] = (),
) -> dict[str, Any]:  # fmt: skip
    """A symbol's part of the snapshot with a real portfolio that holds ``qty``."""
    held = PositionState(symbol="SOLUSDT", qty=Decimal(qty), entry_price=Decimal(entry))
    state = SimpleNamespace(portfolio=Portfolio((held,)), stops={"SOLUSDT": stop} if stop else {})
    row = ((bid, bid - 0.1), (1.0, 0.1), (ask, ask + 0.1), (0.3, 0.2))
    daemon = SimpleNamespace(
        engine=SimpleNamespace(
            state=state, discrepancies=SimpleNamespace(theirs=lambda name: theirs), is_dust=lambda name: False
        ),
        feed=SimpleNamespace(row=lambda name: row),
        clock=SimpleNamespace(now_ms=lambda: 1_000),
        first_prices={},
        tally=Tally(),
    )
    symbol = SymbolState("SOLUSDT", "5m")
    symbol.feed_ok = True
    symbol.on_top(BookTop(symbol="SOLUSDT", ts_exchange_ms=0, bid=bid, bid_size=1.0, ask=ask, ask_size=0.3), 900)
    symbol.on_ticker(TickerUpdated(symbol="SOLUSDT", ts_exchange_ms=0, last=mark, mark=mark, index=mark), 0)
    for ref in models:
        symbol.on_model(ref)
        daemon.tally(0, 700, ModelSwapped(ref=ref))
    return cast(dict[str, Any], _symbol(cast(Any, daemon), symbol))


def test_numbers_have_no_tail_of_binary_arithmetic() -> None:
    shot = shown("0.3", "100.1", 0.1 + 0.2, 100.1, 100.2)
    assert (shot["mark"], shot["price"], shot["position_qty"]) == (0.3, 100.15, 0.3)
    assert shot["unrealised"] == float(Decimal("0.3") * (Decimal("0.3") - Decimal("100.1")))
    assert shot["imbalance"] == 0.375
    assert "0000000" not in json.dumps(shot)


def test_a_flat_position_is_zero_however_it_was_left() -> None:
    for left in ("0", "-0", "0.000", "-0E-8", "0E+3"):
        shot = shown(left, "0", 100.0, 99.9, 100.1)
        assert json.dumps(shot["position_qty"]) == "0.0", left
        assert "unrealised" not in shot


def test_every_model_of_several_is_shown_and_one_that_is_provisional_makes_them_so() -> None:
    one, other = (
        ModelRef(
            symbol="SOLUSDT", name=name, version="v0003", sha256="", schema_hash="", horizon_ms=1, provisional=weak
        )
        for name, weak in (("lightgbm", False), ("logistic", True))
    )
    numbers = ("0", "0", 100.0, 99.9, 100.1)
    assert "model" not in shown(*numbers)
    alone = shown(*numbers, models=(one,))
    assert (alone["model"], alone["model_version"], alone["provisional"]) == ("lightgbm", "v0003", False)
    assert alone["models"] == [{"model": "lightgbm", "version": "v0003", "since_ms": 700}]
    both = shown(*numbers, models=(one, other))
    assert [(each["model"], each["version"]) for each in both["models"]] == [
        ("lightgbm", "v0003"), ("logistic", "v0003")
    ]  # fmt: skip
    assert both["provisional"]


def test_a_stop_is_shown_once_the_exchange_was_seen_to_have_it() -> None:
    placed = StopState(symbol="SOLUSDT", client_oid="tb0-1-2-s", trigger_price=Decimal("98.01"))
    numbers = ("1", "100", 100.0, 99.9, 100.1)
    assert "stop_price" not in shown(*numbers, stop=placed)
    assert shown(*numbers, stop=msgspec.structs.replace(placed, confirmed=True))["stop_price"] == 98.01


def test_what_the_exchange_says_of_a_position_stands_beside_ours_only_where_they_differ() -> None:
    numbers = ("3.9", "100", 100.0, 99.9, 100.1)
    assert "exchange_qty" not in shown(*numbers)
    assert shown(*numbers, theirs=Decimal(0))["exchange_qty"] == 0.0


def test_entries_that_have_stopped_are_told_with_since_when_and_what_settles_it() -> None:
    state = TradingState()
    state.apply(1_000, Difference(kind="position", symbol="SOLUSDT", ours="3.9", theirs="0", done="entries stop"))
    state.apply(1_000, Alert(severity="critical", code="foreign", message="position is 0", symbol="SOLUSDT"))
    state.apply(9_000, Difference(kind="position", symbol="SOLUSDT", ours="3.9", theirs="1", done="entries stop"))
    told = {"symbol": "SOLUSDT", "why": "position is 0", "since_ms": 1_000}
    assert stopped(state, ("SOLUSDT",)) == [{**told, "command": "tradebot adopt SOLUSDT"}]


def test_a_position_in_a_symbol_that_is_not_traded_can_only_be_ignored() -> None:
    state = TradingState()
    state.apply(1_000, Alert(severity="critical", code="foreign", message="position is 1", symbol="BTCUSDT"))
    theirs = PositionState(symbol="BTCUSDT", qty=Decimal(1), entry_price=Decimal(90_000))
    state.apply(1_000, PositionsReported(positions=(theirs,)))
    assert stopped(state, ("SOLUSDT",))[0]["command"] == "tradebot ignore BTCUSDT"
    state.apply(2_000, PositionsReported(positions=()))
    assert stopped(state, ("SOLUSDT",))[0]["command"] == "tradebot adopt BTCUSDT"


@given(st.floats(allow_nan=False, allow_infinity=False) | st.decimals(-(10**12), 10**12, places=8))
def test_a_shown_number_is_the_number(number: float | Decimal) -> None:
    plain = _plain(number)
    assert abs(plain - float(number)) <= 0.5e-10 + 1e-15 * abs(float(number))
    assert plain != 0 or math.copysign(1, plain) == 1
