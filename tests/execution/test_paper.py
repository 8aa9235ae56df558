from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.shared import shared_path
from tradebot.errors import DataError
from tradebot.events import (
    AccountUpdated,
    Booted,
    CancelOrder,
    CancelStop,
    ClosePosition,
    CommandOutcome,
    Difference,
    EngineConfig,
    Event,
    Filled,
    FundingPaid,
    InstrumentUpdated,
    OrderState,
    OrderUpdated,
    PlaceOrder,
    PlaceStop,
    PositionsReported,
    Reconciled,
    StopUpdated,
)
from tradebot.execution.latency import uniform
from tradebot.execution.paper import PaperBroker, PaperState
from tradebot.market.instrument import Instrument
from tradebot.trading.engine import Engine
from tradebot.trading.strategy import Intent, Strategy, View

SOL = Instrument(symbol="SOLUSDT", tick=D("0.001"), lot=D("0.1"), min_qty=D("0.1"))
BTC = Instrument(symbol="BTCUSDT", tick=D("0.1"), lot=D("0.001"), min_qty=D("0.001"))
T = 1_760_000_000_000
BIDS = ((150.12, 12.5), (150.119, 3.0))
ASKS = ((150.121, 7.1), (150.125, 20.0))
EIGHT = 28_800_000
SETTLEMENT = (T // EIGHT + 1) * EIGHT


class Clock:
    def __init__(self) -> None:
        self.ms = T

    def __call__(self) -> int:
        return self.ms


def paper(cash: str = "10000", latency: tuple[int, int] = (20, 80), clock: Clock | None = None) -> PaperBroker:
    return PaperBroker([SOL, BTC], D(cash), 2, "isolated", uniform(*latency), clock or Clock())


def with_market(broker: PaperBroker, ts: int = T) -> PaperBroker:
    broker.on_book("SOLUSDT", BIDS, ASKS, ts)
    broker.on_mark("SOLUSDT", 150.12, ts, 0.0001, SETTLEMENT)
    broker.drain()
    return broker


def buy(oid: str = "tb0-1-1-e", qty: str = "5", **extra: Any) -> PlaceOrder:
    fields = {"side": "buy", "order_type": "market", "purpose": "entry", "decision_id": "d", **extra}
    return PlaceOrder(client_oid=oid, symbol="SOLUSDT", qty=D(qty), **fields)


def of(kind: type, events: list[Event]) -> list[Any]:
    return [e for e in events if isinstance(e, kind)]


def test_a_market_order_walks_the_real_book_after_its_latency() -> None:
    broker = with_market(paper())
    outcome = broker.execute(buy(qty="10"))
    assert (outcome.outcome, outcome.command, outcome.client_oid) == ("accepted", "place", "tb0-1-1-e")
    assert [type(e) for e in broker.drain()] == [OrderUpdated, PositionsReported, AccountUpdated]
    due = broker.next_due_ms()
    assert due is not None
    assert T + 20 <= due <= T + 80
    broker.on_time(due - 1)
    assert broker.drain() == []
    broker.on_time(due)
    events = broker.drain()
    assert [type(e) for e in events] == [
        OrderUpdated,
        Filled,
        OrderUpdated,
        Filled,
        PositionsReported,
        AccountUpdated,
    ]
    assert [(f.price, f.qty, f.fee, f.ts_exchange_ms) for f in of(Filled, events)] == [
        (D("150.121"), D("7.1"), D("-0.63951546"), due),
        (D("150.125"), D("2.9"), D("-0.26121750"), due),
    ]
    position = of(PositionsReported, events)[0].positions[0]
    assert (position.symbol, position.qty, position.entry_price) == ("SOLUSDT", D(10), D("150.12216"))
    money = of(AccountUpdated, events)[0]
    assert money.balance == D("9999.09926704")
    assert money.equity == money.balance + (D("150.12") * 10 - D("1501.2216"))
    last = of(OrderUpdated, events)[-1]
    assert (last.status, last.filled_qty, last.order_id) == ("filled", D(10), outcome.order_id)


def test_the_order_acts_on_the_book_of_its_moment_not_on_a_later_one() -> None:
    broker = with_market(paper(latency=(50, 50)))
    broker.execute(buy(qty="5"))
    broker.on_book("SOLUSDT", ((149.0, 50.0),), ((149.1, 50.0),), T + 51)
    assert of(Filled, broker.drain())[0].price == D("150.121")


def test_latency_is_a_function_of_the_client_order_id() -> None:
    dues = []
    for oid in ("a", "b", "a"):
        broker = with_market(paper(latency=(20, 2_000)))
        broker.execute(buy(oid))
        dues.append(broker.next_due_ms())
    assert dues[0] == dues[2] != dues[1]


def test_prices_and_sizes_may_be_texts_and_odd_ones_are_rounded_against_us() -> None:
    broker = paper()
    broker.on_book("SOLUSDT", (("150.1204", "0.05"), ("150.1199", "1.27")), (("150.1206", "2"), ("150.1208", "1")), T)
    broker.on_mark("SOLUSDT", "150.12", T)
    broker.execute(buy(qty="2.5"))
    broker.on_time(T + 80)
    assert [(f.price, f.qty) for f in of(Filled, broker.drain())] == [(D("150.121"), D("2.5"))]
    assert broker.venue.depth("SOLUSDT") == (((150_119, 12),), ((150_121, 5),))


def test_a_crossed_book_is_left_out() -> None:
    broker = with_market(paper(latency=(0, 0)))
    broker.on_book("SOLUSDT", ((151.0, 5.0),), ((150.0, 5.0),), T + 1)
    broker.execute(buy())
    broker.on_time(T + 1)
    assert of(Filled, broker.drain())[0].price == D("150.121")


def test_a_resting_order_waits_in_the_queue_and_fills_as_maker() -> None:
    broker = with_market(paper(latency=(0, 0)))
    broker.execute(buy(order_type="limit", price=D("150.12"), qty="2"))
    broker.on_time(T)
    broker.on_trade("SOLUSDT", 150.12, 12.0, "sell", T + 1)
    assert of(Filled, broker.drain()) == []
    broker.on_trade("SOLUSDT", 150.12, 1.0, "sell", T + 2)
    fill = of(Filled, broker.drain())[0]
    assert (fill.qty, fill.maker, fill.fee) == (D("0.5"), True, D("-0.015012"))


@pytest.mark.parametrize(
    ("order", "code"),
    [
        (buy(qty="1000"), "40762"),
        (buy(qty="0.01"), "22038"),
        (buy(reduce_only=True), "22002"),
        (buy(preset_stop=D("151")), "40917"),
    ],
)
def test_a_refusal_is_an_outcome_with_the_protocols_code(order: PlaceOrder, code: str) -> None:
    broker = with_market(paper())
    outcome = broker.execute(order)
    assert (outcome.outcome, outcome.code, outcome.order_id) == ("rejected", code, "")
    assert outcome.message
    assert broker.drain() == []
    assert broker.next_due_ms() is None


def test_the_same_command_twice_is_one_order_and_another_order_with_its_id_is_refused() -> None:
    broker = with_market(paper())
    first = broker.execute(buy())
    again = broker.execute(buy())
    assert (again.outcome, again.order_id) == ("accepted", first.order_id)
    assert broker.execute(buy(qty="6")).code == "40786"
    broker.on_time(T + 80)
    assert broker.snapshot().positions[0].qty == D(5)


def test_a_preset_stop_a_position_stop_and_their_end() -> None:
    broker = with_market(paper(latency=(0, 0)))
    broker.execute(buy(preset_stop=D("147")))
    broker.on_time(T)
    preset = of(StopUpdated, broker.drain())[0]
    assert (preset.plan, preset.status, preset.trigger_price) == ("loss_plan", "live", D("147"))
    stop = PlaceStop(client_oid="s", symbol="SOLUSDT", position_side="long", trigger_price=D("147"))
    placed = broker.execute(stop)
    broker.on_time(T)
    live = of(StopUpdated, broker.drain())[0]
    assert (live.plan, live.client_oid, live.order_id) == ("pos_loss", "s", placed.order_id)
    broker.execute(CancelStop(client_oid="", symbol="SOLUSDT", order_id=preset.order_id))
    broker.on_time(T)
    assert [s.order_id for s in broker.snapshot().stops] == [placed.order_id]
    broker.on_book("SOLUSDT", ((146.8, 50.0),), ((146.9, 50.0),), T + 1)
    broker.on_mark("SOLUSDT", 146.9, T + 1)
    events = broker.drain()
    assert of(Filled, events)[0].price == D("146.8")
    assert [(s.order_id, s.status) for s in of(StopUpdated, events)] == [
        (preset.order_id, "cancelled"),
        (placed.order_id, "executing"),
        (placed.order_id, "executed"),
    ]
    assert broker.snapshot() == Reconciled(positions=(), open_orders=(), stops=())


def test_what_is_done_already_counts_as_accepted() -> None:
    broker = with_market(paper(latency=(0, 0)))
    commands = [
        CancelOrder(client_oid="nobody", symbol="SOLUSDT"),
        ClosePosition(client_oid="c", symbol="SOLUSDT", reason=""),
        CancelStop(client_oid="nobody", symbol="SOLUSDT"),
    ]
    assert [(o.outcome, o.order_id) for o in map(broker.execute, commands)] == [("accepted", "")] * 3
    stop = PlaceStop(client_oid="s", symbol="SOLUSDT", position_side="long", trigger_price=D("147"))
    assert broker.execute(stop).code == "43023"


def test_closing_and_cancelling() -> None:
    broker = with_market(paper(latency=(0, 0)))
    broker.execute(buy())
    broker.execute(buy("rest", order_type="limit", price=D("149"), qty="1"))
    broker.on_time(T)
    assert [o.client_oid for o in broker.snapshot().open_orders] == ["rest"]
    broker.drain()
    broker.execute(CancelOrder(client_oid="rest", symbol="SOLUSDT"))
    broker.execute(ClosePosition(client_oid="close", symbol="SOLUSDT", reason="test"))
    broker.on_time(T)
    events = broker.drain()
    ends = [(o.client_oid, o.status) for o in of(OrderUpdated, events) if o.status != "live"]
    assert ends == [("rest", "canceled"), ("close", "filled")]
    assert of(Filled, events)[0].client_oid == "close"
    assert broker.snapshot().positions == ()


def test_without_a_trusted_book_commands_and_stops_wait() -> None:
    broker = with_market(paper(latency=(0, 0)))
    broker.execute(buy())
    broker.on_time(T)
    broker.execute(PlaceStop(client_oid="s", symbol="SOLUSDT", position_side="long", trigger_price=D("147")))
    broker.on_time(T)
    broker.on_gap("SOLUSDT", T + 1)
    broker.on_mark("SOLUSDT", 140.0, T + 2)
    broker.execute(buy("late", qty="1"))
    broker.on_time(T + 1_000)
    assert broker.snapshot().positions[0].qty == D(5)
    broker.drain()
    broker.on_book("SOLUSDT", ((140.0, 50.0),), ((140.1, 50.0),), T + 2_000)
    events = broker.drain()
    assert next((f.client_oid, f.qty) for f in of(Filled, events)) == ("late", D(1))
    assert of(StopUpdated, events)[-1].status == "executed"
    assert broker.snapshot().positions == ()


def test_funding_is_settled_once_at_its_time_with_the_rate_known_before() -> None:
    broker = with_market(paper(latency=(0, 0)))
    broker.execute(buy())
    broker.on_time(T)
    broker.drain()
    assert broker.next_due_ms() == SETTLEMENT
    # the ticker after the settlement announces the next rate
    broker.on_mark("SOLUSDT", 150.12, SETTLEMENT + 5, 0.01, SETTLEMENT + EIGHT)
    paid = of(FundingPaid, broker.drain())
    assert [(p.symbol, p.amount, p.ts_exchange_ms) for p in paid] == [("SOLUSDT", D("-0.07506"), SETTLEMENT)]
    assert broker.next_due_ms() == SETTLEMENT + EIGHT
    broker.on_time(SETTLEMENT + 1_000)
    assert broker.drain() == []


def test_a_position_opened_after_a_settlement_does_not_pay_for_it() -> None:
    broker = with_market(paper(latency=(0, 0)))
    clock_time = SETTLEMENT + 1_000
    broker.on_time(clock_time)
    broker.on_book("SOLUSDT", BIDS, ASKS, clock_time)
    broker.execute(buy())
    broker.on_time(clock_time + 100)
    broker.on_time(clock_time + 200)
    events = broker.drain()
    assert of(Filled, events)
    assert of(FundingPaid, events) == []


def test_an_announced_settlement_earlier_than_the_interval_passes_a_flat_symbol() -> None:
    broker = with_market(paper(latency=(0, 0)))
    broker.on_mark("SOLUSDT", 150.12, T, 0.01, T + 1_000)
    broker.execute(buy(order_type="limit", price=D("150.12"), qty="2"))
    broker.on_time(T + 5_000)
    broker.on_trade("SOLUSDT", 150.1, 100.0, "sell", T + 5_100)
    broker.on_time(T + 5_200)
    events = broker.drain()
    assert of(Filled, events)
    assert of(FundingPaid, events) == []
    assert broker.next_due_ms() == SETTLEMENT


def test_a_liquidation_is_reported_as_forced() -> None:
    broker = with_market(paper("800", latency=(0, 0)))
    broker.execute(buy(qty="10"))
    broker.on_time(T)
    broker.drain()
    broker.on_book("SOLUSDT", ((70.0, 500.0),), ((70.1, 500.0),), T + 1)
    broker.on_mark("SOLUSDT", 70.0, T + 1)
    forced = of(OrderUpdated, broker.drain())[-1]
    assert (forced.forced, forced.status) == (True, "filled")


def test_a_restarted_broker_finds_cash_positions_orders_stops_and_commands_on_their_way() -> None:
    broker = with_market(paper())
    broker.execute(buy())
    broker.on_time(T + 80)
    broker.execute(buy("rest", order_type="limit", price=D("149"), qty="1"))
    broker.execute(PlaceStop(client_oid="s", symbol="SOLUSDT", position_side="long", trigger_price=D("147")))
    broker.on_time(T + 200)
    broker.execute(buy("underway", qty="2"))
    saved = broker.state().encode()

    clock = Clock()
    clock.ms = T + 60_000
    again = paper("1", clock=clock)
    again.load(PaperState.decode(saved, "paper.json"))
    assert again.snapshot() == broker.snapshot()
    assert again.account() == broker.account()
    again.on_time(T + 60_000)
    assert of(Filled, again.drain()) == [], "no book yet"
    again.on_book("SOLUSDT", BIDS, ASKS, T + 60_001)
    assert [f.client_oid for f in of(Filled, again.drain())] == ["underway"]
    assert again.execute(buy("rest", order_type="limit", price=D("149"), qty="1")).order_id
    assert again.execute(buy("underway", qty="3")).code == "40786"
    again.on_book("SOLUSDT", ((146.0, 50.0),), ((146.1, 50.0),), T + 60_002)
    again.on_mark("SOLUSDT", 146.0, T + 60_002)
    assert again.snapshot().positions == ()


def test_funding_missed_while_down_is_settled_at_the_start() -> None:
    broker = with_market(paper(latency=(0, 0)))
    broker.execute(buy())
    broker.on_time(T)
    saved = PaperState.decode(broker.state().encode(), "paper.json")
    clock = Clock()
    clock.ms = SETTLEMENT + EIGHT + 1
    again = paper(clock=clock)
    again.load(saved)
    again.on_time(clock.ms)
    assert [p.ts_exchange_ms for p in of(FundingPaid, again.drain())] == [SETTLEMENT, SETTLEMENT + EIGHT]


def test_an_idle_symbol_takes_the_configured_settings_and_a_held_one_keeps_its_own() -> None:
    broker = with_market(paper(latency=(0, 0)))
    broker.execute(buy())
    broker.on_time(T)
    again = PaperBroker([SOL, BTC], D(1), 5, "crossed", uniform(0, 0), Clock())
    again.load(broker.state())
    found = {s.symbol: (s.leverage, s.margin_mode, s.position_mode) for s in again.settings()}
    assert found == {"SOLUSDT": (2, "isolated", "one_way_mode"), "BTCUSDT": (5, "crossed", "one_way_mode")}


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "not a paper account"),
        (b"{}", "not a paper account"),
        (b'{"version": 9, "venue": {"cash": "1", "last_id": 1}}', "version 9"),
    ],
)
def test_a_damaged_state_is_one_clear_line(raw: bytes, says: str) -> None:
    with pytest.raises(DataError, match=says) as damaged:
        PaperState.decode(raw, "state/paper.json")
    assert str(damaged.value).startswith("state/paper.json: ")
    assert "\n" not in str(damaged.value)


def test_a_state_with_a_position_in_a_symbol_not_traded_is_refused() -> None:
    broker = with_market(paper(latency=(0, 0)))
    broker.execute(buy())
    broker.on_time(T)
    other = PaperBroker([BTC], D(1), 2, "isolated", uniform(0, 0), Clock())
    with pytest.raises(DataError, match="SOLUSDT"):
        other.load(broker.state())


def test_new_terms_of_a_contract_hold_and_a_new_lot_needs_a_position_that_fits_it() -> None:
    broker = with_market(paper(latency=(0, 0)))
    broker.on_instrument(msgspec.structs.replace(SOL, tick=D("0.01")))
    broker.execute(buy())
    broker.on_time(T)
    assert of(Filled, broker.drain())[0].price == D("150.13")
    broker.on_instrument(SOL)
    with pytest.raises(DataError, match=r"new lot 0\.3"):
        broker.on_instrument(msgspec.structs.replace(SOL, lot=D("0.3")))
    broker.on_instrument(msgspec.structs.replace(SOL, tick=D("0.01"), status="maintain"))
    assert broker.execute(buy("x")).code == "40844"


def test_reconcile_tells_the_fate_of_every_order_and_what_happened_since() -> None:
    broker = with_market(paper(latency=(0, 0)))
    broker.execute(buy())
    broker.on_time(T)
    broker.on_time(SETTLEMENT)
    orders = [
        OrderState(client_oid=oid, symbol="SOLUSDT", side="buy", order_type="market", qty=D(5), purpose="entry")
        for oid in ("tb0-1-1-e", "never-sent")
    ]
    events = broker.reconcile(orders, T, T + 7)
    assert of(OrderUpdated, events)[0].status == "filled"
    assert [(o.client_oid, o.outcome, o.code) for o in of(CommandOutcome, events)] == [
        ("never-sent", "rejected", "40109")
    ]
    assert len(of(Filled, events)) == 1
    assert len(of(FundingPaid, events)) == 1
    assert events[-1] == broker.snapshot(T + 7)
    assert of(Filled, broker.reconcile(orders, SETTLEMENT, SETTLEMENT)) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["buy", "sell"]),
            st.integers(1, 40),
            st.booleans(),
            st.integers(-30, 30),
            st.integers(1, 400),
        ),
        max_size=25,
    )
)
def test_events_alone_explain_balance_and_position(steps: list[tuple[str, int, bool, int, int]]) -> None:
    broker = with_market(paper(latency=(0, 300)))
    events: list[Event] = []
    now = T
    for n, (side, lots, reduce, move, pause) in enumerate(steps):
        price = 150.12 + move / 1000
        broker.on_book("SOLUSDT", ((price, 5.0), (price - 0.5, 60.0)), ((price + 0.01, 5.0), (price + 0.5, 60.0)), now)
        broker.on_mark("SOLUSDT", price, now, 0.0001)
        broker.execute(buy(f"o{n}", qty=str(lots * SOL.lot), side=side, reduce_only=reduce))
        now += pause * (100_000 if n % 5 == 0 else 1)
        broker.on_time(now)
        events += broker.drain()
    fills = of(Filled, events)
    balance = D(10_000) + sum(f.realised + f.fee for f in fills) + sum(p.amount for p in of(FundingPaid, events))
    assert broker.account().balance == balance
    qty = sum((f.qty if f.side == "buy" else -f.qty for f in fills), D(0))
    assert sum((p.qty for p in broker.snapshot().positions), D(0)) == qty
    if fills:
        assert of(AccountUpdated, events)[-1].balance == balance


def test_recorded_trades_and_books_with_locked_rows_run_through() -> None:
    import pyarrow.parquet as pq

    path = shared_path("data/market/lob/standx_BTCUSD_perp_20260105_1s_l10.parquet")
    table = pq.read_table(path).slice(0, 3_000).to_pandas()
    contract = Instrument(symbol="BTCUSDT", tick=D("0.01"), lot=D("0.0001"), min_qty=D("0.0001"))
    clock = Clock()
    broker = PaperBroker([contract], D(100_000), 5, "isolated", uniform(20, 80), clock)
    locked = 0
    for n, row in enumerate(table.to_dict("records")):
        now = clock.ms = T + n * 1_000
        bids, asks = ([(row[f"{side}_px_{k}"], row[f"{side}_sz_{k}"]) for k in range(1, 11)] for side in ("bid", "ask"))
        locked += bids[0][0] == asks[0][0]
        broker.on_book("BTCUSDT", bids, asks, now)
        broker.on_mark("BTCUSDT", (bids[0][0] + asks[0][0]) / 2, now)
        if n % 200 == 0:
            order = PlaceOrder(
                client_oid=f"o{n}",
                symbol="BTCUSDT",
                side="buy" if n % 400 == 0 else "sell",
                order_type="market",
                qty=D("0.01"),
                purpose="entry",
                decision_id="",
            )
            assert broker.execute(order).outcome == "accepted"
    broker.on_time(now + 100)
    assert locked > 100
    fills = of(Filled, broker.drain())
    assert sum((f.qty if f.side == "buy" else -f.qty for f in fills), D(0)) == sum(
        (p.qty for p in broker.snapshot().positions), D(0)
    )
    assert len(fills) >= 15


class Idle(Strategy):
    """Does nothing by itself."""

    def on_forecast(self, view: View, forecast: object) -> Intent:
        return Intent("hold", "")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["buy", "sell", "funding", "look"]), max_size=12))
def test_the_paper_account_s_balance_is_explained_to_the_cent(story: list[str]) -> None:
    """Two independent computations: what the venue books, and what the bot adds up."""
    clock = Clock()
    broker, engine = with_market(paper(clock=clock)), Engine(Idle)
    config = EngineConfig(mode="paper", symbols=("SOLUSDT",), strategy="idle")
    told: list[Event] = [
        Booted(epoch=1, config=config, settings_hash="", engine_hash="", strategy_hash=""),
        InstrumentUpdated(instrument=SOL),
        *broker.reconcile((), 0, T),
    ]
    settled, differences = SETTLEMENT, []
    for number, what in enumerate([*story, "look", "look"]):
        clock.ms += 1_000
        if what in ("buy", "sell"):
            side: Any = what
            command = buy(f"tb0-1-{number}-e", "1", side=side)
            engine.emit(command)
            told.append(broker.execute(command))
            clock.ms += 100
            broker.on_time(clock.ms)
        elif what == "funding":
            clock.ms = settled
            settled += EIGHT
            broker.on_mark("SOLUSDT", 150.12, clock.ms, 0.0001, settled)
            broker.on_book("SOLUSDT", BIDS, ASKS, clock.ms)
        told += [*broker.drain(), *broker.reconcile((), 0, clock.ms)]
        for event in told:
            differences += [c for c in engine.handle(clock.ms, event) if isinstance(c, Difference)]
        told = []
    assert [d for d in differences if d.kind in ("balance", "position", "foreign")] == []
    assert engine.state.unexplained == D(10_000)
