"""What is subscribed to, and the messages that say so."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tradebot.exchange.bitget.naming import PRODUCT_TYPE

MAX_MESSAGE_BYTES = 4_096


class Subscription(msgspec.Struct, frozen=True):
    """One channel of one instrument (``default``: all of them), or of one coin."""

    channel: str
    inst_id: str = ""
    coin: str = ""

    def argument(self) -> dict[str, str]:
        member = {"coin": self.coin} if self.coin else {"instId": self.inst_id}
        return {"instType": PRODUCT_TYPE, "channel": self.channel, **member}


def chunked(operation: str, arguments: Sequence[dict[str, str]]) -> list[str]:
    """Messages of one operation, each within the exchange's size limit.

    >>> chunked("subscribe", [{"channel": "books"}])
    ['{"op":"subscribe","args":[{"channel":"books"}]}']
    """
    head, tail = f'{{"op":"{operation}","args":[', "]}"
    messages: list[str] = []
    texts: list[str] = []
    size = len(head) + len(tail)
    for argument in arguments:
        text = msgspec.json.encode(argument).decode()
        if texts and size + len(text) + 1 > MAX_MESSAGE_BYTES:
            messages.append(head + ",".join(texts) + tail)
            texts, size = [], len(head) + len(tail)
        texts.append(text)
        size += len(text) + 1
    if texts:
        messages.append(head + ",".join(texts) + tail)
    return messages


def sharded(
    symbols: Sequence[str], channels: Sequence[str], *, per_connection: int, connections: int
) -> list[list[Subscription]]:
    """Subscriptions by connection; the channels of one symbol stay together.

    ``per_connection`` subscriptions each, or as many more as it takes to need no more than ``connections``.

    >>> [len(shard) for shard in sharded(["A", "B", "C"], ["books", "trade"], per_connection=4, connections=9)]
    [4, 2]
    """
    symbols_each = max(1, per_connection // max(1, len(channels)), -(-len(symbols) // connections))
    return [
        [Subscription(channel, symbol) for symbol in symbols[at : at + symbols_each] for channel in channels]
        for at in range(0, len(symbols), symbols_each)
    ]
