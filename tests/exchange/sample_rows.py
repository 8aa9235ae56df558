"""Every message of the samples, and what rows it carries, told by their members alone."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.exchange.samples import FILES, fixture

PLACEHOLDERS = {
    "<USDT_PRODUCT_TYPE>": "USDT-FUTURES",
    "<WS_ORDERS_ENDPOINT>": "orders",
    "<WS_POSITIONS_ENDPOINT>": "positions",
    "<WS_ACCOUNT_ENDPOINT>": "account",
    "<PUBLIC_WS_TICKER>": "ticker",
    "<PUBLIC_WS_TRADE>": "trade",
    "<channel>": "account",
    "<DEFAULT_TIME_IN_FORCE>": "gtc",
    "<current_state>": "partially_filled",
    "<amount>": "1",
    "<price>": "10000",
    "<leverage>": "2",
    "<unrealized_pnl>": "5",
    "<side>": "buy",
    "<lower>": "buy",
    "<trade_side>": "open",
}
"""What one of the sources computes in its tests. Other placeholders are ids and stay as they are."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message: ``where`` it is in the samples, ``path`` of the request it answers, if it is known."""

    where: str
    path: str
    content: Any


def messages() -> list[Message]:
    """Every message of every file but the requests, which have a test of their own."""
    return [message for name in FILES for message in _of_file(name)]


def _of_file(name: str) -> Iterator[Message]:
    for key, entry in _filled(fixture(name)).items():
        where = f"{name}/{key}"
        match name:
            case "ccxt_comments" | "hummingbot_tests":
                yield Message(where, entry.get("function", ""), entry["json"])
            case "docs_samples":
                for at, example in enumerate(entry["examples"]):
                    if example.get("json") is not None:
                        yield Message(f"{where}/{at}", entry["path"] or "", example["json"])
            case "bitget_net_tests" if "response" in entry:
                yield Message(where, entry["path"], entry["response"])
            case "ccxt_static_recorded" if "httpResponse" in entry:
                yield Message(where, "", entry["httpResponse"])
            case _:
                parts = [*entry["sent"], *entry.get("ack", []), *entry.get("messages", [])]
                for at, part in enumerate([*parts, entry["push"]] if "push" in entry else parts):
                    yield Message(f"{where}/{at}", "", part)


def _filled(content: Any) -> Any:
    text = json.dumps(content)
    return json.loads(re.sub("|".join(map(re.escape, PLACEHOLDERS)), lambda found: PLACEHOLDERS[found[0]], text))


def rows(content: Any, channel: str = "") -> Iterator[tuple[str, Any]]:
    """(kind, row) for every row in a message that this client reads somewhere."""
    if isinstance(content, list):
        if kind := _kind_of_list(content):
            yield kind, content
        else:
            for part in content:
                yield from rows(part, channel)
    elif isinstance(content, dict):
        arg = content.get("arg")
        channel = arg.get("channel", "") if isinstance(arg, dict) else channel
        if kind := _kind_of(content, channel):
            yield kind, content
        if kind not in ("order", "plan", "fill", "stream order", "batch"):
            for part in content.values():
                yield from rows(part, channel)


def _kind_of_list(content: list[Any]) -> str:
    """A candle: seven or eight numbers as texts, the first a time."""
    texts = len(content) in (7, 8) and all(isinstance(part, str) and re.fullmatch(r"[\d.]+", part) for part in content)
    return "candle" if texts and len(content[0]) == 13 else ""


SHAPES: tuple[tuple[str, frozenset[str], frozenset[str]], ...] = tuple(
    (kind, frozenset(has.split()), frozenset(lacks.split()))
    for kind, has, lacks in (
        ("stream order", "instId orderId accBaseVolume side size status", ""),
        ("plan", "orderId planType triggerPrice marginCoin", ""),
        ("order", "orderId symbol side size status marginCoin baseVolume", "planType"),
        ("order", "orderId symbol side size state marginCoin baseVolume", "planType"),
        ("fill", "orderId tradeId symbol price baseVolume profit", ""),
        ("position", "holdSide total openPriceAvg marginCoin", ""),
        ("stream account", "equity marginCoin available maxOpenPosAvailable", ""),
        ("account", "accountEquity crossedMaxAvailable isolatedMaxAvailable marginCoin", ""),
        ("contract", "symbol pricePlace priceEndStep sizeMultiplier", ""),
        ("stream ticker", "instId lastPr markPrice indexPrice", ""),
        ("ticker", "symbol lastPr indexPrice fundingRate", "instId"),
        ("trade", "tradeId price size side ts", "orderId"),
        ("bill", "billId amount businessType symbol", ""),
        ("funding", "symbol fundingRate fundingTime", ""),
        ("open interest", "openInterestList ts", ""),
        ("batch", "successList failureList", ""),
        ("books", "asks bids ts", "precision"),
        ("placed", "orderId clientOid", "symbol size errorMsg"),
        ("event", "event", ""),
        ("refusal", "code msg", "event"),
    )
)
"""(kind, members it has, members it lacks): the first that fits."""


def _kind_of(content: dict[str, Any], channel: str) -> str:
    for kind, has, lacks in SHAPES:
        if has <= content.keys() and not lacks & content.keys():
            if kind == "refusal" and content["code"] == "00000":
                return ""
            return kind
    return ""
