from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests.exchange.samples import answers, fixture, pushes, wire
from tradebot.errors import DataError
from tradebot.events import AccountUpdated, Filled, OrderUpdated, PositionState, StopUpdated
from tradebot.exchange.bitget import translate
from tradebot.exchange.bitget.messages import (
    CandleRow,
    FillRow,
    PlanRow,
    PositionRow,
    decode_push,
    decode_reply,
    is_reply,
)
from tradebot.exchange.bitget.rows import AccountDetail, ContractRow, OrderPage, RestTickerRow
from tradebot.market.candle import Candle
from tradebot.market.trade import Trade

ORDER_PUSH = (
    b'{"action":"snapshot","arg":{"instType":"USDT-FUTURES","channel":"orders","instId":"default"},"data":[{'
    b'"accBaseVolume":"0.001","baseVolume":"0.001","cTime":"1786542349176","cancelReason":"",'
    b'"clientOid":"1471430749322903552","enterPointSource":"API","feeDetail":[{"feeCoin":"USDT","fee":"-0.03842754"}],'
    b'"fillFee":"-0.03842754","fillFeeCoin":"USDT","fillNotionalUsd":"64.0459","fillPrice":"64045.9",'
    b'"fillTime":"1786542349220","force":"gtc","instId":"BTCUSDT","leverage":"10","marginCoin":"USDT",'
    b'"marginMode":"crossed","notionalUsd":"63.9982","orderId":"1471430749318709251","orderType":"market","pnl":"0",'
    b'"posMode":"one_way_mode","posSide":"net","price":"0","priceAvg":"64045.9","reduceOnly":"no","side":"buy",'
    b'"size":"0.001","status":"filled","stpMode":"none","totalProfits":"0","tradeId":"1471430749503696898",'
    b'"tradeScope":"T","tradeSide":"buy_single","uTime":"1786542349220"}],"ts":1786542349229}'
)


def rows(frame: bytes) -> list[Any]:
    push = decode_push(frame)
    assert push is not None
    return list(push.data)


def recorded(name: str) -> list[list[Any]]:
    """Rows of the pushes in one recording, push by push."""
    messages = fixture("ccxt_static_recorded")[name]["messages"]
    return [rows(wire(message)) for message in messages if "data" in message]


def test_an_order_push_becomes_a_cumulative_state_with_exact_ids() -> None:
    (row,) = rows(ORDER_PUSH)
    assert translate.order(row) == OrderUpdated(
        client_oid="1471430749322903552",
        order_id="1471430749318709251",
        symbol="BTCUSDT",
        side="buy",
        status="filled",
        qty=Decimal("0.001"),
        filled_qty=Decimal("0.001"),
        avg_price=Decimal("64045.9"),
        reduce_only=False,
        ts_exchange_ms=1786542349220,
    )


def test_an_unfilled_order_has_no_average_price() -> None:
    frame = (
        ORDER_PUSH.replace(b'"priceAvg":"64045.9",', b"")
        .replace(b'"filled"', b'"live"')
        .replace(b'"accBaseVolume":"0.001"', b'"accBaseVolume":"0"')
        .replace(b'"reduceOnly":"no"', b'"reduceOnly":"yes"')
    )
    order = translate.order(rows(frame)[0])
    assert (order.avg_price, order.filled_qty, order.status, order.reduce_only) == (None, Decimal(0), "live", True)


def test_a_liquidation_order_names_its_source() -> None:
    frame = ORDER_PUSH.replace(b'"buy_single"', b'"burst_sell_single"').replace(b'"API"', b'"SYS"')
    assert translate.order(rows(frame)[0]).forced


def test_a_cancelled_order_is_known_under_both_spellings() -> None:
    for spelling in (b'"canceled"', b'"cancelled"'):
        assert translate.order(rows(ORDER_PUSH.replace(b'"filled"', spelling))[0]).status == "canceled"
    with pytest.raises(DataError):
        translate.order(rows(ORDER_PUSH.replace(b'"filled"', b'"melted"'))[0])


def test_a_fill_push_carries_price_fee_and_profit() -> None:
    frame = (
        b'{"action":"snapshot","arg":{"instType":"USDT-FUTURES","channel":"fill","instId":"default"},"data":[{"orderId":'
        b'"1471430768482459653","tradeId":"1471430768654426113","symbol":"BTCUSDT","orderType":"market","side":"sell",'
        b'"price":"64027.7","baseVolume":"0.001","quoteVolume":"64.0277","profit":"-0.0182","tradeSide":"sell_single",'
        b'"posMode":"one_way_mode","tradeScope":"taker","feeDetail":[{"feeCoin":"USDT","deduction":"no",'
        b'"totalDeductionFee":"0","totalFee":"-0.03841662"}],"cTime":"1786542353710","uTime":"1786542353710",'
        b'"clientOid":"tb-7"}],"ts":1786542353712}'
    )
    assert translate.fill(rows(frame)[0]) == Filled(
        trade_id="1471430768654426113",
        order_id="1471430768482459653",
        client_oid="tb-7",
        symbol="BTCUSDT",
        side="sell",
        price=Decimal("64027.7"),
        qty=Decimal("0.001"),
        fee=Decimal("-0.03841662"),
        realised=Decimal("-0.0182"),
        maker=False,
        ts_exchange_ms=1786542353710,
    )


def test_a_fee_paid_in_another_coin_takes_nothing_from_the_balance() -> None:
    fee = b'"feeDetail":[{"feeCoin":"BGB","deduction":"yes","totalDeductionFee":"-0.01","totalFee":"-0.03"}]'
    frame = (
        b'{"arg":{"channel":"fill"},"data":[{"orderId":"1","tradeId":"2","symbol":"S","side":"buy","price":"1",'
        b'"baseVolume":"1",' + fee + b',"cTime":"5"}]}'
    )
    assert translate.fill(rows(frame)[0]).fee == 0


def test_positions_are_signed_and_an_empty_push_is_flat() -> None:
    frame = (
        b'{"action":"snapshot","arg":{"instType":"USDT-FUTURES","channel":"positions","instId":"default"},"data":[%s],'
        b'"ts":1}'
    )
    row = b'{"posId":"1","instId":"%s","holdSide":"%s","total":"0.1","openPriceAvg":"1900","leverage":20,'
    short = row % (b"ETHUSDT", b"short") + b'"liquidationPrice":"5788.1","cTime":"1695649246169"}'
    long = row % (b"BTCUSDT", b"long") + b'"liquidationPrice":"0","cTime":"1695649246169"}'
    assert translate.positions(rows(frame % (short + b"," + long))).positions == (
        PositionState(symbol="BTCUSDT", qty=Decimal("0.1"), entry_price=Decimal(1900), opened_ms=1695649246169),
        PositionState(
            symbol="ETHUSDT",
            qty=Decimal("-0.1"),
            entry_price=Decimal(1900),
            liquidation_price=Decimal("5788.1"),
            opened_ms=1695649246169,
        ),
    )
    assert translate.positions(rows(frame % b"")).positions == ()


def test_a_position_stop_is_told_by_its_long_name() -> None:
    frame = (
        b'{"action":"snapshot","arg":{"instType":"USDT-FUTURES","channel":"orders-algo","instId":"default"},"data":[{'
        b'"instId":"SOLUSDT","orderId":"12","clientOid":"tb-sl","triggerPrice":"140","planType":"psl",'
        b'"status":"not_trigger"}],"ts":1}'
    )
    assert translate.stop(rows(frame)[0]) == StopUpdated(
        order_id="12",
        client_oid="tb-sl",
        symbol="SOLUSDT",
        plan="pos_loss",
        trigger_price=Decimal(140),
        status="live",
    )


def test_balance_leaves_out_the_unrealised_profit() -> None:
    frame = (
        b'{"arg":{"instType":"USDT-FUTURES","channel":"account","coin":"default"},"data":[{"marginCoin":"USDT",'
        b'"available":"990","maxOpenPosAvailable":"980","equity":"1002.5","unrealizedPL":"2.5"}],"action":"snapshot"}'
    )
    assert translate.account(rows(frame)[0]) == AccountUpdated(
        equity=Decimal("1002.5"), available=Decimal(980), balance=Decimal(1000)
    )


@pytest.mark.parametrize("text", ["nan", "Infinity", "1,000", "x"])
def test_what_is_no_number_is_no_money(text: str) -> None:
    with pytest.raises(DataError):
        translate.decimal(text)


def test_events_are_told_from_data_and_read() -> None:
    ack = b'{"event":"subscribe","arg":{"instType":"USDT-FUTURES","channel":"books","instId":"SOLUSDT"},"connId":"a-1"}'
    assert is_reply(ack)
    assert decode_reply(ack).connId == "a-1"
    late = b'{"arg":{"instType":"USDT-FUTURES","channel":"account","coin":"default"},"event":"subscribe"}'
    error = b'{"code":"30005","msg":"Invalid request","event":"error"}'
    assert is_reply(error)
    assert str(decode_reply(error).code) == "30005"
    assert not is_reply(ORDER_PUSH)
    assert is_reply(late)


def test_a_channel_after_the_data_is_found_too() -> None:
    frame = b'{"data":[%s],"arg":{"instType":"USDT-FUTURES","instId":"BTCUSDT","channel":"candle1m"},"action":"update"}'
    row = b'["1786540500000","63954.8","63989","63954.7","63989","32.9132","2105459.11147","2105459.11147"]'
    for count in (1, 5):
        assert len(rows(frame % b",".join([row] * count))) == count


def test_what_cannot_be_read_is_an_error_and_an_unknown_channel_is_not() -> None:
    for frame in (
        b"<html>",
        b'{"arg":{"channel":"books"},"data":[{"asks":[["1"]],"bids":[]}]}',
        b'{"arg":"channel":"x',
    ):
        with pytest.raises(DataError):
            decode_push(frame)
    assert decode_push(b'{"arg":{"channel":"positions-history"},"data":[{}]}') is None


@pytest.mark.parametrize("odd", ["nan", "inf", "-Infinity"])
def test_a_price_that_is_no_number_is_not_taken_for_one(odd: str) -> None:
    row = ("1786540500000", "1", "2", "1", "2", "3", "4", "4")
    assert translate.candle(row).close == 2.0
    for at in range(1, 7):
        with pytest.raises(DataError):
            translate.candle((*row[:at], odd, *row[at + 1 :]))
    with pytest.raises(IndexError):
        translate.candle(row[:6])


# --- recorded traffic and documentation samples ---------------------------------------------------------------------


def test_recorded_candles_are_read_as_another_client_reads_them() -> None:
    expected = fixture("ccxt_static_recorded")["ws_watchOHLCV_linear_1m"]["parsed"]
    batches = recorded("ws_watchOHLCV_linear_1m")
    for batch, values in zip(batches, expected, strict=False):
        candles = [translate.candle(row) for row in batch]
        assert [[c.open_time_ms, c.open, c.high, c.low, c.close, c.volume] for c in candles] == values
    assert translate.candle(batches[1][0]) == Candle(
        1786540500000, 63954.8, 63989, 63954.7, 63989, 32.9132, 2105459.11147
    )


def test_recorded_books_keep_their_texts() -> None:
    (first,), (second,) = recorded("ws_watchOrderBook_linear_books5")
    assert (first.seq, first.pseq, second.seq) == (820531524124, 0, 820531530480)
    assert first.bids[0] == ("63918.4", "8.8614")
    assert first.asks[3] == ("63920", "0.0341")


def test_recorded_ticker_and_trades() -> None:
    ticker = translate.ticker(recorded("ws_watchTicker_linear")[0][0])
    assert (ticker.symbol, ticker.last, ticker.mark, ticker.index) == ("BTCUSDT", 63997.5, 63997.5, 64023.4365)
    assert (ticker.funding_rate, ticker.next_funding_ms, ticker.ts_exchange_ms) == (
        0.00001,
        1786550400000,
        1786540544274,
    )
    trades = [translate.trade(row) for row in recorded("ws_watchTrades_linear")[1]]
    assert trades == [Trade(1786540508059, 63961.0, 0.7596, "buy", "1471423027117572096")]


def test_every_push_in_the_samples_is_read() -> None:
    """Channels this client uses, from five independent sources."""
    seen: dict[str, int] = {}
    for where, message in pushes():
        channel = message["arg"]["channel"]
        push = decode_push(wire(message))
        if push is None:
            assert channel in ("equity", "positions-history"), where
            continue
        assert push.arg.channel == channel, where
        for row in push.data:
            if channel.startswith("books"):
                assert [tuple(level[:2]) for level in message["data"][0]["asks"]] == row.asks, where
            elif channel.startswith("candle"):
                assert translate.candle(row).close > 0, where
            elif channel == "trade":
                assert translate.trade(row).qty > 0, where
            elif channel == "ticker":
                assert translate.ticker(row).last > 0, where
            elif channel == "orders":
                order = translate.order(row)
                assert order.qty >= order.filled_qty >= 0, where
            elif channel == "fill":
                assert translate.fill(row).fee < 0, where
            elif channel == "positions":
                assert translate.position(row).qty != 0, where
            elif channel == "account":
                assert translate.account(row).equity > 0, where
        kind = "books" if channel.startswith("books") else "candle" if channel.startswith("candle") else channel
        seen[kind] = seen.get(kind, 0) + 1
    assert set(seen) >= {"books", "candle", "trade", "ticker", "orders", "fill", "positions", "account"}


def test_rest_samples_become_orders_plans_positions_and_accounts() -> None:
    for where, data in [*answers("orders-pending"), *answers("orders-history")]:
        page = msgspec.convert(data, OrderPage)
        assert page.rows, where
        for row in page.rows:
            order = row.to_event()
            assert (order.order_id, order.status) == ("123", "partially_filled"), where
            assert order.avg_price == Decimal(1903), where
    for where, data in [*answers("orders-plan-pending"), *answers("orders-plan-history")]:
        for row in msgspec.convert(data["entrustedList"], list[PlanRow]):
            assert translate.stop(row).status in ("live", "executed"), where
    for where, data in [*answers("all-position"), *answers("single-position")]:
        for row in msgspec.convert(data, list[PositionRow]):
            state = translate.position(row)
            assert (state.symbol, state.qty, state.entry_price) == ("BTCUSDT", Decimal("0.01"), Decimal(25000)), where
    single = fixture("docs_samples")["contract__account__Get-Single-Account"]["examples"][1]["json"]["data"]
    detail = msgspec.convert(single, AccountDetail)
    settings = detail.settings("BTCUSDT")
    assert (settings.position_mode, settings.margin_mode, settings.leverage) == ("hedge_mode", "crossed", 20)
    assert detail.money().available == Decimal("13168.86110692")


def test_rest_samples_become_instruments_candles_tickers_and_fills() -> None:
    instruments = {
        row.symbol: row.to_instrument()
        for _, data in answers("market/contracts")
        for row in msgspec.convert(data, list[ContractRow])
    }
    btc = instruments["BTCUSDT"]
    assert (btc.tick, btc.lot, btc.min_qty, btc.max_leverage) == (Decimal("0.1"), Decimal("0.01"), Decimal("0.01"), 125)
    assert (btc.off_time_ms, btc.maintain_time_ms, btc.max_market_qty) == (None, 1680165535278, Decimal(220))
    for _, data in [*answers("market/candles"), *answers("market/history-candles")]:
        first = translate.candle(msgspec.convert(data, list[CandleRow])[0])
        assert first == Candle(1695835800000, 26210.5, 26210.5, 26194.5, 26194.5, 26.26, 687897.63)
    for _, data in answers("market/ticker"):
        assert msgspec.convert(data, list[RestTickerRow])[0].to_event().last > 0
    recorded_fills = fixture("ccxt_static_recorded")["rest_fetchMyTrades_swap"]
    row = msgspec.convert(recorded_fills["httpResponse"]["data"]["fillList"][0], FillRow)
    fill, parsed = translate.fill(row), recorded_fills["parsed"][0]
    assert (fill.trade_id, fill.order_id) == (parsed["id"], parsed["order"])
    assert (float(fill.price), float(fill.qty), float(-fill.fee)) == (72.25, 0.1, parsed["fee"]["cost"])
    assert fill.realised == Decimal("-0.002")


@pytest.mark.parametrize(
    ("place", "step", "tick"), [("3", "1", "0.001"), ("1", "5", "0.5"), ("0", "1", "1"), ("2", "25", "0.25")]
)
def test_the_tick_is_the_end_step_at_the_price_place(place: str, step: str, tick: str) -> None:
    row = ContractRow(symbol="X", pricePlace=place, priceEndStep=step, sizeMultiplier="0.1", minTradeNum="0.1")
    assert row.to_instrument().tick == Decimal(tick)


def test_a_contract_without_its_rules_is_an_error() -> None:
    with pytest.raises(DataError):
        ContractRow(symbol="X").to_instrument()


@pytest.mark.parametrize(
    ("trade_side", "is_forced"),
    [
        ("buy_single", False), ("sell_single", False), ("open", False), ("close", False), ("", False),
        ("burst_sell_single", True), ("reduce_buy_single", True), ("offset_sell_single", True),
        ("delivery_sell_single", True), ("dte_sys_adl_sell_single", True),
    ],
)  # fmt: skip
def test_orders_the_exchange_made_are_told_by_their_trade_side(trade_side: str, is_forced: bool) -> None:
    assert translate.forced(trade_side) is is_forced
