"""P1: ``books`` bytes from a socket → typed → book → integrity check → top of book, messages per second.

Reference, in the same run and alternating: websockets + json + dict book + sorted top 25 + CRC. A child process blasts
prepared frames over loopback, so both sides measure the receiver. Prints medians and ratios.

    python benchmarks/bench_books.py [--recording bitget_v1_20220407.jsonl.gz] [--repeats 7]
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import multiprocessing
import random
import statistics
import struct
import time
import zlib
from collections.abc import Callable
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from tradebot.events import FeedStatus
from tradebot.exchange.bitget.feed import Feed
from tradebot.market.book import OrderBook

MESSAGES = 6_000


def signed_crc(text: str) -> int:
    value = zlib.crc32(text.encode())
    return value - (1 << 32) if value & 0x80000000 else value


class DictBook:
    """What one writes first."""

    def __init__(self) -> None:
        self.bids: dict[str, str] = {}
        self.asks: dict[str, str] = {}

    def take(self, row: dict[str, Any], *, snapshot: bool) -> tuple[str, str]:
        if snapshot:
            self.bids, self.asks = {}, {}
        for side, levels in ((self.bids, row["bids"]), (self.asks, row["asks"])):
            for price, size in levels:
                if float(size) == 0:
                    side.pop(price, None)
                else:
                    side[price] = size
        bids = sorted(self.bids.items(), key=lambda level: -float(level[0]))[:25]
        asks = sorted(self.asks.items(), key=lambda level: float(level[0]))[:25]
        if not snapshot and row.get("checksum"):
            parts: list[str] = []
            for i in range(25):
                for best in (bids, asks):
                    if i < len(best):
                        parts += best[i]
            assert signed_crc(":".join(parts)) == row["checksum"]
        return bids[0][0], asks[0][0]


def recorded(path: Path) -> list[dict[str, Any]]:
    """The recorded pushes; the two products of one symbol are kept apart by name."""
    pushes = []
    with gzip.open(path) as file:
        for line in file:
            message = json.loads(line)
            if message["t"] == "recv" and '"channel":"books"' in message["data"] and '"action"' in message["data"]:
                push = json.loads(message["data"])
                push["arg"]["instId"] += push["arg"]["instType"].upper()
                pushes.append(push)
    return pushes


def generated(symbols: int = 10, updates: int = 60, levels: int = 200, changed: int = 20) -> list[dict[str, Any]]:
    """Books of 200 levels a side; each update sets 20 levels a side near the top, one in five to nothing."""
    rng = random.Random(7)
    pushes: list[dict[str, Any]] = []
    books = {f"COIN{i}USDT": OrderBook() for i in range(symbols)}

    def size() -> str:
        return f"{rng.randint(1, 9_999) / 10:g}"

    def push(symbol: str, action: str, row: dict[str, Any]) -> None:
        arg = {"instType": "USDT-FUTURES", "channel": "books", "instId": symbol}
        pushes.append({"action": action, "arg": arg, "data": [{**row, "ts": "1760000000121"}], "ts": 1760000000123})

    for symbol, book in books.items():
        bids = [(f"{(150_000 - i) / 1000:.3f}", size()) for i in range(levels)]
        asks = [(f"{(150_001 + i) / 1000:.3f}", size()) for i in range(levels)]
        book.snapshot(bids, asks)
        push(symbol, "snapshot", {"bids": bids, "asks": asks})
    for _ in range(updates):
        for symbol, book in books.items():
            near = [min(levels - 1, int(rng.expovariate(1 / 25))) for _ in range(2 * changed)]
            new = ["0" if i and rng.random() < 0.2 else size() for i in near]
            bids = [(f"{(150_000 - i) / 1000:.3f}", s) for i, s in zip(near[:changed], new[:changed], strict=True)]
            asks = [(f"{(150_001 + i) / 1000:.3f}", s) for i, s in zip(near[changed:], new[changed:], strict=True)]
            book.apply(bids, asks)
            push(symbol, "update", {"bids": bids, "asks": asks, "checksum": book.checksum()})
    return pushes


def encode(pushes: list[dict[str, Any]], *, chain: bool) -> list[bytes]:
    """Wire frames; with ``chain`` sequence numbers stand in the checksum's place, as live since 2026."""
    frames, last = [], {}
    for push in pushes:
        row = dict(push["data"][0])
        symbol = push["arg"]["instId"]
        if push["action"] == "snapshot":
            row.pop("checksum", None)
        if chain:
            row.pop("checksum", None)
            pseq = last.get(symbol, 0) if push["action"] == "update" else 0
            last[symbol] = row["seq"] = last.get(symbol, 1_000) + 3
            row["pseq"] = pseq
        frames.append(json.dumps({**push, "data": [row]}, separators=(",", ":")).encode())
    return frames


class Tops:
    """A listener that reads the top of book and nothing else."""

    def __init__(self) -> None:
        self.count = 0
        self.top: tuple[float, float] | None = None

    def on_book(self, symbol: str, book: OrderBook, ts_exchange_ms: int) -> None:
        self.count += 1
        self.top = book.best()

    def on_feed(self, event: FeedStatus) -> None:
        assert event.ok, event

    def on_trades(self, *_: Any) -> None: ...
    def on_candles(self, *_: Any) -> None: ...
    def on_ticker(self, *_: Any) -> None: ...
    def on_private(self, *_: Any) -> None: ...
    def on_connection(self, *_: Any) -> None: ...


async def product(url: str, count: int, symbols: list[str]) -> float:
    tops = Tops()
    feed = Feed(tops, symbols, lambda channel, symbol: None)
    async with connect(url, compression=None, max_size=None, max_queue=None) as socket:
        await socket.send("go")
        began = time.perf_counter()
        for _ in range(count):
            feed.process(await socket.recv(decode=False))
        took = time.perf_counter() - began
    assert tops.count == count, (tops.count, feed.unreadable_by_channel)
    return count / took


async def reference(url: str, count: int, symbols: list[str]) -> float:
    books = {symbol: DictBook() for symbol in symbols}
    async with connect(url, compression=None, max_size=None, max_queue=None) as socket:
        await socket.send("go")
        began = time.perf_counter()
        for _ in range(count):
            push = json.loads(await socket.recv())
            book = books[push["arg"]["instId"]]
            for row in push["data"]:
                book.take(row, snapshot=push["action"] == "snapshot")
        return count / (time.perf_counter() - began)


def text_frame(payload: bytes) -> bytes:
    size = len(payload)
    head = bytes((0x81, size)) if size < 126 else b""
    if not head:
        head = struct.pack("!BBH", 0x81, 126, size) if size < 65_536 else struct.pack("!BBQ", 0x81, 127, size)
    return head + payload


def blast(frames: list[bytes], count: int, pipe: Pipe) -> None:
    """Child process: to everyone who says anything, ``count`` frames (the list again and again)."""
    rounds = b"".join(map(text_frame, frames))

    async def talk(socket: ServerConnection) -> None:
        await socket.recv()
        for _ in range(count // len(frames)):
            socket.transport.write(rounds)
            await socket.drain()
        await socket.wait_closed()

    async def main() -> None:
        async with serve(talk, "127.0.0.1", 0, compression=None) as server:
            pipe.send(server.sockets[0].getsockname()[1])
            await asyncio.get_running_loop().run_in_executor(None, pipe.recv)

    asyncio.run(main())


def measure(frames: list[bytes], symbols: list[str], run: Callable[..., Any]) -> float:
    count = MESSAGES // len(frames) * len(frames)
    here, there = multiprocessing.Pipe()
    child = multiprocessing.Process(target=blast, args=(frames, count, there), daemon=True)
    child.start()
    try:
        return float(asyncio.run(run(f"ws://127.0.0.1:{here.recv()}", count, symbols)))
    finally:
        here.send(None)
        child.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recording", type=Path, help="a recorded v1 file; without it only generated books are timed")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    inputs = {"generated": generated()}
    if options.recording is not None:
        inputs["recorded"] = recorded(options.recording)
    print(f"{'input':<10} {'bytes':>6} {'stack':<28} {'msg/s':>8} {'ratio':>6}")
    for name, pushes in inputs.items():
        symbols = sorted({push["arg"]["instId"] for push in pushes})
        checked, chained = encode(pushes, chain=False), encode(pushes, chain=True)
        stacks = {
            "json + dict + CRC": (checked, reference),
            "tradebot, CRC": (checked, product),
            "tradebot, sequence chain": (chained, product),
        }
        rates: dict[str, list[float]] = {stack: [] for stack in stacks}
        for _ in range(options.repeats):
            for stack, (frames, run) in stacks.items():
                rates[stack].append(measure(frames, symbols, run))
        medians = {stack: statistics.median(values) for stack, values in rates.items()}
        base = medians["json + dict + CRC"]
        size = statistics.mean(map(len, checked))
        for stack, rate in medians.items():
            print(f"{name:<10} {size:>6.0f} {stack:<28} {rate:>8.0f} {rate / base:>6.2f}")


if __name__ == "__main__":
    main()
