"""The embedded exchange itself: sources, matching venue, channels and clock, without any socket of its own."""

from __future__ import annotations

import asyncio
import hashlib
import heapq
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from tradebot.errors import ConfigError
from tradebot.market.instrument import Instrument
from tradebot.matching.venue import Venue
from tradebot.sim.auth import Credentials
from tradebot.sim.channels import BookFrames, PublicChannel, open_view, told_order
from tradebot.sim.clock import ExchangeClock
from tradebot.sim.connection import Connection
from tradebot.sim.faults import Faults, Schedule
from tradebot.sim.faults.kinds import Scope
from tradebot.sim.hub import Hub
from tradebot.sim.private import PrivateFeed
from tradebot.sim.source import MarketSource, MarketStep
from tradebot.sim.symbol import KEPT_TEXTS, SymbolMarket
from tradebot.sim.throttle import Cancellations
from tradebot.sim.wire import Ids, Refusal

MIN_LATENCY_MS = 20
LATENCY_SPREAD_MS = 61


def latency_ms(client_oid: str) -> int:
    """How long a request takes to reach the matching engine: 20 to 80 ms, a function of the client order id.

    >>> 20 <= latency_ms("tb-0001") <= 80
    True
    """
    digest = hashlib.sha256(client_oid.encode()).digest()
    return MIN_LATENCY_MS + int.from_bytes(digest[:8], "big") % LATENCY_SPREAD_MS


class Exchange:
    """Everything that happens at one exchange time, in a fixed order.

    At step T: 1. faults that are due happen; 2. sources whose time has come move their markets (in symbol order), and
    the venue with them; 3. funding due at T is settled; 4. requests whose latency has passed act, in the order they are
    due; 5. public channels of the markets that moved are published; 6. the account's events are pushed; 7. all frames
    go to the sockets.
    """

    def __init__(
        self,
        sources: Sequence[MarketSource],
        venue: Venue,
        *,
        credentials: Credentials | None = None,
        speed: float | None = None,
        hold: bool = False,
        unified: bool = False,
        book_frames: BookFrames = "both",
        faults: Schedule | None = None,
        cancellations: Cancellations | None = None,
    ) -> None:
        if not sources:
            raise ConfigError("the exchange has no market: give at least one symbol")
        ids = Ids()
        self.venue = venue
        self.credentials = credentials or Credentials()
        self.unified = unified
        self._cancellations = cancellations
        self._book_frames = book_frames
        kept = KEPT_TEXTS // len(sources)
        self.markets = {source.instrument.symbol: SymbolMarket(source, ids, kept) for source in sources}
        self.hub = Hub(self._pass_on)
        self.private = PrivateFeed(venue)
        self._channels: dict[str, dict[str, PublicChannel]] = {symbol: {} for symbol in self.markets}
        self._order = list(self.markets.values())
        self._queue: list[tuple[int, int]] = []
        for index, source in enumerate(sources):
            first_ms = source.next_ms()
            if first_ms is not None:
                self._queue.append((first_ms, index))
        heapq.heapify(self._queue)
        if not self._queue:
            raise ConfigError("the exchange's markets are empty: no source has a step")
        self._actions: list[tuple[int, int, Callable[[int], None]]] = []
        self._scheduled = 0
        start_ms = self._queue[0][0]
        self._funding = {market.symbol: market.next_funding_ms(start_ms) for market in self._order}
        self.clock = ExchangeClock(self, start_ms, speed=speed, hold=hold)
        self.faults = Faults(self, faults or Schedule(), start_ms)
        # the exchange opens with its first book, so that a client never sees it without one
        self.advance(start_ms)

    # --- what requests need -----------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        """Exchange time at which a request that arrives now is received."""
        return self.clock.receive_ms()

    def stamps_ms(self, scope: Scope) -> tuple[int, int]:
        """The clocks one of which a signature, of a request (``rest``) or a login (``private``), must agree with."""
        skew_ms = self.faults.requests.skew_ms(scope)
        return self.now_ms + skew_ms, int(time.time() * 1000) + skew_ms

    def may_cancel(self, order_id: str) -> bool:
        """Whether a cancel of this order may be asked for now; where requests are not counted it always may."""
        return self._cancellations is None or self._cancellations.take(order_id, time.monotonic())

    def market(self, symbol: str) -> SymbolMarket:
        """The market of a symbol in any case; raises Refusal 40034 for an unknown one."""
        market = self.markets.get(symbol.upper())
        if market is None:
            raise Refusal("40034", f"Parameter {symbol} does not exist")
        return market

    def terms(self, symbol: str) -> Instrument:
        """The contract as clients are told it now."""
        return self.faults.acts.terms(self.venue.instruments[symbol])

    def window(self) -> dict[str, Any]:
        """What is simulated: symbols, first and last moment (ms), base intervals (ms), each source in words."""
        sources = [market.source for market in self._order]
        return {
            "symbols": [market.symbol for market in self._order],
            "start": min(source.start_ms for source in sources),
            "end": max(source.end_ms for source in sources),
            "intervals": [source.interval_ms for source in sources],
            "sources": [source.description for source in sources],
        }

    def schedule(self, client_oid: str, act: Callable[[int], None], *, not_before_ms: int = 0) -> int:
        """Let ``act`` happen when a request named ``client_oid`` that arrives now reaches the engine; returns when."""
        at_ms = max(self.now_ms + latency_ms(client_oid), not_before_ms)
        self._scheduled += 1
        heapq.heappush(self._actions, (at_ms, self._scheduled, act))
        self.clock.nudge()
        return at_ms

    # --- public channels --------------------------------------------------------------------------------------------

    def subscribe(self, connection: Connection, name: str, symbol: str) -> None:
        """Add a subscriber to a public channel and send it the first push; an unknown channel is ignored."""
        channel = self._channels[symbol].get(name)
        if channel is None:
            view = open_view(name, self._book_frames)
            if view is None:
                return
            channel = PublicChannel(name, symbol, view)
            # whoever subscribes again must not hear of a candle before the book that it closed on
            opened = [*self._channels[symbol].items(), (name, channel)]
            self._channels[symbol] = dict(sorted(opened, key=lambda item: told_order(item[0])))
        channel.greet(connection, self.markets[symbol], self.clock.now_ms)

    def unsubscribe(self, connection: Connection, name: str, symbol: str) -> None:
        """Remove a subscriber; a channel without any is closed."""
        channel = self._channels[symbol].get(name)
        if channel is not None:
            channel.subscribers.pop(connection, None)
            if not channel.subscribers:
                del self._channels[symbol][name]

    def leave(self, connection: Connection) -> None:
        """The connection is gone."""
        for symbol, channels in self._channels.items():
            for name in list(channels):
                self.unsubscribe(connection, name, symbol)
        self.private.forget(connection)
        self.faults.forget(connection)
        self.hub.drop(connection)

    def _pass_on(self, connection: Connection, frame: bytes) -> None:
        self.faults.pass_on(connection, frame)

    # --- what the clock drives --------------------------------------------------------------------------------------

    def next_ms(self) -> int | None:
        """Time of the next step; funding and faults alone do not prolong the market."""
        due = self._actions[0][0] if self._actions else None
        if self._queue:
            step = min(self._queue[0][0], min(self._funding.values()))
            fault_ms = self.faults.next_ms()
            step = step if fault_ms is None else min(step, fault_ms)
            due = step if due is None else min(due, step)
        return due

    def reschedule(self, indices: Collection[int]) -> None:
        """The sources with these numbers have another next step than they had."""
        kept = [entry for entry in self._queue if entry[1] not in indices]
        for index in indices:
            next_ms = self._order[index].source.next_ms()
            if next_ms is not None:
                kept.append((next_ms, index))
        heapq.heapify(kept)
        self._queue = kept

    def advance(self, now_ms: int) -> None:
        acted = self.faults.advance(now_ms)
        moved = self._move_markets(now_ms)
        for symbol, due_ms in self._funding.items():
            if due_ms <= now_ms:
                self._settle_funding(symbol, due_ms)
        actions = self._actions
        while actions and actions[0][0] <= now_ms:
            heapq.heappop(actions)[2](now_ms)
            acted = True
        for market in self._order if acted else moved:
            self.publish(market, now_ms)
        self.tell_account()
        self.hub.flush()

    def answered(self) -> None:
        """A request has been dealt with: tell the account what it changed at once.

        A paced client is told with the next step instead: what it is told must belong to a step.
        """
        if not self.clock.paced:
            self.tell_account()
            self.hub.flush()

    def tell_account(self) -> None:
        """Tell the account's channels what happened since the last time."""
        events = self.venue.drain()
        if events:
            self.private.publish(events)

    def congested(self) -> bool:
        return self.hub.congested(asyncio.get_running_loop().time())

    def counts(self) -> dict[str, int]:
        return self.hub.counts()

    def _move_markets(self, now_ms: int) -> list[SymbolMarket]:
        queue = self._queue
        moved: list[SymbolMarket] = []
        while queue and queue[0][0] <= now_ms:
            index = queue[0][1]
            market = self._order[index]
            self.move(market)
            following = market.source.next_ms()
            if following is None:
                heapq.heappop(queue)
            else:
                heapq.heapreplace(queue, (following, index))
            if not moved or moved[-1] is not market:
                moved.append(market)
        return moved

    def move(self, market: SymbolMarket) -> None:
        """Make a market's next step, and show it to the matching engine."""
        step = market.source.step()
        market.take(step)
        self.trade(market, step)

    def trade(self, market: SymbolMarket, step: MarketStep) -> None:
        """Show a step to the matching engine: trades, book, mark."""
        venue, symbol, now_ms = self.venue, market.symbol, step.ts_ms
        for trade in step.trades:
            venue.trade(symbol, trade.price_ticks, trade.qty_lots, trade.side, now_ms)
        if step.bids is not None or step.asks is not None:
            venue.set_book(symbol, market.source_bids, market.source_asks, now_ms)
        venue.set_mark(symbol, step.mark, now_ms)

    def _settle_funding(self, symbol: str, due_ms: int) -> None:
        market = self.markets[symbol]
        market.funding_history.append((due_ms, market.funding_rate))
        self._funding[symbol] = market.next_funding_ms(due_ms)
        self.venue.settle_funding(symbol, market.funding_rate, due_ms)

    def publish(self, market: SymbolMarket, now_ms: int) -> None:
        """Tell a market's channels what it looks like now."""
        bids, asks = self.venue.depth(market.symbol)
        changed = market.publish_book(bids, asks, now_ms)
        for channel in self._channels[market.symbol].values():
            channel.publish(market, now_ms, changed)
        market.settle()
