"""What is shown of the bot is written as people write numbers."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from tradebot.daemon.portrait import _plain, _symbol
from tradebot.events import PositionState
from tradebot.trading.portfolio import Portfolio


def shown(qty: str, entry: str, mark: float, bid: float, ask: float) -> dict[str, Any]:
    """A symbol's part of the snapshot with a real portfolio that holds ``qty``."""
    held = PositionState(symbol="SOLUSDT", qty=Decimal(qty), entry_price=Decimal(entry))
    state = SimpleNamespace(portfolio=Portfolio((held,)), stops={})
    row = ((bid, bid - 0.1), (1.0, 0.1), (ask, ask + 0.1), (0.3, 0.2))
    daemon = SimpleNamespace(
        engine=SimpleNamespace(state=state),
        feed=SimpleNamespace(row=lambda name: row),
        clock=SimpleNamespace(now_ms=lambda: 1_000),
        first_prices={},
    )
    symbol = SimpleNamespace(
        name="SOLUSDT", mark_price=lambda: mark, feed_ok=True, feed_reason="", top=SimpleNamespace(bid=bid, ask=ask),
        top_ms=900, model=None,
    )  # fmt: skip
    return cast(dict[str, Any], _symbol(cast(Any, daemon), cast(Any, symbol)))


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


@given(st.floats(allow_nan=False, allow_infinity=False) | st.decimals(-(10**12), 10**12, places=8))
def test_a_shown_number_is_the_number(number: float | Decimal) -> None:
    plain = _plain(number)
    assert abs(plain - float(number)) <= 0.5e-10 + 1e-15 * abs(float(number))
    assert plain != 0 or math.copysign(1, plain) == 1
