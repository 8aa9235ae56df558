"""Subscriptions that say nothing: a connected socket without data is an outage all the same.

1. *calm* – data come. Nothing for ``patience``: *doubted*.
2. *doubted* – the subscription is renewed, which makes the exchange send a snapshot. Nothing within ``answer_ms``: it
   is renewed once more, then its connection is given up (it was acknowledged and is dead).
3. *quiet* – the snapshot came but nothing else was to be said: the instrument rests. It is *calm* with a patience twice
   as long, up to ``LONGEST`` times, until it speaks by itself.

Trades are not watched: that nobody trades says nothing about the line.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from tradebot.exchange.bitget.naming import INTERVAL
from tradebot.market.candle import INTERVAL_MS

Step = Literal["renew", "reconnect"]

RENEWALS = 2
LONGEST = 16


@dataclass(slots=True)
class _Doubt:
    """What is known of a subscription that is not plainly calm."""

    patience_ms: int
    heard_ms: int
    asked: int = 0
    due_ms: int = 0
    """When an answer is missing; 0 while none is awaited."""
    carried: bool = True
    """Whether a connection carries it now."""

    def deadline_ms(self) -> int:
        return self.due_ms or self.heard_ms + self.patience_ms


class Silence:
    """Watches subscriptions by channel and symbol. ``now_ms`` is the bot's clock, all durations follow it."""

    def __init__(self, now_ms: Callable[[], int], *, patience_ms: int, answer_ms: int) -> None:
        self._now_ms = now_ms
        self._patience_ms = patience_ms
        self._answer_ms = answer_ms
        self._calm: dict[str, OrderedDict[str, int]] = {}
        """When each was last heard, by channel and symbol, the longest ago first."""
        self._doubts: dict[tuple[str, str], _Doubt] = {}

    def watch(self, channel: str, symbol: str) -> None:
        """The exchange acknowledged this subscription: from now on it must say something."""
        doubt = self._doubts.get((channel, symbol))
        if doubt is not None:
            if not doubt.carried:
                doubt.carried, doubt.heard_ms = True, self._now_ms()
        elif self._patience_of(channel) is not None:
            self._set_calm(channel, symbol)

    def forget(self, subscriptions: Iterable[tuple[str, str]]) -> None:
        """Their connection is gone; how patient one must be with each is remembered."""
        for channel, symbol in subscriptions:
            calm = self._calm.get(channel)
            if calm is not None:
                calm.pop(symbol, None)
            doubt = self._doubts.get((channel, symbol))
            if doubt is not None:
                doubt.due_ms, doubt.carried = 0, False

    def heard(self, channel: str, symbol: str, now_ms: int) -> bool:
        """Data came now, by the bot's clock. Returns whether that ended a doubt."""
        calm = self._calm.get(channel)
        if calm is not None and symbol in calm:
            calm[symbol] = now_ms
            calm.move_to_end(symbol)
            return False
        doubt = self._doubts.get((channel, symbol))
        if doubt is None:
            return False
        doubt.heard_ms = now_ms
        if doubt.due_ms:
            doubt.due_ms, doubt.asked = 0, 0
            doubt.patience_ms = min(2 * doubt.patience_ms, LONGEST * self._base_of(channel))
            return True
        del self._doubts[channel, symbol]
        self._set_calm(channel, symbol)
        return False

    def next_due_ms(self) -> int | None:
        """The earliest moment at which a subscription that stays silent becomes overdue."""
        dues = [doubt.deadline_ms() for doubt in self._doubts.values() if doubt.carried]
        for channel, calm in self._calm.items():
            patience = self._patience_of(channel)
            if calm and patience is not None:
                dues.append(next(iter(calm.values())) + patience)
        return min(dues, default=None)

    def overdue(self) -> list[tuple[str, str, int, Step]]:
        """Channel, symbol, how long it has been silent (ms) and what to do about it, for every one that is overdue."""
        now = self._now_ms()
        for channel, calm in self._calm.items():
            patience = self._patience_of(channel)
            while calm and patience is not None:
                symbol, heard_ms = next(iter(calm.items()))
                if heard_ms + patience > now:
                    break
                del calm[symbol]
                self._doubts[channel, symbol] = _Doubt(patience, heard_ms)
        found: list[tuple[str, str, int, Step]] = []
        for (channel, symbol), doubt in self._doubts.items():
            if not doubt.carried or doubt.deadline_ms() > now:
                continue
            doubt.asked += 1
            step: Step = "reconnect" if doubt.asked > RENEWALS else "renew"
            if step == "reconnect":
                doubt.asked = 0
                doubt.patience_ms = min(2 * doubt.patience_ms, LONGEST * self._base_of(channel))
            doubt.due_ms = now + self._answer_ms
            found.append((channel, symbol, now - doubt.heard_ms, step))
        return found

    def _set_calm(self, channel: str, symbol: str) -> None:
        calm = self._calm.setdefault(channel, OrderedDict())
        calm[symbol] = self._now_ms()
        calm.move_to_end(symbol)

    def _base_of(self, channel: str) -> int:
        return self._patience_of(channel) or self._patience_ms

    def _patience_of(self, channel: str) -> int | None:
        if channel.startswith("books") or channel == "ticker":
            return self._patience_ms
        interval = INTERVAL.get(channel[6:]) if channel.startswith("candle") else None
        return INTERVAL_MS[interval] + self._patience_ms if interval is not None else None
