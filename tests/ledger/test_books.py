"""What the books of a span say: every sum is the account's, to the last digit, and everything has an owner or none."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.journal.records import booted, decision
from tests.ledger.test_ledger import copy_of, empty_file  # noqa: F401
from tests.trading.test_trades import bill, filled
from tradebot.errors import DataError
from tradebot.events import (
    AccountUpdated,
    Filled,
    FundingPaid,
    PlaceOrder,
    TradeBooked,
    Transferred,
)
from tradebot.journal import JournalRecord
from tradebot.ledger import Ledger, Projector, Statement, known_span, statement
from tradebot.market.candle import DAY_MS
from tradebot.market.instrument import ZERO
from tradebot.trading.portfolio import Portfolio
from tradebot.trading.state import TradingState

D = Decimal
DAY0 = 1_767_571_200_000
"""2026-01-05 00:00 UTC."""
HOUR = 3_600_000


class Bot:
    """The state that the engine keeps, with its records in a ledger, and an exchange of one line: the balance."""

    def __init__(self, ledger: Ledger, *, epoch: int = 1, mode: str = "demo") -> None:
        self.projector = Projector(ledger)
        self.state = TradingState()
        self.epoch, self.seq, self.now_ms = epoch, 0, DAY0
        self.exchange = Portfolio()
        self.balance, self.unrealised = D(10_000), ZERO
        config = msgspec.structs.replace(booted().config, mode=mode)
        self.write(msgspec.structs.replace(booted(epoch), config=config))
        self.account()

    def write(self, record: JournalRecord) -> None:
        self.seq += 1
        self.state.apply(self.now_ms, record)
        self.projector.apply(self.epoch, self.seq, self.now_ms, record)
        while not isinstance(record, TradeBooked) and self.state.trades.untold:
            self.write(self.state.trades.untold[0])

    def account(self) -> None:
        equity = self.balance + self.unrealised
        self.write(AccountUpdated(equity=equity, available=equity, balance=self.balance))

    def enter(self, strategy: str, version: str, side: str = "buy", symbol: str = "SOLUSDT") -> PlaceOrder:
        """An entry and its decision."""
        oid = f"tb0-{self.epoch}-{self.seq}-e"
        order = PlaceOrder(
            client_oid=oid, symbol=symbol, side=side, order_type="market", qty=D(1_000), purpose="entry",  # type: ignore[arg-type]
            decision_id=f"{self.epoch}-{self.seq}",
        )  # fmt: skip
        self.write(order)
        decided = msgspec.structs.replace(
            decision(order.decision_id, self.now_ms, oid=oid), symbol=symbol, strategy=strategy, version=version
        )
        self.write(decided)
        return order

    def fill(self, order: PlaceOrder | None, execution: Filled) -> None:
        """The exchange executes ``order``, or one of somebody else (None) in a symbol of their own."""
        told = msgspec.structs.replace(
            execution, ts_exchange_ms=self.now_ms, client_oid=order.client_oid if order is not None else "web-1",
            order_id=order.client_oid if order is not None else "web",
            realised=self.exchange.apply(execution, self.now_ms),
        )  # fmt: skip
        self.write(told)
        self.balance += told.realised + told.fee
        self.account()

    def pay(self, settled: FundingPaid) -> None:
        self.write(settled)
        self.balance += settled.amount
        self.account()

    def commit(self) -> None:
        self.projector.commit()


@pytest.fixture
def ledger(empty_file: Path) -> Iterator[Ledger]:  # noqa: F811
    made = copy_of(empty_file)
    yield made
    made.close()


def test_a_week_by_hand(ledger: Ledger) -> None:
    bot = Bot(ledger)
    bot.now_ms = DAY0 + HOUR
    first = bot.enter("threshold", "v0001")
    bot.fill(first, filled(1, "buy", "2", "100", "-0.12"))
    bot.unrealised = D("3")
    bot.account()
    bot.now_ms = DAY0 + 8 * HOUR
    bot.pay(bill("b1", bot.now_ms, "-0.02"))
    bot.now_ms = DAY0 + DAY_MS + HOUR  # next day: it ends, and one of another strategy and model begins
    bot.unrealised = ZERO
    bot.fill(first, filled(2, "sell", "2", "102", "-0.1224"))
    second = bot.enter("ensemble", "v0002", "sell")
    bot.fill(second, filled(3, "sell", "1", "102", "-0.0612"))
    bot.write(Transferred(bill_id="t1", amount=D(500), ts_exchange_ms=bot.now_ms))
    bot.balance += 500
    bot.fill(None, filled(4, "buy", "1", "7", "-0.0042", "XRPUSDT"))  # somebody trades by hand
    bot.now_ms = DAY0 + 3 * DAY_MS + HOUR
    bot.write(decision("quiet", bot.now_ms))
    bot.commit()

    books = statement(ledger, DAY0, DAY0 + 31 * DAY_MS)
    assert (books.mode, books.left_out) == ("demo", ())
    one, two, three, four = books.days
    assert [day.until_ms for day in books.days] == [DAY0 + n * DAY_MS for n in (1, 2, 3, 4)]
    assert (one.equity_start, one.equity_end, one.balance_end) == (D(10_000), D("10002.86"), D("9999.86"))
    assert (one.realised, one.fees, one.funding, one.transfers) == (ZERO, D("-0.12"), D("-0.02"), ZERO)
    assert (one.unrealised_change, one.net, one.other, one.fills) == (D(3), D("2.86"), ZERO, 1)
    assert (two.realised, two.fees, two.funding, two.transfers) == (D(4), D("-0.1878"), ZERO, D(500))
    assert (two.unrealised_change, two.net, two.other, two.fills) == (D(-3), D("0.8122"), ZERO, 3)
    for quiet in (three, four):
        assert (quiet.net, quiet.other, quiet.fills) == (ZERO, ZERO, 0)
        assert quiet.equity_start == quiet.equity_end == D("10503.6722")
    assert books.total.net == D("3.6722")

    ended, still_open = books.trades
    assert (ended.strategy, ended.version, ended.net, ended.end) == ("threshold", "v0001", D("3.7376"), "reversal")
    assert (still_open.closed_ms, still_open.side, still_open.net) == (0, "short", D("-0.0612"))
    shares = {share.name: share for share in books.strategies}
    assert list(shares) == ["ensemble", "threshold", ""]
    assert (shares["threshold"].trades, shares["threshold"].won, shares["threshold"].net) == (1, 1, D("3.7376"))
    assert (shares["ensemble"].trades, shares["ensemble"].net) == (0, D("-0.0612"))
    assert (shares[""].trades, shares[""].fees, shares[""].net) == (0, D("-0.0042"), D("-0.0042"))
    assert [(share.name, share.symbol, share.version) for share in books.models] == [
        ("lightgbm-5m", "SOLUSDT", "v0001"), ("lightgbm-5m", "SOLUSDT", "v0002"), ("", "", ""),
    ]  # fmt: skip
    assert [(fee.symbol, fee.role, fee.fills, fee.notional) for fee in books.fees] == [
        ("SOLUSDT", "taker", 3, D(506)), ("XRPUSDT", "taker", 1, D(7)),
    ]  # fmt: skip
    (paid,) = books.funding
    assert (paid.amount, paid.trade_id) == (D("-0.02"), ended.trade_id)

    # of the second day alone
    books = statement(ledger, DAY0 + DAY_MS, DAY0 + 2 * DAY_MS)
    assert books.days == [two]
    assert {share.name: share.fees for share in books.strategies} == {
        "threshold": D("-0.1224"), "ensemble": D("-0.0612"), "": D("-0.0042"),
    }  # fmt: skip
    assert books.funding == []


def test_a_time_without_data_and_an_empty_ledger_are_told(ledger: Ledger) -> None:
    assert known_span(ledger) is None
    bot = Bot(ledger)
    bot.commit()
    assert known_span(ledger) == (DAY0, DAY0)
    for span in ((DAY0 - DAY_MS, DAY0), (DAY0 + DAY_MS, DAY0 + 2 * DAY_MS)):
        with pytest.raises(DataError, match="no data of that time"):
            statement(ledger, *span)


def test_runs_of_another_mode_are_left_out_and_named(ledger: Ledger) -> None:
    paper = Bot(ledger, mode="paper")
    paper.fill(paper.enter("threshold", "v0001"), filled(1, "buy", "2", "100", "-0.12"))
    paper.commit()
    live = Bot(ledger, epoch=2, mode="live")
    live.fill(live.enter("threshold", "v0001"), filled(2, "buy", "1", "100", "-0.06"))
    live.commit()
    newest = statement(ledger, DAY0, DAY0 + DAY_MS)
    assert (newest.mode, newest.left_out, newest.total.fees) == ("live", ("paper",), D("-0.06"))
    assert [share.fees for share in newest.strategies] == [D("-0.06")]
    asked = statement(ledger, DAY0, DAY0 + DAY_MS, "paper")
    assert (asked.mode, asked.left_out, asked.total.fees) == ("paper", ("live",), D("-0.12"))
    with pytest.raises(DataError, match="nothing ran in mode demo"):
        statement(ledger, DAY0, DAY0 + DAY_MS, "demo")


def test_the_books_begin_with_the_first_balance_that_is_known(ledger: Ledger) -> None:
    bot = Bot(ledger)
    old = msgspec.structs.replace(filled(1, "buy", "2", "100", "-0.12"), order_id="web", client_oid="web-1")
    bot.write(msgspec.structs.replace(old, ts_exchange_ms=DAY0 - HOUR))  # told of after the start; the balance has it
    bot.commit()
    total = statement(ledger, DAY0 - DAY_MS, DAY0 + DAY_MS).total
    assert (total.from_ms, total.fills, total.fees, total.other) == (DAY0, 0, ZERO, ZERO)


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("trade"), st.sampled_from(["threshold", "carry"]), st.sampled_from(["buy", "sell"]),
            st.integers(1, 30), st.integers(7_000, 13_000), st.integers(-9_999, 999),
        ),
        st.tuples(st.just("foreign"), st.sampled_from(["buy", "sell"]), st.integers(1, 9), st.integers(50, 99)),
        st.tuples(st.just("funding"), st.integers(-9_999, 9_999)),
        st.tuples(st.just("transfer"), st.integers(-500, 500)),
        st.tuples(st.just("mark"), st.integers(-5_000, 5_000)),
        st.tuples(st.just("wait"), st.integers(1, 30)),
    ),
    min_size=1,
    max_size=25,
)  # fmt: skip


def written(ledger: Ledger, steps: list[Any]) -> Bot:
    bot = Bot(ledger)
    for n, (kind, *what) in enumerate(steps):
        bot.now_ms += 90_000
        if kind == "trade":
            strategy, side, lots, ticks, fee = what
            order = bot.enter(strategy, f"v{lots % 3}", side)
            bot.fill(order, filled(n, side, f"{lots}e-1", f"{ticks}e-3", f"{fee}e-7"))
        elif kind == "foreign":
            bot.fill(None, filled(n, what[0], str(what[1]), str(what[2]), "-0.01", "XRPUSDT"))
        elif kind == "funding":
            bot.pay(bill(str(n), bot.now_ms, f"{what[0]}e-6"))
        elif kind == "transfer":
            bot.write(Transferred(bill_id=f"t{n}", amount=D(what[0]), ts_exchange_ms=bot.now_ms))
            bot.balance += what[0]
            bot.account()
        elif kind == "mark":
            bot.unrealised = D(what[0]) / 1000
            bot.account()
        else:
            bot.now_ms += what[0] * HOUR
    bot.commit()
    return bot


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_every_sum_of_the_books_is_the_account_s_to_the_last_digit(empty_file: Path, steps: list[Any]) -> None:  # noqa: F811
    ledger = copy_of(empty_file)
    bot = written(ledger, steps)
    books = statement(ledger, DAY0, DAY0 + 60 * DAY_MS)
    before = books.days[0]
    for day in books.days:
        assert day.balance_end - day.balance_start == day.realised + day.fees + day.funding + day.transfers
        assert day.other == 0
        assert day.equity_end - day.equity_start == day.net + day.transfers
        assert day is before or day.equity_start == before.equity_end
        before = day
    total = books.total
    assert (total.balance_end, total.equity_end) == (bot.balance, bot.balance + bot.unrealised)
    for shares in (books.strategies, books.models):
        assert sum((s.realised for s in shares), ZERO) == total.realised
        assert sum((s.fees for s in shares), ZERO) == total.fees
        assert sum((s.funding for s in shares), ZERO) == total.funding
        assert sum((s.net for s in shares), ZERO) == total.net - total.unrealised_change
        assert sum(s.trades for s in shares) == sum(bool(t.closed_ms) for t in books.trades)
    assert sum((fee.fee for fee in books.fees), ZERO) == total.fees
    assert sum((paid.amount for paid in books.funding), ZERO) == total.funding
    # and any cut of the time gives the same sums
    middle = DAY0 + DAY_MS + 5 * HOUR
    parts: list[Statement] = []
    for span in ((DAY0, middle), (middle, DAY0 + 60 * DAY_MS)):
        try:
            parts.append(statement(ledger, *span))
        except DataError:  # nothing happened there
            continue
    for name in ("realised", "fees", "funding", "transfers", "other", "net", "fills"):
        assert sum(getattr(part.total, name) for part in parts) == getattr(total, name)
    ledger.close()
