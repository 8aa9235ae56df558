"""Several listeners of one stream: each is told in its turn of what it cares for."""

from __future__ import annotations

from tradebot.events import FeedStatus
from tradebot.exchange.bitget.listener import PRIVATE, FanOut, Listener

CALLS: list[tuple[str, str]] = []


class Named(Listener):
    def __init__(self, name: str) -> None:
        self.name = name


class Watchful(Named):
    def on_feed(self, event: FeedStatus) -> None:
        CALLS.append((self.name, event.symbol))


class Worried(Watchful):
    def on_connection(self, rank: int, up: bool) -> None:
        CALLS.append((self.name, f"{rank} {up}"))

    def on_lost(self, reason: str) -> None:
        CALLS.append((self.name, reason))

    def on_refused(self, channel: str, reason: str) -> None:
        CALLS.append((self.name, f"{channel} {reason}"))

    def on_missed(self, channel: str, symbol: str, since_ms: int) -> None:
        CALLS.append((self.name, f"{channel} {symbol} {since_ms}"))


def test_listeners_are_told_in_their_order_of_what_they_override() -> None:
    CALLS.clear()
    fan = FanOut([Watchful("first"), Named("deaf"), Worried("last")])
    fan.on_feed(FeedStatus(symbol="A", ok=True))
    fan.on_connection(PRIVATE, False)
    fan.on_lost("garbled")
    fan.on_missed("trade", "A", 7)
    fan.on_refused("orders", "no")
    fan.on_trades("A", [])
    assert CALLS[:2] == [("first", "A"), ("last", "A")]
    assert CALLS[2:] == [("last", "1 False"), ("last", "garbled"), ("last", "trade A 7"), ("last", "orders no")]


def test_a_fan_of_fans_tells_everyone() -> None:
    CALLS.clear()
    FanOut([FanOut([Watchful("inner")]), Watchful("outer")]).on_feed(FeedStatus(symbol="B", ok=False, reason="gap"))
    assert CALLS == [("inner", "B"), ("outer", "B")]
