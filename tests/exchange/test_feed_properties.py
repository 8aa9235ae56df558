"""Whatever happens to frames on their way: a book that is told is the exchange's book at that frame, to the last level.

A naive exchange keeps two dicts and says what changed, with sequence numbers, with checksums, or with both. On the way
frames are lost, repeated, swapped, cut and garbled. What is told must equal the dicts, and after calm it must be told
again.
"""

from __future__ import annotations

import json
import zlib
from typing import Any, Literal

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.exchange.servers import Recorder
from tradebot.exchange.bitget.feed import Feed
from tradebot.market.book import OrderBook

SYMBOL = "SOLUSDT"
Proof = Literal["both", "sequence", "checksum"]
Side = dict[str, str]


class Exchange:
    """The truth: price texts to size texts, and every state there ever was."""

    def __init__(self, proof: Proof) -> None:
        self.proof = proof
        self.bids: Side = {"99.9": "1"}
        self.asks: Side = {"100.1": "1"}
        self.seq = 100
        self.states: dict[int, tuple[Side, Side]] = {}
        self.frame_seq: dict[bytes, int] = {}

    def ranked(self) -> tuple[list[list[str]], list[list[str]]]:
        bids = sorted(([p, q] for p, q in self.bids.items()), key=lambda level: -float(level[0]))
        asks = sorted(([p, q] for p, q in self.asks.items()), key=lambda level: float(level[0]))
        return bids, asks

    def checksum(self) -> int:
        bids, asks = self.ranked()
        parts: list[str] = []
        for n in range(25):
            for side in (bids, asks):
                if n < len(side):
                    parts += side[n]
        found = zlib.crc32(":".join(parts).encode())
        return found - (1 << 32) if found & 0x80000000 else found

    def snapshot(self) -> bytes:
        bids, asks = self.ranked()
        row = {"bids": bids, "asks": asks, "ts": "1"}
        if self.proof != "checksum":
            row |= {"seq": self.seq, "pseq": 0}
        return self._frame("snapshot", row)

    def change(self, moves: list[tuple[bool, int, int]]) -> bytes:
        """Apply (is a bid, ticks from the middle, size; 0 deletes) and say so."""
        said: dict[bool, dict[str, str]] = {True: {}, False: {}}
        for is_bid, ticks, size in moves:
            side, price = (self.bids, f"{100 - ticks / 10:g}") if is_bid else (self.asks, f"{100 + ticks / 10:g}")
            if size == 0 and len(side) > 1:
                side.pop(price, None)
                said[is_bid][price] = "0"
            elif size:
                side[price] = said[is_bid][price] = str(size)
        before, self.seq = self.seq, self.seq + 1
        row: dict[str, Any] = {"bids": list(said[True].items()), "asks": list(said[False].items()), "ts": "1"}
        if self.proof != "checksum":
            row |= {"seq": self.seq, "pseq": before}
        if self.proof != "sequence":
            row["checksum"] = self.checksum()
        return self._frame("update", row)

    def _frame(self, action: str, row: dict[str, Any]) -> bytes:
        arg = {"instType": "USDT-FUTURES", "channel": "books", "instId": SYMBOL}
        # the sending time makes frames of equal content differ
        message = {"action": action, "arg": arg, "data": [row], "ts": self.seq * 10 + (action == "snapshot")}
        frame = json.dumps(message, separators=(",", ":")).encode()
        self.states[self.seq] = (dict(self.bids), dict(self.asks))
        self.frame_seq[frame] = self.seq
        return frame


class Line(Recorder):
    """The client's end: compares every book that is told with the truth at the frame that was just handled."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self.exchange = exchange
        self.wants_snapshot = False
        self.told = 0
        self.handled = b""
        self.heard_feed = self.feed
        self.decoder = Feed(self, [SYMBOL], self._resync)

    def _resync(self, channel: str, symbol: str) -> None:
        self.wants_snapshot = True

    def on_book(self, symbol: str, book: OrderBook, ts_exchange_ms: int) -> None:
        self.told += 1
        seq = self.exchange.frame_seq[self.handled]
        bids, asks = self.exchange.states[seq]
        bid_px, bid_sz, ask_px, ask_sz = book.levels(50)
        assert dict(zip(bid_px, bid_sz, strict=True)) == {float(p): float(q) for p, q in bids.items()}
        assert dict(zip(ask_px, ask_sz, strict=True)) == {float(p): float(q) for p, q in asks.items()}
        assert list(bid_px) == sorted(bid_px, reverse=True)
        assert list(ask_px) == sorted(ask_px)

    def feed_told(self) -> bool:
        """Whether the last thing told of the symbol's feed is that it is good."""
        return self.heard_feed[-1][1]

    def take(self, frame: bytes) -> None:
        self.handled = frame
        self.decoder.process(frame)
        if self.wants_snapshot:
            self.wants_snapshot = False
            self.handled = answer = self.exchange.snapshot()
            self.decoder.process(answer)


MOVES = st.lists(st.tuples(st.booleans(), st.integers(1, 12), st.integers(0, 3)), min_size=1, max_size=5)
FATE = st.sampled_from(["ok"] * 8 + ["lost", "twice", "late", "cut", "garbled", "snapshot"])


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(["both", "sequence", "checksum"]), st.lists(st.tuples(MOVES, FATE), max_size=60))
def test_a_book_that_is_told_is_the_exchange_s(
    proof: Proof, story: list[tuple[list[tuple[bool, int, int]], str]]
) -> None:
    exchange = Exchange(proof)
    line = Line(exchange)
    line.take(exchange.snapshot())
    delayed: list[bytes] = []
    for moves, fate in story:
        frame = exchange.change(moves)
        match fate:
            case "lost":
                continue
            case "twice":
                line.take(frame)
                line.take(frame)
            case "late":
                delayed.append(frame)
                continue
            case "cut":
                line.take(frame[: len(frame) * 2 // 3])
            case "garbled":
                line.take(frame.replace(b'"bids"', b'"bids":x', 1))
            case "snapshot":
                line.take(frame)
                line.take(exchange.snapshot())
            case _:
                line.take(frame)
        while delayed and fate == "ok":
            line.take(delayed.pop())
    for _ in range(3):  # calm: the last frames arrive as they were sent
        told = line.told
        line.take(exchange.change([(True, 1, 1), (False, 1, 2)]))
    assert line.decoder.sound(SYMBOL)
    assert line.told > told
    assert line.feed_told()
