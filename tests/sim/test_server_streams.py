"""WebSocket channels of the embedded exchange over real sockets."""

from __future__ import annotations

import json
from typing import Any

from tests.sim.clients import PRODUCT, Bench, LocalBook, Paced, Stream, bench
from tests.sim.walk import BASE_MS, START_MS, WalkSource
from tradebot.sim.channels import book_checksum


async def _run(b: Bench, paced: Paced, stream: Stream, steps: int) -> list[dict[str, Any]]:
    """Make steps; returns every push of ``stream`` that they caused."""
    pushes: list[dict[str, Any]] = []
    for _ in range(steps):
        step = await paced.step()
        pushes += await stream.until(step["counts"][stream.conn_id])
    return pushes


async def _listen(b: Bench, *channels: str) -> tuple[Paced, Stream, dict[str, dict[str, Any]]]:
    """A paced client and a public stream with its first pushes by channel."""
    paced = await b.paced()
    await paced.attach()
    stream = await b.stream()
    await stream.subscribe(*channels)
    first: dict[str, dict[str, Any]] = {}
    for channel in channels:
        ack = await stream.next()
        assert (ack["event"], ack["arg"]["channel"]) == ("subscribe", channel)
        first[channel] = await stream.next()
        assert first[channel]["arg"] == ack["arg"] == {"instType": PRODUCT, "channel": channel, "instId": "SOLUSDT"}
    return paced, stream, first


def _of(pushes: list[dict[str, Any]], channel: str) -> list[dict[str, Any]]:
    return [push for push in pushes if push["arg"]["channel"] == channel]


# --- books ----------------------------------------------------------------------------------------------------------


def test_the_checksum_is_that_of_the_documented_examples() -> None:
    bids = [("150.120", "12.5"), ("150.119", "3.0"), ("150.110", "0.8")]
    asks = [("150.121", "7.1"), ("150.125", "20.0")]
    assert book_checksum(bids, asks) == 1785725784
    assert book_checksum([("3366.1", "7")], [("3366.8", "9"), ("3368", "8"), ("3372", "8")]) == 831078360
    deep_bids = [(f"{150 - i / 1000:.3f}", f"{i % 9 + 1}.0") for i in range(30)]
    deep_asks = [(f"{150.001 + i / 1000:.3f}", f"{i % 7 + 1}.5") for i in range(30)]
    assert book_checksum(deep_bids, deep_asks) == -1902339326


async def test_books_rebuilt_from_deltas_have_the_right_sequence_and_checksum_and_equal_rest() -> None:
    async with bench([WalkSource(spread=6)]) as b:
        paced, stream, first = await _listen(b, "books")
        book = LocalBook()
        book.take(first["books"])
        for push in await _run(b, paced, stream, 80):
            book.take(push)
        assert book.updates == 80
        depth = await b.rest.public("merge-depth", symbol="SOLUSDT", limit="max")
        bids, asks = book.sorted()
        assert [[float(price), float(size)] for price, size in bids] == depth["bids"]
        assert [[float(price), float(size)] for price, size in asks] == depth["asks"]


async def test_our_resting_order_and_what_we_take_show_in_the_book() -> None:
    async with bench([WalkSource()]) as b:
        paced, stream, first = await _listen(b, "books")
        book = LocalBook()
        book.take(first["books"])
        depth = await b.rest.public("merge-depth", symbol="SOLUSDT", limit=5)
        best_ask, best_size = depth["asks"][0]
        await b.rest.order("buy", f"{best_size:.1f}", clientOid="take-the-best")
        await b.rest.order("buy", "7", price="148.5", clientOid="rest")
        for push in await _run(b, paced, stream, 2):
            book.take(push)
        bids, asks = book.sorted()
        assert ["148.5", "7"] in bids
        assert float(asks[0][0]) > best_ask
        assert book.updates == 2


async def test_a_book_that_did_not_change_is_not_pushed() -> None:
    async with bench([WalkSource()]) as b:
        paced, stream, _ = await _listen(b, "books", "books1", "books5", "trade", "ticker", "candle5m")
        step = await paced.step(wake=START_MS + 1000)
        assert step["t"] == START_MS + 1000
        assert step["counts"][stream.conn_id] == len(stream.frames)


async def test_shallow_books_are_whole_snapshots_of_the_best_levels() -> None:
    async with bench([WalkSource()]) as b:
        paced, stream, first = await _listen(b, "books", "books1", "books5", "books15", "books50")
        book = LocalBook()
        book.take(first["books"])
        for _ in range(10):
            by_channel = {push["arg"]["channel"]: push for push in await _run(b, paced, stream, 1)}
            book.take(by_channel["books"])
            bids, asks = book.sorted()
            for channel, levels in (("books1", 1), ("books5", 5), ("books15", 15), ("books50", 50)):
                push = by_channel[channel]
                row = push["data"][0]
                assert (push["action"], row["pseq"]) == ("snapshot", 0)
                assert (row["bids"], row["asks"]) == (bids[:levels], asks[:levels])


async def test_book_pushes_carry_a_checksum_or_a_sequence_as_asked() -> None:
    async with bench([WalkSource()], book_frames="checksum") as b:
        paced, stream, first = await _listen(b, "books", "books5")
        assert all(set(push["data"][0]) == {"asks", "bids", "checksum", "ts"} for push in first.values())
        assert first["books"]["data"][0]["checksum"] == 0
        bids, asks = dict(first["books"]["data"][0]["bids"]), dict(first["books"]["data"][0]["asks"])
        for push in _of(await _run(b, paced, stream, 10), "books"):
            row = push["data"][0]
            assert set(row) == {"asks", "bids", "checksum", "ts"}
            for side, changes in ((bids, row["bids"]), (asks, row["asks"])):
                side.update(changes)
                for price in [price for price, size in side.items() if size == "0"]:
                    del side[price]
            best_bids = sorted(bids.items(), key=lambda level: -float(level[0]))
            assert book_checksum(best_bids, sorted(asks.items(), key=lambda level: float(level[0]))) == row["checksum"]
    async with bench([WalkSource()], book_frames="sequence") as b:
        paced, stream, first = await _listen(b, "books", "books5")
        last = first["books"]["data"][0]["seq"]
        for push in await _run(b, paced, stream, 10):
            row = push["data"][0]
            assert set(row) == {"asks", "bids", "pseq", "seq", "ts"}
            if push["arg"]["channel"] == "books":
                assert row["pseq"] == last
                last = row["seq"]
            else:
                assert row["pseq"] == 0


async def test_a_second_subscription_is_acknowledged_with_a_fresh_snapshot_and_the_chain_goes_on() -> None:
    async with bench([WalkSource()]) as b:
        paced, stream, first = await _listen(b, "books")
        book = LocalBook()
        book.take(first["books"])
        for push in await _run(b, paced, stream, 3):
            book.take(push)
        await stream.subscribe("books")
        assert (await stream.next())["event"] == "subscribe"
        again = LocalBook()
        again.take(await stream.next())
        assert again.sorted() == book.sorted()
        for push in await _run(b, paced, stream, 3):
            again.take(push)
        assert again.updates == 3


async def test_unsubscribing_ends_the_pushes_of_that_channel_only() -> None:
    async with bench([WalkSource()]) as b:
        paced, stream, _ = await _listen(b, "books", "trade")
        arg = {"instType": PRODUCT, "channel": "books", "instId": "SOLUSDT"}
        await stream.send({"op": "unsubscribe", "args": [arg]})
        answer = await stream.next()
        assert (answer["event"], answer["arg"]) == ("unsubscribe", arg)
        pushes = await _run(b, paced, stream, 3)
        assert {push["arg"]["channel"] for push in pushes} == {"trade"}


async def test_every_subscriber_gets_the_same_bytes() -> None:
    async with bench([WalkSource()]) as b:
        paced, one, _ = await _listen(b, "books", "ticker")
        other = await b.stream()
        await other.subscribe("books", "ticker")
        await other.until(4)
        for _ in range(5):
            counts = (await paced.step())["counts"]
            await one.until(counts[one.conn_id])
            await other.until(counts[other.conn_id])
        assert one.frames[-10:] == other.frames[-10:]


# --- trades, ticker, candles ----------------------------------------------------------------------------------------


async def test_candle_pushes_end_on_the_candles_that_rest_serves() -> None:
    source = WalkSource(steps=80)
    async with bench([source]) as b:
        paced, stream, first = await _listen(b, "candle5m", "candle1H")
        rows: dict[str, dict[str, list[str]]] = {"candle5m": {}, "candle1H": {}}
        pushes = [first["candle5m"], first["candle1H"], *await _run(b, paced, stream, 75)]
        for push in pushes:
            for row in push["data"]:
                rows[push["arg"]["channel"]][row[0]] = row
        assert len(first["candle5m"]["data"]) == 501
        now = b.server.exchange.now_ms
        for channel, granularity in (("candle5m", "5m"), ("candle1H", "1H")):
            served = await b.rest.public("candles", symbol="SOLUSDT", granularity=granularity, limit=1000)
            kept = [row for row in served if row[0] in rows[channel]]
            assert len(kept) == len(rows[channel])
            assert [rows[channel][row[0]][:7] for row in kept] == kept
        recorded = source.candles("5m", START_MS, now, now)
        assert [float(rows["candle5m"][str(c.open_time_ms)][5]) for c in recorded] == [c.volume for c in recorded]
        starts = [int(row[0]) for push in _of(pushes[2:], "candle5m") for row in push["data"]]
        assert starts == sorted(starts)
        assert set(starts) == set(range(START_MS, now + 1, BASE_MS))


async def test_trades_come_newest_first_and_never_twice() -> None:
    async with bench([WalkSource()]) as b:
        paced, stream, first = await _listen(b, "trade")
        ids = [row["tradeId"] for row in reversed(first["trade"]["data"])]
        for push in await _run(b, paced, stream, 20):
            assert push["action"] == "update"
            assert set(push["data"][0]) == {"ts", "price", "size", "side", "tradeId"}
            ids += [row["tradeId"] for row in reversed(push["data"])]
        assert ids == sorted(set(ids), key=int)
        assert len(ids) == 21


async def test_ticker_pushes_are_snapshots_with_the_recorded_members_at_most_every_300_ms() -> None:
    members = (
        "instId lastPr bidPr askPr bidSz askSz open24h high24h low24h change24h fundingRate nextFundingTime markPrice "
        "indexPrice holdingAmount baseVolume quoteVolume openUtc symbolType symbol ts"
    )
    async with bench([WalkSource()]) as b:
        paced, stream, first = await _listen(b, "ticker")
        assert set(first["ticker"]["data"][0]) == set(members.split())
        at_ms = (await paced.step())["t"]
        (push,) = await stream.until(len(stream.frames) + 1)
        assert push["action"] == "snapshot"
        await b.rest.order("buy", "1", price="149.9", clientOid="soon")
        step = await paced.step()
        assert step["t"] - at_ms < 300
        assert step["counts"][stream.conn_id] == len(stream.frames)
        assert [push["action"] for push in await _run(b, paced, stream, 5)] == ["snapshot"] * 5


# --- talking to the server ------------------------------------------------------------------------------------------


async def test_a_bad_arg_gives_one_error_event_and_the_connection_lives_on() -> None:
    async with bench([WalkSource()]) as b:
        stream = await b.stream()
        bad: list[Any] = [
            {"instType": PRODUCT, "channel": "nosuch", "instId": "SOLUSDT"},
            {"instType": PRODUCT, "channel": "books", "instId": "NOSUCHUSDT"},
            {"instType": "SPOT", "channel": "books", "instId": "SOLUSDT"},
            {"instType": PRODUCT, "channel": "orders", "instId": "default"},
        ]
        good = {"instType": PRODUCT, "channel": "books1", "instId": "SOLUSDT"}
        await stream.send({"op": "subscribe", "args": [*bad, good]})
        for arg in bad:
            error = await stream.next()
            assert (error["event"], error["code"], error["arg"], error["op"]) == ("error", 30001, arg, "subscribe")
            assert error["msg"].endswith("doesn't exist")
        assert (await stream.next())["event"] == "subscribe"
        assert (await stream.next())["action"] == "snapshot"
        for nonsense in ("{", '{"op":"dance"}', "[]"):
            await stream.send(nonsense)
            assert (await stream.next())["code"] == 30003
        await stream.send("ping")
        assert await stream.next() == "pong"


async def test_logins_in_seconds_and_milliseconds_are_accepted_and_wrong_ones_end_the_connection() -> None:
    async with bench([WalkSource()]) as b:
        stream = await b.stream("private")
        await stream.send(
            {"op": "subscribe", "args": [{"instType": PRODUCT, "channel": "orders", "instId": "default"}]}
        )
        assert (await stream.next())["code"] == 30004
        for stamp in (START_MS // 1000, START_MS):
            answer = await stream.login(stamp)
            assert (answer["event"], answer["code"]) == ("login", 0)
            assert answer["connId"] == stream.conn_id
        late = await b.stream("private")
        assert (await late.login(START_MS - 60_000))["code"] == 30014
        assert await late.next() is None
        for field, value, code in (("apiKey", "x", 30011), ("passphrase", "x", 30012), ("sign", "x", 30015)):
            stream = await b.stream("private")
            arg = {
                "apiKey": "demo-key",
                "passphrase": "demo-pass",
                "timestamp": str(START_MS),
                "sign": "",
                field: value,
            }
            await stream.send({"op": "login", "args": [arg]})
            assert (await stream.next())["code"] == code
            assert await stream.next() is None


async def test_private_channels_accept_coin_for_inst_id_and_filter_by_symbol() -> None:
    async with bench([WalkSource("SOLUSDT"), WalkSource("BTCUSDT")]) as b:
        paced = await b.paced()
        await paced.attach()
        stream = await b.private_stream()
        args = [
            {"instType": PRODUCT, "channel": "positions", "coin": "default"},
            {"instType": PRODUCT, "channel": "orders", "instId": "BTCUSDT"},
        ]
        await stream.send({"op": "subscribe", "args": args})
        first = [await stream.next() for _ in range(3)]
        assert first[1]["arg"] == args[0]
        assert first[1]["data"] == []
        await b.rest.order("buy", "1", clientOid="sol")
        pushes = await _run(b, paced, stream, 1)
        assert {push["arg"]["channel"] for push in pushes} == {"positions"}
        assert pushes[-1]["data"][0]["instId"] == "SOLUSDT"


# --- the private story of an order ----------------------------------------------------------------------------------


async def test_a_market_order_is_told_as_orders_fill_positions_account() -> None:
    async with bench([WalkSource()]) as b:
        paced = await b.paced()
        await paced.attach()
        stream = await b.private_stream("orders", "fill", "positions", "account")
        order_id = await b.rest.order("buy", "1", clientOid="story")
        pushes = await _run(b, paced, stream, 1)
        told = [push["arg"]["channel"] for push in pushes]
        filled = next(i for i, push in enumerate(pushes) if push["data"] and push["data"][0].get("status") == "filled")
        assert told[filled : filled + 4] == ["orders", "fill", "positions", "account"]
        assert all(push["action"] == "snapshot" for push in pushes)
        live, done = (push["data"][0] for push in _of(pushes, "orders"))
        assert (live["status"], live["accBaseVolume"], live["price"], live["reduceOnly"]) == ("live", "0", "0", "no")
        assert "tradeId" not in live
        assert "priceAvg" not in live
        assert (done["orderId"], done["clientOid"], done["accBaseVolume"]) == (order_id, "story", "1")
        fill = pushes[filled + 1]["data"][0]
        assert (fill["tradeId"], fill["clientOid"], fill["tradeScope"]) == (done["tradeId"], "story", "taker")
        assert float(fill["feeDetail"][0]["totalFee"]) < 0
        position = pushes[filled + 2]["data"][0]
        assert (position["holdSide"], position["total"], position["leverage"]) == ("long", "1", 10)
        await b.rest.order("sell", "1", clientOid="back", reduceOnly="YES")
        pushes = await _run(b, paced, stream, 1)
        assert _of(pushes, "positions")[-1]["data"] == []


async def test_private_rows_have_the_members_of_recorded_traffic() -> None:
    order = (
        "accBaseVolume baseVolume cTime cancelReason clientOid enterPointSource feeDetail fillFee fillFeeCoin "
        "fillNotionalUsd fillPrice fillTime force instId leverage marginCoin marginMode notionalUsd orderId orderType "
        "pnl posMode posSide presetStopLossExecutePrice presetStopLossType presetStopSurplusExecutePrice "
        "presetStopSurplusType price priceAvg reduceOnly side size status stpMode totalProfits tradeId tradeScope "
        "tradeSide uTime"
    )
    fill = (
        "orderId tradeId symbol orderType side price baseVolume quoteVolume profit tradeSide posMode tradeScope "
        "feeDetail cTime uTime clientOid"
    )
    position = (
        "posId instId marginCoin marginSize marginMode holdSide posMode total available frozen openPriceAvg leverage "
        "achievedProfits unrealizedPL unrealizedPLR liquidationPrice keepMarginRate marginRate breakEvenPrice totalFee "
        "deductedFee markPrice assetMode autoMargin cTime uTime"
    )
    account = (
        "marginCoin frozen available maxOpenPosAvailable maxTransferOut equity usdtEquity crossedRiskRate unrealizedPL "
        "unionTotalMargin unionAvailable unionMm assetsMode"
    )
    async with bench([WalkSource()]) as b:
        paced = await b.paced()
        await paced.attach()
        stream = await b.private_stream("orders", "fill", "positions", "account")
        await b.rest.order("buy", "1", clientOid="rows")
        pushes = await _run(b, paced, stream, 1)
        allowed = {"orders": {"presetStopLossPrice", "presetStopSurplusPrice"}}
        for channel, members in (("orders", order), ("fill", fill), ("positions", position), ("account", account)):
            row = _of(pushes, channel)[-1]["data"][0]
            assert set(row) - allowed.get(channel, set()) == set(members.split()), channel


async def test_a_preset_stop_becomes_a_plan_at_the_fill_and_fires_at_its_trigger() -> None:
    async with bench([WalkSource(steps=400)]) as b:
        paced = await b.paced()
        await paced.attach()
        stream = await b.private_stream("orders", "orders-algo", "positions-history")
        mark = float((await b.rest.public("symbol-price", symbol="SOLUSDT"))[0]["markPrice"])
        await b.rest.order("buy", "1", clientOid="guarded", presetStopLossPrice=f"{mark - 0.05:.3f}")
        pushes = await _run(b, paced, stream, 3)
        (live,) = [push["data"][0] for push in _of(pushes, "orders-algo")]
        assert (live["planType"], live["status"], live["stopLossTriggerPrice"]) == ("sl", "live", f"{mark - 0.05:.3f}")
        for _ in range(390):
            pushes = await _run(b, paced, stream, 1)
            if _of(pushes, "orders-algo"):
                break
        states = [push["data"][0]["status"] for push in _of(pushes, "orders-algo")]
        assert states == ["executing", "executed"]
        closing = _of(pushes, "orders")[-1]["data"][0]
        assert (closing["status"], closing["reduceOnly"], closing["side"]) == ("filled", "yes", "sell")
        history = _of(pushes, "positions-history")[0]["data"][0]
        assert (history["holdSide"], history["closeSize"]) == ("long", "1")
        members = (
            "posId instId marginCoin marginMode holdSide posMode openPriceAvg closePriceAvg openSize closeSize "
            "achievedProfits settleFee openFee closeFee cTime uTime"
        )
        assert set(history) == set(members.split())


async def test_a_book_subscribed_to_again_still_comes_before_the_candle_that_closed_on_it() -> None:
    async with bench([WalkSource()]) as b:
        paced, stream, _ = await _listen(b, "candle5m", "books", "trade", "ticker")
        arg = {"instType": PRODUCT, "channel": "books", "instId": "SOLUSDT"}
        await stream.send({"op": "unsubscribe", "args": [arg]})
        assert (await stream.next())["event"] == "unsubscribe"
        await stream.subscribe("books")
        assert (await stream.next())["event"] == "subscribe"
        assert (await stream.next())["action"] == "snapshot"
        for _ in range(12):
            told = [push["arg"]["channel"] for push in await _run(b, paced, stream, 1)]
            assert told == [name for name in ("books", "trade", "ticker", "candle5m") if name in told]
            assert {"books", "candle5m"} <= set(told)


async def test_a_paced_client_is_told_the_counts_of_connections_it_can_wait_for() -> None:
    async with bench([WalkSource()]) as b:
        paced = await b.paced()
        assert (await paced.attach())["counts"] == {}
        stream = await b.stream()
        await stream.send("ping")
        assert await stream.next() == "pong"
        assert (await paced.step())["counts"] == {}, "the client does not know the connection's name yet"
        await stream.subscribe("books")
        assert (await stream.next())["event"] == "subscribe"
        assert list((await paced.step())["counts"]) == [stream.conn_id]
        b.server.exchange.hub.connections[0].abort()
        assert (await paced.step())["counts"] == {}, "what is sent now does not arrive"


async def test_two_runs_send_the_same_bytes() -> None:
    async def run() -> list[str]:
        async with bench([WalkSource(steps=60, seed=7)]) as b:
            paced, public, _ = await _listen(b, "books", "trade", "candle5m", "ticker")
            private = await b.private_stream("orders", "fill", "positions", "account", "orders-algo")
            answers: list[str] = []
            for i in range(40):
                counts = (await paced.step())["counts"]
                await public.until(counts[public.conn_id])
                await private.until(counts[private.conn_id])
                if i in (3, 9, 20):
                    side = "sell" if i == 9 else "buy"
                    await b.rest.order(side, "2", clientOid=f"run-{i}")
                    await b.rest.order("buy", "1", price="148.9", clientOid=f"rest-{i}")
                answers.append(json.dumps(b.rest.last))
            return public.frames + private.frames + answers

    assert await run() == await run()
