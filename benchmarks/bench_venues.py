"""Books of other venues: a frame's bytes → book, integrity check → best 5 levels, frames per second, against ccxt.pro.

Both get the same recorded frames in the same run, alternating, in the same process, without sockets: what differs is
decoding (ccxt with the parser it chooses, orjson where it is installed) and book keeping. Every frame is applied; in
the second pair of columns the best 5 levels of its book are read as well. The final books are compared.

    python -m benchmarks.bench_venues [--recordings ../shared/data/market/raw] [--repeats 5]
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ccxt.pro
from ccxt.async_support.base.ws.client import json_parser

from tradebot.exchange.venues import binance, bybit
from tradebot.market.book import OrderBook

LEVELS = 5
Top = tuple[list[float], list[float]]
"""Best bid prices and best ask prices."""


def binance_recording(path: Path) -> tuple[bytes, list[bytes]]:
    """The snapshot and the changes after it."""
    snapshot, frames = b"", []
    with gzip.open(path) as file:
        for line in file:
            body = line.partition(b" ")[2].strip()
            if b'"stream"' not in body[:12]:
                snapshot = body
            elif b"@depth" in body[:60]:
                frames.append(body)
    last = json.loads(snapshot)["lastUpdateId"]
    return snapshot, [frame for frame in frames if json.loads(frame)["data"]["u"] > last]


def bybit_recording(path: Path) -> list[bytes]:
    """Snapshots and deltas of Bybit's spot books."""
    with gzip.open(path) as file:
        rows = [json.loads(line) for line in file]
    wanted = [row["data"] for row in rows if row["t"] == "recv" and row["conn"] == "BYBIT.ws.3"]
    return [text.encode() for text in wanted if '"orderbook.' in text[:60]]


def best(book: OrderBook) -> Top:
    bid_px, _, ask_px, _ = book.levels(LEVELS)
    return list(bid_px), list(ask_px)


class Client:
    """As much of ccxt.pro's connection as its handlers touch."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.subscriptions: dict[str, Any] = {}

    def resolve(self, result: Any, message_hash: str) -> Any:
        return result

    def reject(self, error: Exception, message_hash: str | None = None) -> None:
        raise error


def market(exchange: Any, symbol: str, kind: str) -> dict[str, Any]:
    base, quote = symbol[:-4], symbol[-4:]
    linear = kind == "swap"
    name = f"{base}/{quote}:{quote}" if linear else f"{base}/{quote}"
    described: dict[str, Any] = exchange.safe_market_structure(
        {
            "id": symbol, "symbol": name, "base": base, "quote": quote, "settle": quote if linear else None,
            "type": kind, "spot": not linear, "swap": linear, "contract": linear, "linear": linear or None,
            "precision": {"price": 0.01, "amount": 0.001},
        }
    )  # fmt: skip
    return described


Run = Callable[[bool], tuple[int, float, Top]]
"""(read 5 levels of every frame's book) -> frames, seconds, and the last book's best prices."""


def ours_binance(snapshot: bytes, frames: list[bytes]) -> Run:
    def run(read: bool) -> tuple[int, float, Top]:
        keeper = binance.BinanceKeeper("perp")
        keeper.snapshot(binance.decode_snapshot(snapshot))
        began = time.perf_counter()
        for frame in frames:
            change = binance.decode_push(frame)
            assert change is not None
            assert keeper.update(change) == ""
            if read:
                keeper.book.levels(LEVELS)
        return len(frames), time.perf_counter() - began, best(keeper.book)

    return run


def theirs_binance(snapshot: bytes, frames: list[bytes]) -> Run:
    def run(read: bool) -> tuple[int, float, Top]:
        exchange: Any = ccxt.pro.binance({"options": {"defaultType": "swap"}})
        exchange.set_markets([market(exchange, "BTCUSDT", "swap")])
        symbol = "BTC/USDT:USDT"
        book = exchange.orderbooks[symbol] = exchange.order_book({}, 1_000)
        row = json.loads(snapshot)
        parsed = exchange.parse_order_book(row, symbol)
        parsed["nonce"] = row["lastUpdateId"]
        book.reset(parsed)
        book["timestamp"] = None
        client = Client("wss://fstream.binance.com/stream")
        handle = exchange.handle_order_book
        began = time.perf_counter()
        for frame in frames:
            handle(client, json_parser.loads(frame)["data"])
            if read:
                book.limit()
                _ = book["bids"][:LEVELS], book["asks"][:LEVELS]
        took = time.perf_counter() - began
        book.limit()
        return len(frames), took, ([r[0] for r in book["bids"][:LEVELS]], [r[0] for r in book["asks"][:LEVELS]])

    return run


def ours_bybit(frames: list[bytes]) -> Run:
    def run(read: bool) -> tuple[int, float, Top]:
        keepers = {symbol: bybit.BybitKeeper() for symbol in ("BTCUSDT", "ETHUSDT")}
        keeper = keepers["BTCUSDT"]
        began = time.perf_counter()
        for frame in frames:
            push = bybit.decode_push(frame)
            assert push.data is not None
            keeper = keepers[push.data.s]
            assert keeper.take(push.type, push.data) == ""
            if read:
                keeper.book.levels(LEVELS)
        return len(frames), time.perf_counter() - began, best(keeper.book)

    return run


def theirs_bybit(frames: list[bytes]) -> Run:
    def run(read: bool) -> tuple[int, float, Top]:
        exchange: Any = ccxt.pro.bybit()
        exchange.set_markets([market(exchange, symbol, "spot") for symbol in ("BTCUSDT", "ETHUSDT")])
        client = Client("wss://stream.bybit.com/v5/public/spot")
        handle = exchange.handle_order_book
        names = {"BTCUSDT": "BTC/USDT", "ETHUSDT": "ETH/USDT"}
        book: Any = None
        began = time.perf_counter()
        for frame in frames:
            message = json_parser.loads(frame)
            handle(client, message)
            book = exchange.orderbooks[names[message["data"]["s"]]]
            if read:
                book.limit()
                _ = book["bids"][:LEVELS], book["asks"][:LEVELS]
        took = time.perf_counter() - began
        book.limit()
        return len(frames), took, ([r[0] for r in book["bids"][:LEVELS]], [r[0] for r in book["asks"][:LEVELS]])

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=Path, default=Path("../shared/data/market/raw"))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if not options.recordings.is_dir():
        print(f"{options.recordings}: no recordings there; name their folder with --recordings")
        return
    snapshot, changes = binance_recording(options.recordings / "binance_BTCUSDT_perp_20240718.txt.gz")
    deltas = bybit_recording(options.recordings / "bybit_v5_20260809.jsonl.gz")
    stacks: dict[str, dict[str, Run]] = {
        "binance perp": {"ccxt.pro": theirs_binance(snapshot, changes), "tradebot": ours_binance(snapshot, changes)},
        "bybit spot": {"ccxt.pro": theirs_bybit(deltas), "tradebot": ours_bybit(deltas)},
    }
    print(f"{'input':<14} {'stack':<10} {'frames':>7} {'applied/s':>10} {'ratio':>6} {'and read/s':>10} {'ratio':>6}")
    for name, runs in stacks.items():
        rates: dict[tuple[str, bool], list[float]] = {(stack, read): [] for stack in runs for read in (False, True)}
        tops, count = {}, 0
        for _ in range(options.repeats):
            for stack, read in rates:
                count, took, tops[stack] = runs[stack](read)
                rates[stack, read].append(count / took)
        assert tops["ccxt.pro"] == tops["tradebot"], tops
        median = {key: statistics.median(values) for key, values in rates.items()}
        for stack in runs:
            applied, as_well = median[stack, False], median[stack, True]
            print(
                f"{name:<14} {stack:<10} {count:>7} {applied:>10.0f} {applied / median['ccxt.pro', False]:>6.1f} "
                f"{as_well:>10.0f} {as_well / median['ccxt.pro', True]:>6.1f}"
            )


if __name__ == "__main__":
    main()
