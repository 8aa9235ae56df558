from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest

from tests.exchange.samples import wire
from tests.exchange.servers import Recorder, books
from tests.shared import shared_path
from tradebot.exchange.bitget.feed import Feed, Trouble
from tradebot.exchange.bitget.keeper import ORPHANS, BookKeeper
from tradebot.exchange.bitget.messages import decode_push
from tradebot.market.book import OrderBook

SYMBOLS = ("SOLUSDT", "BTCUSDT")


class Bench:
    def __init__(self) -> None:
        self.heard = Recorder()
        self.now_ms = 1_000
        self.resynced: list[str] = []
        self.channels: list[str] = []
        self.feed = Feed(self.heard, SYMBOLS, self._resync, now_ms=lambda: self.now_ms)

    def _resync(self, channel: str, symbol: str) -> None:
        self.channels.append(channel)
        self.resynced.append(symbol)

    def take(self, *messages: dict[str, Any]) -> None:
        for message in messages:
            self.feed.process(wire(message))


def snapshot(seq: int = 10, symbol: str = "SOLUSDT", bid: str = "99") -> dict[str, Any]:
    return books("snapshot", symbol, bid, "101", seq=seq, ts=5)


def update(pseq: int, seq: int, symbol: str = "SOLUSDT", bid: str = "99.5", **more: Any) -> dict[str, Any]:
    message = books("update", symbol, bid, "101", seq=seq, pseq=pseq, ts=6)
    message["data"][0] |= more
    return message


def test_a_book_that_follows_its_chain_is_told_with_its_time() -> None:
    bench = Bench()
    bench.take(snapshot(10), update(10, 12), update(12, 13, bid="99.7"))
    assert bench.heard.books == [
        ("SOLUSDT", (99.0, 101.0), 5),
        ("SOLUSDT", (99.5, 101.0), 6),
        ("SOLUSDT", (99.7, 101.0), 6),
    ]
    assert bench.heard.feed == [("SOLUSDT", True, "")]
    assert bench.resynced == []


def test_updates_older_than_the_snapshot_are_passed_over() -> None:
    bench = Bench()
    bench.take(snapshot(10), update(7, 8), update(9, 10), update(9, 11), update(11, 12))
    assert len(bench.heard.books) == 3
    assert bench.feed.sound("SOLUSDT")


def test_updates_that_keep_coming_without_a_snapshot_ask_for_it() -> None:
    bench = Bench()
    bench.take(snapshot(10), update(12, 13))
    assert bench.resynced == ["SOLUSDT"]
    bench.take(*(update(seq, seq + 1) for seq in range(13, 13 + ORPHANS - 1)))
    assert bench.resynced == ["SOLUSDT"], "these may have been on their way"
    bench.take(update(30, 31))
    assert bench.resynced == ["SOLUSDT", "SOLUSDT"]
    assert bench.heard.feed[-1] == ("SOLUSDT", False, "the snapshot was missed")
    bench.take(snapshot(40), *(update(seq, seq + 1) for seq in range(40, 60)))
    assert bench.feed.sound("SOLUSDT")
    assert bench.resynced == ["SOLUSDT", "SOLUSDT"]
    assert bench.feed.resyncs_by_kind == {"gap": 1, "missed": 1}


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([update(10, 11), update(12, 13)], "gap: sequence 11, then 12"),
        ([update(12, 13)], "gap after the snapshot: sequence 10, then 12"),
        ([update(10, 11), update(0, 12)], "sequence numbering was reset"),
        ([update(10, 11, checksum=12345)], "checksum mismatch"),
        ([update(10, 11, bid="101.5")], "crossed book"),
    ],
)
def test_a_book_that_cannot_be_right_stops_and_asks_for_a_snapshot(messages: list[dict[str, Any]], reason: str) -> None:
    bench = Bench()
    bench.take(snapshot(10), *messages)
    assert bench.heard.feed[-1] == ("SOLUSDT", False, reason)
    assert bench.resynced == ["SOLUSDT"]
    told = len(bench.heard.books)
    bench.take(update(13, 14), update(14, 15))
    assert len(bench.heard.books) == told
    assert bench.resynced == ["SOLUSDT"]
    bench.take(snapshot(50), update(50, 51))
    assert bench.heard.feed[-1] == ("SOLUSDT", True, "")
    assert len(bench.heard.books) == told + 2


def test_a_gap_stops_that_symbol_only() -> None:
    bench = Bench()
    bench.take(snapshot(10), snapshot(20, "BTCUSDT"), update(11, 12), update(20, 21, "BTCUSDT"))
    assert not bench.feed.sound("SOLUSDT")
    assert bench.feed.sound("BTCUSDT")
    assert bench.heard.books[-1][0] == "BTCUSDT"


def test_a_locked_book_is_accepted() -> None:
    bench = Bench()
    bench.take(snapshot(10), update(10, 11, bid="101"))
    assert bench.heard.books[-1][1] == (101.0, 101.0)


def test_a_snapshot_without_a_subscription_is_a_fresh_start() -> None:
    bench = Bench()
    bench.take(snapshot(10), update(10, 11), snapshot(5, bid="98"), update(5, 6, bid="98.5"))
    assert [best for _, best, _ in bench.heard.books] == [(99.0, 101.0), (99.5, 101.0), (98.0, 101.0), (98.5, 101.0)]


def test_a_book_message_that_cannot_be_read_breaks_that_book() -> None:
    bench = Bench()
    bench.take(snapshot(10), snapshot(20, "BTCUSDT"))
    broken = update(10, 11)
    broken["data"][0]["bids"] = [["99.5"]]
    bench.take(broken)
    assert bench.heard.feed[-1] == ("SOLUSDT", False, "unreadable message")
    assert bench.resynced == ["SOLUSDT"]
    assert bench.feed.unreadable == 1
    assert bench.feed.sound("BTCUSDT")


def test_a_price_that_is_no_number_breaks_that_book() -> None:
    bench = Bench()
    bench.take(snapshot(10), update(10, 11, bid="nan"))
    assert bench.heard.feed[-1] == ("SOLUSDT", False, "unreadable message")


@pytest.mark.parametrize("channel", ["trade", "ticker", "candle5m"])
def test_a_message_of_another_channel_that_cannot_be_read_is_told_as_missed_and_that_channel_asked_for_again(
    channel: str,
) -> None:
    bench = Bench()
    bench.take(snapshot(10), snapshot(20, "BTCUSDT"))
    bench.now_ms = 5_000
    bench.feed.acknowledged(channel, "SOLUSDT")
    bench.now_ms = 9_000
    arg = {"instType": "USDT-FUTURES", "channel": channel, "instId": "SOLUSDT"}
    bench.feed.process(wire({"action": "update", "arg": arg, "data": [{"odd": 1}]}))
    bench.feed.process(wire({"action": "update", "arg": arg, "data": []})[:-9])
    assert bench.heard.missed == [(channel, "SOLUSDT", 5_000)] * 2
    assert list(zip(bench.channels, bench.resynced, strict=True)) == [(channel, "SOLUSDT")] * 2
    assert bench.feed.unreadable_by_channel == {channel: 2}
    assert bench.feed.sound("SOLUSDT"), "the book is as good as before"
    assert len(bench.heard.feed) == 2


def test_trades_that_could_not_be_read_are_taken_from_the_next_snapshot() -> None:
    bench = Bench()
    odd = trade("update", 6)
    odd["data"][0]["price"] = "odd"
    bench.take(trade("snapshot", 5), odd, trade("snapshot", 6, 5), trade("update", 7))
    assert [row.ts_ms for _, row in bench.heard.trades] == [6, 7]


def test_a_bad_feed_tells_its_cause_and_since_when_what_is_missing_was_not_heard() -> None:
    bench = Bench()
    bench.take(snapshot(10), snapshot(20, "BTCUSDT"))
    bench.now_ms = 2_000
    bench.take(update(10, 11))
    bench.now_ms = 3_000
    bench.take(trade("snapshot", 5))
    bench.now_ms = 9_000
    bench.take(update(50, 51))
    bench.feed.disconnected(SYMBOLS)
    bench.take(snapshot(60))
    told = [(symbol, ok, *cause) for (symbol, ok, _), cause in zip(bench.heard.feed, bench.heard.causes, strict=True)]
    assert told == [
        ("SOLUSDT", True, "", 0),
        ("BTCUSDT", True, "", 0),
        ("SOLUSDT", False, "book", 2_000),
        ("SOLUSDT", False, "line", 3_000),
        ("BTCUSDT", False, "line", 3_000),
        ("SOLUSDT", True, "", 0),
    ]


def test_of_several_troubles_the_one_of_which_most_is_missing_is_told() -> None:
    bench = Bench()
    bench.take(snapshot(10))
    for name, cause in (("behind", "behind"), ("book", "book"), ("silence:books", "silence"), ("late", "behind")):
        bench.feed.blame("SOLUSDT", name, Trouble(cause, name, 7))  # type: ignore[arg-type]
    for name in ("silence:books", "book", "behind"):
        bench.feed.clear("SOLUSDT", name)
    causes = [cause for cause, _ in bench.heard.causes]
    assert causes == ["", "behind", "book", "silence", "book", "behind", "behind"]


def test_a_lost_connection_stops_its_symbols_until_a_snapshot() -> None:
    bench = Bench()
    bench.take(snapshot(10), snapshot(20, "BTCUSDT"))
    bench.feed.disconnected(["SOLUSDT"])
    bench.take(update(10, 11), update(20, 21, "BTCUSDT"))
    assert bench.heard.feed[-1] == ("SOLUSDT", False, "disconnected")
    assert [symbol for symbol, _, _ in bench.heard.books] == ["SOLUSDT", "BTCUSDT", "BTCUSDT"]


def trade(action: str, *ids: int) -> dict[str, Any]:
    rows = [{"ts": str(i), "price": "1", "size": "2", "side": "buy", "tradeId": str(i)} for i in ids]
    return {
        "action": action,
        "arg": {"instType": "USDT-FUTURES", "channel": "trade", "instId": "SOLUSDT"},
        "data": rows,
    }


def test_trades_are_told_once_in_order_and_what_came_before_is_history() -> None:
    bench = Bench()
    bench.take(trade("snapshot", 5, 4, 3), trade("update", 6), trade("update", 8, 7), trade("update", 8))
    bench.take(trade("snapshot", 11, 10, 9, 8, 7), trade("update", 12))
    assert [row.ts_ms for _, row in bench.heard.trades] == [6, 7, 8, 9, 10, 11, 12]


@pytest.mark.parametrize(
    ("channel", "row"),
    [
        ("books", {"asks": [["2", "1"]], "bids": [["1", "1"]], "ts": "1", "seq": 5}),
        ("trade", {"ts": "1", "price": "1", "size": "1", "side": "buy", "tradeId": "5"}),
        ("ticker", {"instId": "XRPUSDT", "lastPr": "1", "markPrice": "1", "indexPrice": "1", "ts": "1"}),
        ("candle5m", ["1760000100000", "1", "1", "1", "1", "1", "1", "1"]),
    ],
)
def test_what_comes_of_an_instrument_that_was_not_subscribed_is_counted_and_reaches_nobody(
    channel: str, row: Any
) -> None:
    bench = Bench()
    for action in ("snapshot", "update"):
        arg = {"instType": "USDT-FUTURES", "channel": channel, "instId": "XRPUSDT"}
        bench.take({"action": action, "arg": arg, "data": [row], "ts": 1})
    assert (bench.feed.strays, bench.feed.unreadable) == ({channel: 2}, 0)
    heard = bench.heard
    assert heard.books == heard.trades == heard.tickers == heard.candles == heard.feed == heard.missed == []


def test_a_ticker_row_of_another_instrument_than_its_message_is_passed_over_and_the_others_are_told() -> None:
    bench = Bench()
    rows = [{"instId": name, "lastPr": "1", "markPrice": "1", "indexPrice": "1", "ts": "1"} for name in (*SYMBOLS, "X")]
    arg = {"instType": "USDT-FUTURES", "channel": "ticker", "instId": "SOLUSDT"}
    bench.take({"action": "snapshot", "arg": arg, "data": rows, "ts": 1})
    assert [event.symbol for event in bench.heard.tickers] == ["SOLUSDT"]
    assert bench.feed.strays == {"ticker": 2}


def test_acks_pongs_and_unknown_channels_are_passed_over() -> None:
    bench = Bench()
    bench.feed.process(b"pong")
    bench.take({"event": "subscribe", "arg": {"channel": "books"}}, {"arg": {"channel": "equity"}, "data": [{}]})
    assert (bench.feed.frames, bench.feed.unreadable) == (1, 0)


def test_every_checksum_recorded_from_the_exchange_is_met() -> None:
    """637 ``books`` messages of ten symbols, 627 of them updates with a checksum (and no sequence numbers)."""
    keepers: dict[str, BookKeeper] = {}
    checked = 0
    with gzip.open(shared_path("data/market/raw/bitget_v1_20220407.jsonl.gz")) as file:
        for line in file:
            message = json.loads(line)
            if message["t"] != "recv" or '"channel":"books"' not in message["data"] or '"event"' in message["data"]:
                continue
            push = decode_push(message["data"].encode())
            assert push is not None
            keeper = keepers.setdefault(push.arg.instType + push.arg.instId, BookKeeper())
            for row in push.data:
                if push.action == "snapshot":
                    assert keeper.snapshot(row) == ""
                    assert keeper.book.matches(row.checksum)
                else:
                    assert keeper.update(row) == ""
                    checked += bool(row.checksum)
    assert (checked, len(keepers)) == (627, 10)


def test_the_checksum_proves_more_than_the_chain() -> None:
    """A lost level is noticed at once, although the sequence numbers fit."""
    book = OrderBook()
    book.snapshot([("99", "1")], [("101", "1")])
    right = zlib.crc32(b"99.5:1:101:1:99:1")
    signed = right - (1 << 32) if right & 0x80000000 else right
    bench = Bench()
    bench.take(snapshot(10), update(10, 11, checksum=signed))
    assert bench.feed.sound("SOLUSDT")
    bench.take(update(11, 12, bid="99.6", checksum=signed))
    assert bench.heard.feed[-1] == ("SOLUSDT", False, "checksum mismatch")
