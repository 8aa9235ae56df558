"""Positions and profit from executions, to the last digit."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from tradebot.events import Filled
from tradebot.trading.portfolio import Portfolio


def fill(side: str, qty: str, price: str, fee: str = "0") -> Filled:
    return Filled(
        trade_id="t", order_id="1", client_oid="c", symbol="SOLUSDT", side=side, price=Decimal(price),  # type: ignore[arg-type]
        qty=Decimal(qty), fee=Decimal(fee), realised=Decimal(0), maker=False, ts_exchange_ms=0,
    )  # fmt: skip


def test_average_price_profit_and_fees_by_hand() -> None:
    book = Portfolio()
    assert book.apply(fill("buy", "1", "100", "-0.06"), 5) == 0
    assert book.apply(fill("buy", "3", "104", "-0.1872"), 6) == 0
    position = book.position("SOLUSDT")
    assert (position.qty, position.entry_price, position.opened_ms) == (Decimal(4), Decimal(103), 5)
    assert position.unrealised(Decimal(105)) == Decimal(8)
    assert book.apply(fill("sell", "1", "106", "-0.0636"), 7) == Decimal(3)
    assert book.apply(fill("sell", "3", "101", "-0.1818"), 8) == Decimal(-6)
    assert position.qty == 0
    assert book.realised == Decimal(-3)
    assert book.fees == Decimal("-0.4926")


def test_a_fill_through_zero_closes_the_long_and_opens_a_short_at_its_price() -> None:
    book = Portfolio()
    book.apply(fill("buy", "1", "100"), 1)
    assert book.apply(fill("sell", "3", "110"), 9) == Decimal(10)
    position = book.position("SOLUSDT")
    assert (position.qty, position.entry_price, position.opened_ms) == (Decimal(-2), Decimal(110), 9)
    assert position.unrealised(Decimal(100)) == Decimal(20)


trades = st.lists(
    st.tuples(st.sampled_from(["buy", "sell"]), st.integers(1, 50), st.integers(9_000, 11_000)), max_size=40
)


@given(trades)
def test_money_is_conserved_and_position_is_the_sum_of_fills(rows: list[tuple[str, int, int]]) -> None:
    book = Portfolio()
    cash, qty = Decimal(0), Decimal(0)
    for side, lots, ticks in rows:
        # contracts have up to ten decimals in their prices and four in their sizes
        execution = fill(side, f"{lots}e-4", f"{ticks}e-10")
        book.apply(execution, 1)
        signed = execution.qty if side == "buy" else -execution.qty
        cash -= signed * execution.price
        qty += signed
    position = book.position("SOLUSDT")
    assert position.qty == qty
    mark = Decimal("101.37")
    # cash flow plus the worth of what is held = realised + unrealised, to the last digit
    assert cash + qty * mark == book.realised + position.unrealised(mark)
    if not qty:
        assert book.realised == cash


def test_a_snapshot_restores_the_same_positions_to_the_last_digit() -> None:
    book = Portfolio()
    book.apply(fill("sell", "0.1", "100.1"), 3)
    book.apply(fill("sell", "0.2", "100.2"), 4)
    position = book.position("SOLUSDT")
    assert position.qty * position.entry_price != position.cost  # an average price that has no end
    again = Portfolio(book.snapshot())
    assert again.position("SOLUSDT") == position
    assert again.apply(fill("buy", "0.3", "100"), 5) == Decimal("0.05")
