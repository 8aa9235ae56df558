from __future__ import annotations

import asyncio
import itertools
import json
from decimal import Decimal
from time import monotonic
from typing import Any
from urllib.parse import parse_qsl

import pytest

from tests.exchange.samples import fixture, wire
from tests.exchange.servers import Reply, failure, rest_server, success
from tradebot.errors import AuthRefused, ConfigError, OutcomeUnknown, RateLimited, Rejected, Unavailable
from tradebot.events import (
    CancelOrder,
    CancelStop,
    ClosePosition,
    FundingPaid,
    PlaceOrder,
    PlaceStop,
    Transferred,
)
from tradebot.exchange.bitget.history import earliest_ms
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.exchange.bitget.signing import Credentials
from tradebot.market.candle import DAY_MS

KEY = Credentials("key", "secret", "pass")
CLOCK_MS = 1760000000000


def order(**more: Any) -> PlaceOrder:
    fields: dict[str, Any] = {
        "client_oid": "",
        "symbol": "SOLUSDT",
        "side": "buy",
        "order_type": "market",
        "qty": Decimal(1),
        "purpose": "entry",
        "decision_id": "d1",
    }
    return PlaceOrder(**{**fields, **more})


def client(url: str, **more: Any) -> BitgetRest:
    return BitgetRest(url, **{"credentials": KEY, "now_ms": lambda: CLOCK_MS, "first_retry_s": 0.01, **more})


PLACED = {"orderId": "1", "clientOid": "c1"}
BATCH = {"successList": [PLACED], "failureList": []}

CALLS: dict[str, tuple[Any, Any]] = {
    "req_17_set_position_mode": (lambda r: r.set_position_mode("one_way_mode"), {"posMode": "one_way_mode"}),
    "req_19_set_margin_mode": (lambda r: r.set_margin_mode("SOLUSDT", "crossed"), {}),
    "req_24_create_order": (
        lambda r: r.place_order(order(order_type="limit", price=Decimal(100), client_oid="c1"), "crossed"),
        PLACED,
    ),
    "req_25_create_order": (lambda r: r.place_order(order(), "crossed"), PLACED),
    "req_26_create_order": (lambda r: r.place_order(order(side="sell", reduce_only=True), "crossed"), PLACED),
    "req_27_create_order": (
        lambda r: r.place_order(order(order_type="limit", price=Decimal(100), tif="post_only"), "crossed"),
        PLACED,
    ),
    "req_30_create_order": (
        lambda r: r.place_order(order(order_type="limit", price=Decimal(100)), "isolated"),
        PLACED,
    ),
    "req_46_cancel_order": (lambda r: r.cancel_order(CancelOrder(client_oid="c1", symbol="SOLUSDT")), PLACED),
    "req_47_cancel_order": (
        lambda r: r.cancel_stop(CancelStop(client_oid="x", symbol="SOLUSDT", order_id="123")),
        BATCH,
    ),
}


@pytest.mark.parametrize("name", CALLS)
async def test_commands_are_the_bytes_and_the_signature_of_a_known_good_client(name: str) -> None:
    call, data = CALLS[name]
    expected = fixture("ccxt_golden_requests")[name]["http"]

    def respond(method: str, path: str, query: dict[str, str], body: bytes) -> Reply:
        return success({"entrustedList": None}) if method == "GET" else success(data)

    async with rest_server(respond) as server, client(server.url) as rest:
        await call(rest)
    method, path, query, body, headers = server.requests[-1]
    assert (method, path, query) == (expected["method"], expected["path"], expected["query"])
    assert body == wire(expected["body"])
    for header, value in expected["headers"].items():
        assert headers[header] == value


QUERIES: dict[str, tuple[Any, Any]] = {
    "req_53_fetch_open_orders": (lambda r: r.plan_orders("SOLUSDT"), {"entrustedList": None}),
    "req_55_fetch_closed_orders": (lambda r: r.orders_history("SOLUSDT"), {"entrustedList": None, "endId": None}),
    "req_56_fetch_canceled_orders": (
        lambda r: r.orders_history("SOLUSDT", since_ms=1759913600000),
        {"entrustedList": []},
    ),
}


@pytest.mark.parametrize("name", QUERIES)
async def test_queries_ask_what_a_known_good_client_asks(name: str) -> None:
    call, data = QUERIES[name]
    expected = fixture("ccxt_golden_requests")[name]["http"]
    async with rest_server(lambda *_: success(data)) as server, client(server.url) as rest:
        assert await call(rest) == []
    method, path, query, _, headers = server.requests[-1]
    pairs = dict(parse_qsl(query))
    assert pairs.pop("limit") == "100"
    wanted = dict(parse_qsl(expected["query"]))
    wanted.pop("limit", None)
    assert (method, path, pairs) == (expected["method"], expected["path"], wanted)
    assert list(pairs) == sorted(pairs)
    assert headers["ACCESS-KEY"] == "key"


async def test_a_preset_stop_travels_with_the_entry() -> None:
    async with rest_server(lambda *_: success(PLACED)) as server, client(server.url) as rest:
        sent = order(order_type="limit", price=Decimal("1E+2"), client_oid="c1", preset_stop=Decimal("98.50"))
        assert await rest.place_order(sent, "isolated") == "1"
    body = json.loads(server.requests[0][3])
    assert (body["price"], body["presetStopLossPrice"], body["clientOid"]) == ("100", "98.50", "c1")
    assert "reduceOnly" not in body


async def test_a_stop_protects_the_whole_position_by_the_mark_price() -> None:
    async with rest_server(lambda *_: success(PLACED)) as server, client(server.url, demo=True) as rest:
        for side in ("long", "short"):
            stop = PlaceStop(client_oid="s1", symbol="SOLUSDT", position_side=side, trigger_price=Decimal(140))  # type: ignore[arg-type]
            assert await rest.place_stop(stop) == "1"
    body = json.loads(server.requests[0][3])
    assert (body["planType"], body["triggerType"], body["holdSide"]) == ("pos_loss", "mark_price", "buy")
    assert json.loads(server.requests[1][3])["holdSide"] == "sell"
    assert {name.lower(): value for name, value in server.requests[0][4].items()}["paptrading"] == "1"


async def test_a_partial_stop_is_cancelled_under_its_own_kind() -> None:
    plan = {"orderId": "77", "clientOid": "x", "planType": "loss_plan", "symbol": "SOLUSDT", "planStatus": "live"}

    def respond(method: str, path: str, query: dict[str, str], body: bytes) -> Reply:
        return success({"entrustedList": [plan], "endId": "77"} if method == "GET" else BATCH)

    async with rest_server(respond) as server, client(server.url) as rest:
        await rest.cancel_stop(CancelStop(client_oid="x", symbol="SOLUSDT"))
    body = json.loads(server.requests[-1][3])
    assert (body["planType"], body["orderIdList"]) == ("loss_plan", [{"clientOid": "x"}])


async def test_a_failure_inside_a_successful_answer_is_a_failure() -> None:
    failed = {"orderId": "", "clientOid": "", "errorMsg": "no", "errorCode": "45001"}
    gone = {**failed, "errorCode": "43025"}
    reply = {"successList": None, "failureList": [failed]}
    async with rest_server(lambda *_: success(reply)) as server, client(server.url) as rest:
        with pytest.raises(OutcomeUnknown):
            await rest.close_position(ClosePosition(client_oid="x", symbol="SOLUSDT", reason="r"))
        reply["failureList"] = [gone]
        server._respond = lambda method, *_: success({"entrustedList": None} if method == "GET" else reply)
        assert await rest.cancel_stop(CancelStop(client_oid="x", symbol="SOLUSDT", order_id="1")) == ""


# --- what a failure means -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ((200, None), OutcomeUnknown),
        ((502, b"<html>bad gateway</html>"), OutcomeUnknown),
        ((504, b""), OutcomeUnknown),
        ((429, b""), RateLimited),
        (failure("429", 429), RateLimited),
        (failure("40762"), Rejected),
        (failure("40762", 200), Rejected),
        (failure("40786"), OutcomeUnknown),
        (failure("40010"), OutcomeUnknown),
        (failure("40009"), AuthRefused),
        (failure("22045"), Unavailable),
        (failure("22002"), Rejected),
    ],
)
async def test_order_entry_is_sent_once_and_its_failure_classified(reply: Reply, kind: type[Exception]) -> None:
    async with rest_server(lambda *_: reply) as server, client(server.url) as rest:
        with pytest.raises(kind):
            await rest.place_order(order(client_oid="c1"), "isolated")
        assert len(server.requests) == 1


async def test_an_exchange_that_was_never_reached_did_nothing() -> None:
    async with rest_server(lambda *_: success({})) as server:
        url = server.url
    async with client(url) as rest:
        with pytest.raises(Unavailable, match="not reachable"):
            await rest.place_order(order(client_oid="c1"), "isolated")


async def test_silence_after_an_order_is_an_unknown_outcome() -> None:
    async with rest_server(lambda *_: success(PLACED)) as server, client(server.url, timeout_s=0.2) as rest:
        server.delay_s = 0.6
        with pytest.raises(OutcomeUnknown, match="may have been carried out"):
            await rest.place_order(order(client_oid="c1"), "isolated")
        assert len(server.requests) == rest.http.counts.unknown == 1


async def test_an_acceptance_that_cannot_be_read_is_an_unknown_outcome() -> None:
    async with rest_server(lambda *_: success("yes")) as server, client(server.url) as rest:
        with pytest.raises(OutcomeUnknown):
            await rest.place_order(order(client_oid="c1"), "isolated")
        assert len(server.requests) == 1


@pytest.mark.parametrize("data", [None, {"orderId": None, "clientOid": "c1"}, {"orderId": "", "clientOid": ""}])
async def test_an_acceptance_without_an_id_is_an_acceptance(data: Any) -> None:
    async with rest_server(lambda *_: success(data)) as server, client(server.url) as rest:
        assert await rest.place_order(order(client_oid="c1", side="sell", reduce_only=True), "isolated") == ""
        assert await rest.cancel_order(CancelOrder(client_oid="c1", symbol="SOLUSDT")) == ""


async def test_reads_are_tried_again_until_the_exchange_answers() -> None:
    replies: list[Reply] = [(200, None), (503, b""), failure("40725"), success({"serverTime": "7"})]
    async with rest_server(lambda *_: replies.pop(0)) as server, client(server.url) as rest:
        assert await rest.server_time() == 7
        assert len(server.requests) == 4


async def test_reads_give_up_in_the_end() -> None:
    async with rest_server(lambda *_: (503, b"")) as server, client(server.url) as rest:
        with pytest.raises(Unavailable):
            await rest.server_time()
        assert len(server.requests) == 4


async def test_an_expired_timestamp_measures_the_clock_and_asks_once_more() -> None:
    server_ms = CLOCK_MS + 90_000
    now_ms = CLOCK_MS

    async def measure() -> None:
        nonlocal now_ms
        now_ms = server_ms

    def respond(method: str, path: str, query: dict[str, str], body: bytes) -> Reply:
        stamp = int(server.requests[-1][4]["ACCESS-TIMESTAMP"])
        return success(PLACED) if abs(stamp - server_ms) < 30_000 else failure("40008")

    clock = {"now_ms": lambda: now_ms, "on_clock_refused": measure}
    async with rest_server(respond) as server, client(server.url, **clock) as rest:
        assert await rest.place_order(order(client_oid="c1"), "isolated") == "1"
        assert rest.http.counts.clock_refused == 1
    assert [path.rsplit("/", 1)[-1] for _, path, *_ in server.requests].count("place-order") == 2


async def test_settings_that_are_right_already_are_done() -> None:
    async with rest_server(lambda *_: failure("40814")) as server, client(server.url) as rest:
        await rest.set_leverage("SOLUSDT", 3)
    assert json.loads(server.requests[0][3]) == {
        "symbol": "SOLUSDT",
        "leverage": "3",
        "marginCoin": "USDT",
        "productType": "USDT-FUTURES",
    }


@pytest.mark.parametrize("code", ["40768", "22001", "43004"])
async def test_cancelling_what_is_gone_is_done(code: str) -> None:
    async with rest_server(lambda *_: failure(code)) as server, client(server.url) as rest:
        assert await rest.cancel_order(CancelOrder(client_oid="c1", symbol="SOLUSDT")) == ""


async def test_an_unknown_order_is_none_and_not_an_error() -> None:
    async with rest_server(lambda *_: failure("40109")) as server, client(server.url) as rest:
        assert await rest.order_detail("SOLUSDT", client_oid="c1") is None


async def test_a_private_call_without_a_key_says_so() -> None:
    async with rest_server(lambda *_: success({})) as server, client(server.url, credentials=None) as rest:
        with pytest.raises(ConfigError, match="API key"):
            await rest.positions()
        assert server.requests == []


async def test_no_error_shows_a_secret() -> None:
    secret = Credentials("key-1234567", "the-secret", "the-passphrase")
    for reply in ((200, None), failure("40009"), (502, b"")):
        async with rest_server(lambda *_, reply=reply: reply) as server, client(server.url, credentials=secret) as rest:
            with pytest.raises((Unavailable, AuthRefused)) as caught:
                await rest.positions()
            for text in (str(caught.value), repr(caught.value)):
                assert "the-secret" not in text
                assert "the-passphrase" not in text


async def test_after_a_burst_of_429s_only_what_is_urgent_goes_on() -> None:
    def respond(method: str, path: str, query: dict[str, str], body: bytes) -> Reply:
        if path.endswith("/detail"):
            return success(ORDER_ROW)
        return success(BATCH if method == "POST" else {"entrustedList": None})

    async with rest_server(respond) as server, client(server.url, limited=True) as rest:
        assert rest.http.budget is not None
        for name in ("place-order", "orders-history", "fills"):
            rest.http.budget.refused("/api/v2/mix/order/" + name, private=True, sent=monotonic())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(rest.open_orders(), 0.1)
        await asyncio.wait_for(rest.cancel_stop(CancelStop(client_oid="x", symbol="SOLUSDT")), 5)
        await asyncio.wait_for(rest.order_detail("SOLUSDT", client_oid="x", urgent=True), 5)
    assert [path.rsplit("/", 1)[-1] for _, path, *_ in server.requests] == [
        "orders-plan-pending", "cancel-plan-order", "detail"
    ]  # fmt: skip


# --- lists ----------------------------------------------------------------------------------------------------------


async def test_executions_are_paged_to_the_end_and_come_oldest_first() -> None:
    every = [
        {
            "tradeId": str(i),
            "orderId": str(i // 2),
            "symbol": "SOLUSDT",
            "side": "buy",
            "price": "150",
            "baseVolume": "1",
            "feeDetail": [{"feeCoin": "USDT", "totalFee": "-0.09", "totalDeductionFee": None, "deduction": "no"}],
            "profit": "0",
            "tradeScope": "maker",
            "cTime": str(1_000 + i),
        }
        for i in range(250)
    ]

    def respond(method: str, path: str, query: dict[str, str], body: bytes) -> Reply:
        before = int(query.get("idLessThan", "1000"))
        page = [row for row in reversed(every) if int(str(row["tradeId"])) < before][: int(query["limit"])]
        return success({"fillList": page or None, "endId": page[-1]["tradeId"] if page else None})

    async with rest_server(respond) as server, client(server.url) as rest:
        fills = await rest.fills("SOLUSDT", since_ms=1_010)
    assert [fill.trade_id for fill in fills] == [str(i) for i in range(10, 250)]
    assert fills[0].fee == Decimal("-0.09")
    assert fills[0].maker
    assert len(server.requests) == 3


@pytest.mark.parametrize(("call", "days"), [("fills", 7), ("bills", 30)])
async def test_a_long_absence_is_asked_for_in_the_windows_that_the_exchange_allows(call: str, days: int) -> None:
    day = 86_400_000
    now = CLOCK_MS
    async with rest_server(lambda *_: success({})) as server, client(server.url) as rest:
        if call == "fills":
            await rest.fills("SOLUSDT", now - 200 * day, now)
        else:
            await rest.bills(now - 200 * day, now)
    asked = [dict(parse_qsl(query)) for _, _, query, _, _ in server.requests]
    starts = [int(query["startTime"]) for query in asked]
    assert now - 90 * day < starts[0] <= now - 88 * day
    assert [int(query["endTime"]) for query in asked[:-1]] == starts[1:]
    assert all(later - earlier == days * day for earlier, later in itertools.pairwise(starts))
    assert "endTime" not in asked[-1]
    assert now - starts[-1] <= days * day


async def test_orders_of_before_the_exchange_s_reach_are_not_asked_for() -> None:
    now_ms = 200 * DAY_MS
    async with rest_server(lambda *_: success({"entrustedList": None})) as server, client(server.url) as rest:
        await rest.orders_history(since_ms=0, until_ms=now_ms)
        await rest.orders_history(since_ms=now_ms - DAY_MS, until_ms=now_ms)
        asked = [int(dict(parse_qsl(query))["startTime"]) for _, _, query, _, _ in server.requests]
    assert asked == [earliest_ms(now_ms), now_ms - DAY_MS]
    assert asked[0] > now_ms - 90 * DAY_MS


async def test_funding_and_transfers_are_told_from_other_bills() -> None:
    bills = [
        {"billId": "10", "symbol": "SOLUSDT", "amount": "3", "businessType": "buy", "cTime": "21"},
        {"billId": "9", "symbol": "SOLUSDT", "amount": "0.5", "businessType": "contract_settle_fee", "cTime": "20"},
        {"billId": "8", "symbol": "", "amount": "-11", "businessType": "trans_to_exchange", "cTime": "15"},
        {"billId": "7", "symbol": "SOLUSDT", "amount": "-0.0049", "businessType": "contract_settle_fee", "cTime": "10"},
    ]
    async with rest_server(lambda *_: success({"bills": bills, "endId": "7"})) as server, client(server.url) as rest:
        paid = await rest.bills(5)
    assert [(type(bill), bill.bill_id, bill.amount, bill.ts_exchange_ms) for bill in paid] == [
        (FundingPaid, "7", Decimal("-0.0049"), 10),
        (Transferred, "8", Decimal("-11"), 15),
        (FundingPaid, "9", Decimal("0.5"), 20),
    ]


async def test_a_contract_list_becomes_instruments() -> None:
    row = fixture("docs_samples")["contract__market__Get-All-Symbols-Contracts"]["examples"][1]["json"]["data"][0]
    others = [{**row, "symbol": "OLD", "symbolType": "delivery"}, {"symbol": "NEW", "symbolStatus": "listed"}]
    async with rest_server(lambda *_: success([row, *others])) as server, client(server.url) as rest:
        (btc,) = await rest.contracts()
    assert (btc.symbol, btc.tick, btc.lot) == ("BTCUSDT", Decimal("0.1"), Decimal("0.01"))


async def test_settings_may_be_numbers_or_texts() -> None:
    row = {
        "accountEquity": "1002.5",
        "crossedMaxAvailable": "980",
        "isolatedMaxAvailable": "970",
        "unrealizedPL": "",
        "crossedMarginLeverage": 20,
        "isolatedLongLever": "5",
        "isolatedShortLever": 7,
        "marginMode": "isolated",
        "posMode": "one_way_mode",
    }
    async with rest_server(lambda *_: success(row)) as server, client(server.url) as rest:
        settings, money = await rest.account("SOLUSDT")
    assert (settings.margin_mode, settings.position_mode, settings.leverage) == ("isolated", "one_way_mode", 7)
    assert (money.equity, money.available, money.balance) == (Decimal("1002.5"), Decimal(970), Decimal("1002.5"))


# --- odd rows -------------------------------------------------------------------------------------------------------

ORDER_ROW = {
    "symbol": "SOLUSDT",
    "orderId": "1",
    "clientOid": "c1",
    "side": "buy",
    "size": "1",
    "state": "live",
    "status": "live",
    "price": "150.10",
    "orderType": "limit",
    "cTime": "5",
    "uTime": "9",
}
FILL_ROW = {
    "tradeId": "1",
    "orderId": "1",
    "symbol": "SOLUSDT",
    "side": "buy",
    "price": "150",
    "baseVolume": "1",
    "profit": "0",
    "tradeScope": "taker",
    "cTime": "7",
}
STOP_ROW = {"orderId": "1", "planType": "pos_loss", "triggerPrice": "98", "symbol": "SOLUSDT", "planStatus": "live"}
BILL_ROW = {"billId": "1", "symbol": "SOLUSDT", "amount": "1", "businessType": "contract_settle_fee", "cTime": "5"}
POSITION_ROW = {"symbol": "SOLUSDT", "total": "1", "holdSide": "long", "openPriceAvg": "100", "cTime": "5"}


async def test_an_order_is_told_with_the_terms_it_was_placed_on() -> None:
    async with rest_server(lambda *_: success(ORDER_ROW)) as server, client(server.url) as rest:
        found = await rest.order_detail("SOLUSDT", client_oid="c1")
    assert found is not None
    assert (found.order_type, found.price, found.created_ms) == ("limit", Decimal("150.1"), 5)
    assert (found.update.client_oid, found.update.ts_exchange_ms) == ("c1", 9)


@pytest.mark.parametrize(
    ("call", "data"),
    [
        (lambda r: r.order_detail("SOLUSDT", client_oid="c1"), {**ORDER_ROW, "state": "triggered"}),
        (lambda r: r.open_orders(), {"entrustedList": [ORDER_ROW, {**ORDER_ROW, "orderId": "2", "side": "both"}]}),
        (lambda r: r.plan_orders(), {"entrustedList": [STOP_ROW, {**STOP_ROW, "orderId": "2", "triggerPrice": "?"}]}),
        (lambda r: r.positions(), [POSITION_ROW, {**POSITION_ROW, "symbol": "BTCUSDT", "total": "?"}]),
        (lambda r: r.ticker("SOLUSDT"), [{"symbol": "SOLUSDT", "lastPr": "?"}]),
        (lambda r: r.account("SOLUSDT"), {"accountEquity": "?"}),
    ],
)
async def test_what_cannot_be_read_of_the_present_state_is_no_answer_at_all(call: Any, data: Any) -> None:
    async with rest_server(lambda *_: success(data)) as server, client(server.url) as rest:
        with pytest.raises(Unavailable, match="unreadable") as caught:
            await call(rest)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "data"),
    [
        (lambda r: r.fills(), {"fillList": [FILL_ROW, {**FILL_ROW, "tradeId": "2", "side": "both"}]}),
        (lambda r: r.bills(0), {"bills": [BILL_ROW, {**BILL_ROW, "billId": "2", "amount": "?"}]}),
        (
            lambda r: r.orders_history(),
            {"entrustedList": [ORDER_ROW, {**ORDER_ROW, "orderId": "2", "state": "triggered"}]},
        ),
    ],
)
async def test_an_odd_row_of_the_past_is_left_out_counted_and_said(
    call: Any, data: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with rest_server(lambda *_: success(data)) as server, client(server.url) as rest:
        assert len(await call(rest)) == 1
        assert rest.unreadable == 1
    assert "left out (2)" in caplog.text


async def test_an_odd_contract_does_not_hide_the_others() -> None:
    row = fixture("docs_samples")["contract__market__Get-All-Symbols-Contracts"]["examples"][1]["json"]["data"][0]
    odd = {**row, "symbol": "ODDUSDT", "pricePlace": "x"}
    async with rest_server(lambda *_: success([odd, row])) as server, client(server.url) as rest:
        assert [i.symbol for i in await rest.contracts()] == ["BTCUSDT"]
        assert rest.unreadable == 1
