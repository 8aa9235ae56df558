"""Recorded raw messages of other venues and of the old Bitget API, rebuilt by our book code and compared row by row."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from tests.exchange.recorded import Frame, binance_frames, wire_frames
from tests.shared import shared_path
from tradebot.data.channels import book_columns
from tradebot.exchange.venues import binance, bybit
from tradebot.market.book import OrderBook

RAW, LOB = "data/market/raw", "data/market/lob"
COLUMNS = book_columns(10)
Grid = dict[int, list[float]]


def flat(book: OrderBook) -> list[float]:
    """One row in the order of the files."""
    bid_px, bid_sz, ask_px, ask_sz = book.levels(10)
    return [value for level in zip(ask_px, ask_sz, bid_px, bid_sz, strict=True) for value in level]


def sampled(frames: Iterable[Frame], take: Callable[[bytes], OrderBook | None]) -> Grid:
    """The book just before each second by time of receipt; ``take`` applies a frame and returns the book if sound."""
    rows: Grid = {}
    book: OrderBook | None = None
    due = 0
    for received_ms, body in frames:
        due = due or int(received_ms // 1_000 + 1) * 1_000
        while received_ms >= due:
            if book is not None:
                rows[due] = flat(book)
            due += 1_000
        book = take(body)
    return rows


def recorded_rows(name: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    table = pq.read_table(shared_path(f"{LOB}/{name}"))
    return table["ts_ms"].to_numpy(), np.column_stack([table[column].to_numpy() for column in COLUMNS])


Best = tuple[tuple[float, float], tuple[float, float]]
"""Price and size of the best bid and the best ask."""


def best_of(book: OrderBook) -> Best:
    (bid,), (ask,) = book.bids.top(1), book.asks.top(1)
    return (float(bid[0]), float(bid[1])), (float(ask[0]), float(ask[1]))


class Rebuilt:
    """A recording through our keeper; the venue's own best prices are compared wherever they tell of the same state.

    A bookTicker may come before or after the change with its id.
    """

    def __init__(self, market: binance.Market) -> None:
        self.keeper = binance.BinanceKeeper(market)
        self.counts = Counter[str]()
        self._last = 0
        self._told: dict[int, Best] = {}

    def take(self, body: bytes) -> OrderBook | None:
        """Apply a message; the book if it is sound."""
        keeper = self.keeper
        if b'"stream"' not in body[:12]:
            assert keeper.snapshot(binance.decode_snapshot(body)) == ""
            self.counts["snapshots"] += 1
        elif b"@bookTicker" in body[:60]:
            row = json.loads(body)["data"]
            self._told[row["u"]] = (float(row["b"]), float(row["B"])), (float(row["a"]), float(row["A"]))
            if keeper.sound and row["u"] == self._last:
                self._compare()
        elif (change := binance.decode_push(body)) is not None:
            outcome = keeper.update(change)
            assert outcome in ("", None), outcome
            if outcome == "":
                self.counts["changes"] += 1
                self._last = change.u
                if change.u in self._told:
                    self._compare()
        return keeper.book if keeper.sound else None

    def _compare(self) -> None:
        assert best_of(self.keeper.book) == self._told[self._last]
        self.counts["tickers"] += 1


PERP = ("binance_{}_perp_20240718.txt.gz", "binance_{}_perp_20240719.txt.gz")


@pytest.mark.parametrize(
    ("market", "raw", "per_ms", "lob", "rows", "changes", "tickers"),
    [
        ("perp", [name.format("BTCUSDT") for name in PERP], 1e6, "binance_BTCUSDT_perp_20240718", 479, 9_016, 625),
        ("perp", [name.format("ETHUSDT") for name in PERP], 1e6, "binance_ETHUSDT_perp_20240718", 479, 8_922, 834),
        ("spot", ["binance_NEXOUSDT_spot_20240723.txt.gz"], 1e3, "binance_NEXOUSDT_spot_20240723", 1_217, 1_188, 131),
    ],
)
def test_recorded_binance_changes_make_the_recorded_rows(
    market: binance.Market, raw: Sequence[str], per_ms: float, lob: str, rows: int, changes: int, tickers: int
) -> None:
    paths = [shared_path(f"{RAW}/{name}") for name in raw]
    times, expected = recorded_rows(f"{lob}_1s_l10.parquet")
    rebuilt = Rebuilt(market)
    found = sampled(binance_frames(paths, per_ms), rebuilt.take)
    both = times[np.isin(times, list(found))]
    assert both.size == rows == len(found)
    ours = np.array([found[int(at)] for at in both])
    assert (ours == expected[np.isin(times, both)]).all()
    assert rebuilt.counts == {"snapshots": 1, "changes": changes, "tickers": tickers}


def test_recorded_binance_changes_of_four_symbols_continue_their_snapshots() -> None:
    """2021: snapshots over REST, changes at 100 ms; no row file exists, so the venue's own best prices are compared."""
    path = shared_path(f"{RAW}/binance_futures_20210722.jsonl.gz")
    with gzip.open(path) as file:
        messages = [json.loads(line) for line in file]
    rebuilt: dict[str, Rebuilt] = {}
    for message in messages:
        if message["t"] == "http" and "/depth?symbol=" in message["url"]:
            symbol = message["url"].partition("symbol=")[2].partition("&")[0]
            rebuilt[symbol] = Rebuilt("perp")
            rebuilt[symbol].take(message["data"].encode())
        elif message["t"] == "recv":
            name = json.loads(message["data"])["stream"].partition("@")[0].upper()
            if "@depth" in message["data"][:60] or "@bookTicker" in message["data"][:60]:
                rebuilt[name].take(message["data"].encode())
    assert sorted(rebuilt) == ["AKROUSDT", "CTKUSDT", "KEEPUSDT", "SUSHIUSDT"]
    assert sum(one.counts["changes"] for one in rebuilt.values()) > 500
    assert sum(one.counts["tickers"] for one in rebuilt.values()) > 10


@pytest.mark.parametrize(("connection", "symbols"), [("BYBIT.ws.2", 4), ("BYBIT.ws.3", 2)])
def test_recorded_bybit_deltas_follow_each_other_and_keep_200_levels(connection: str, symbols: int) -> None:
    path = shared_path(f"{RAW}/bybit_v5_20260809.jsonl.gz")
    keepers: dict[str, bybit.BybitKeeper] = {}
    counts: Counter[str] = Counter()
    for _, body in wire_frames(path, connection):
        message = json.loads(body)
        topic, _, symbol = message.get("topic", "").rpartition(".")
        if topic == "orderbook.200":
            push = bybit.decode_push(body)
            assert push.data is not None
            keeper = keepers.setdefault(symbol, bybit.BybitKeeper())
            assert keeper.take(push.type, push.data) == ""
            assert keeper.book.depth == (200, 200)
            counts[push.type] += 1
    assert len(keepers) == symbols == counts["snapshot"]
    assert counts["delta"] > 500


def test_all_637_recorded_checksums_of_bitgets_books_verify() -> None:
    """2022, the old API: ten books, each message with the CRC-32 of the best 25 levels after it."""
    path = shared_path(f"{RAW}/bitget_v1_20220407.jsonl.gz")
    books: dict[tuple[str, str], OrderBook] = {}
    verified = 0
    for connection in ("BITGET.ws.1", "BITGET.ws.2"):
        for _, body in wire_frames(path, connection):
            message = json.loads(body) if body.startswith(b"{") else {}
            if message.get("arg", {}).get("channel") != "books" or "data" not in message:
                continue
            book = books.setdefault((message["arg"]["instType"], message["arg"]["instId"]), OrderBook())
            for row in message["data"]:
                change = book.snapshot if message["action"] == "snapshot" else book.apply
                change([tuple(level) for level in row["bids"]], [tuple(level) for level in row["asks"]])
                assert book.matches(row["checksum"])
                verified += 1
    assert (len(books), verified) == (10, 637)
