"""Everything the bot hears from the exchange, as one object: connections, gate, decoding, book repair."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence

from tradebot.exchange.bitget.connection import Connection
from tradebot.exchange.bitget.feed import Feed, Trouble
from tradebot.exchange.bitget.gate import Gate
from tradebot.exchange.bitget.http import wall_ms
from tradebot.exchange.bitget.intake import Intake
from tradebot.exchange.bitget.latency import Latency
from tradebot.exchange.bitget.listener import PRIVATE, PUBLIC, Listener
from tradebot.exchange.bitget.naming import PRIVATE_PATH, PUBLIC_PATH, endpoint, granularity
from tradebot.exchange.bitget.pacing import Allowance, Attempts, Timing
from tradebot.exchange.bitget.signing import Credentials
from tradebot.exchange.bitget.silence import Silence
from tradebot.exchange.bitget.subscription import Subscription, sharded

log = logging.getLogger(__name__)

CHANNELS_PER_CONNECTION = 48
"""The exchange advises fewer than 50."""
CONNECTIONS = 90
"""The exchange allows an address 100, the private one and other programs included."""
CONNECT_SPACING_S = 0.02
ATTEMPTS_IN_FIVE_MINUTES = 240
"""The exchange allows an address 300 connection attempts in five minutes."""
SILENCE_MS = 60_000
ANSWER_MS = 10_000
BEHIND_MS = 2_000
SILENT, BEHIND, REFUSED = "silence", "behind", "refused"
"""Names of troubles, besides the book itself."""
CAUGHT_UP = 0.5
"""Who was behind is in time again below this part of the limit: data about as old as the limit are one episode."""

PRIVATE_SUBSCRIPTIONS = (
    Subscription("orders", "default"),
    Subscription("fill", "default"),
    Subscription("positions", "default"),
    Subscription("account", coin="default"),
    Subscription("orders-algo", "default"),
)


class BitgetStream:
    """Public streams of ``symbols`` and, with credentials, the private ones.

    ``url`` is the base (``wss://ws.bitget.com``) or the public endpoint itself; ``private_url`` likewise, when the
    private side is elsewhere. ``now_ms`` is the exchange's time as the bot knows it: silence and lateness are measured
    by it, and it signs the login unless ``signing_ms`` does. ``gate`` decides when frames are handled (default: as they
    come). Usage::

        stream = BitgetStream(url, ["SOLUSDT"], listener, credentials=key, now_ms=clock)
        task = asyncio.create_task(stream.run())
        await stream.ready()

    Whoever owns the stream calls ``on_time`` when ``next_due_ms`` is over: then

    * a symbol whose book or ticker was silent for ``silence_ms`` on a living connection is told as bad, and its
      subscription renewed, then its connection given up (see ``Silence``);
    * symbols are told as bad when frames wait longer than ``behind_ms`` to be handled, or books are older than that
      when they come, until they are in time again by a margin (``CAUGHT_UP``).
    """

    def __init__(
        self,
        url: str,
        symbols: Sequence[str],
        listener: Listener,
        *,
        private_url: str = "",
        intervals: Sequence[str] = ("5m",),
        credentials: Credentials | None = None,
        now_ms: Callable[[], int] = wall_ms,
        signing_ms: Callable[[], int] | None = None,
        on_clock_refused: Callable[[], Awaitable[object]] | None = None,
        gate: Gate | None = None,
        channels: Sequence[str] = ("books", "trade", "ticker"),
        channels_per_connection: int = CHANNELS_PER_CONNECTION,
        silence_ms: int = SILENCE_MS,
        answer_ms: int = ANSWER_MS,
        behind_ms: int = BEHIND_MS,
        timing: Timing | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._listener = listener
        self._symbols = tuple(symbols)
        self._now_ms = now_ms
        self._answer_ms = answer_ms
        self._behind_ms = behind_ms
        self._behind: set[str] = set()
        self._silence = Silence(now_ms, patience_ms=silence_ms, answer_ms=answer_ms)
        self.feed = Feed(listener, symbols, self._resync, self._heard, now_ms)
        self.gate = gate or Intake()
        self.gate.opens_to(self.feed)
        self._ups: dict[int, bool | None] = {PUBLIC: None, PRIVATE: None}
        """What was told of each side."""
        self._ready = asyncio.Event()
        self.silences = 0
        """Subscriptions that were doubted because they said nothing."""
        self.renewals = 0
        self.given_up = 0
        """Connections left because a subscription stayed silent although it was acknowledged."""
        self.times_behind = 0
        self.lateness = Latency()
        """Age of book updates by the exchange's clock when they were handled, ms."""
        self._public = endpoint(url, PUBLIC_PATH)
        self._attempts = Attempts(Allowance(ATTEMPTS_IN_FIVE_MINUTES, 300.0), CONNECT_SPACING_S)
        self._rng = rng or random.Random()
        self._signing_ms = signing_ms or now_ms
        self._on_clock_refused = on_clock_refused
        self._timing = timing
        self._candles = tuple(f"candle{granularity(interval)}" for interval in intervals)
        self.connections: list[Connection] = []
        self._carrier: dict[tuple[str, str], Connection] = {}
        shards = sharded(
            symbols, [*channels, *self._candles], per_connection=channels_per_connection, connections=CONNECTIONS
        )
        sides: list[tuple[str, int, Sequence[Subscription], Credentials | None]] = [
            (self._public, PUBLIC, shard, None) for shard in shards
        ]
        if credentials is not None:
            sides.append((endpoint(private_url or url, PRIVATE_PATH), PRIVATE, PRIVATE_SUBSCRIPTIONS, credentials))
        for address, rank, subscriptions, key in sides:
            self._carry(address, rank, subscriptions, key)

    def follow(self, symbols: Sequence[str]) -> None:
        """Hear the candles of further symbols, too, and nothing else of them. Only before ``run``."""
        self.feed.follow(symbols)
        self._carry(self._public, PUBLIC, [Subscription(name, symbol) for symbol in symbols for name in self._candles])

    def _carry(
        self, address: str, rank: int, subscriptions: Sequence[Subscription], key: Credentials | None = None
    ) -> None:
        connection = Connection(
            address,
            subscriptions,
            on_frame=self.gate.offer,
            on_up=self._on_up,
            on_ack=self._on_ack,
            on_refused=self._on_refused,
            rank=rank,
            index=len(self.connections),
            credentials=key,
            now_ms=self._signing_ms,
            on_clock_refused=self._on_clock_refused,
            attempts=self._attempts,
            timing=self._timing,
            rng=self._rng,
        )
        self.connections.append(connection)
        self.gate.admit(connection)
        self._carrier |= {(one.channel, one.inst_id): connection for one in subscriptions}

    async def run(self) -> None:
        """Stay connected until ``close`` or cancellation. Raises AuthRefused when the login is refused."""
        gate = asyncio.create_task(self.gate.run())
        connected = [asyncio.create_task(connection.run()) for connection in self.connections]
        try:
            waiting = {gate, *connected}
            while waiting > {gate}:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in (gate, *connected):
                task.cancel()
            await asyncio.gather(gate, *connected, return_exceptions=True)

    async def ready(self) -> None:
        """Wait until every connection is up."""
        await self._ready.wait()

    @property
    def up(self) -> bool:
        """Whether every connection is up now."""
        return all(connection.up for connection in self.connections)

    async def close(self) -> None:
        """Leave all connections."""
        await asyncio.gather(*(connection.close() for connection in self.connections))

    # --- by the clock -----------------------------------------------------------------------------------------------

    def next_due_ms(self) -> int | None:
        """When ``on_time`` has something to do next."""
        return self._now_ms() if self._backlog() else self._silence.next_due_ms()

    def on_time(self) -> None:
        """Look for silence and for a backlog."""
        if self._backlog():
            for symbol in self._symbols:
                self._blame_lag(symbol, self.gate.age_s() * 1_000)
        renew: dict[Connection, list[Subscription]] = {}
        for channel, symbol, silent_ms, step in self._silence.overdue():
            self.silences += 1
            reason = f"{channel} silent for {silent_ms / 1_000:.0f} s"
            log.warning("stream: %s of %s; %s", reason, symbol, step)
            if not channel.startswith("candle"):  # candles are read back by REST
                self.feed.blame(symbol, f"{SILENT}:{channel}", self._silence_of(symbol, reason))
            connection = self._carrier[channel, symbol]
            subscription = connection.holds(channel, symbol)
            if step == "reconnect":
                self.given_up += 1
                connection.drop()
            elif subscription is not None:
                renew.setdefault(connection, []).append(subscription)
                if channel.startswith("books"):
                    self.feed.resyncs_by_kind["silent"] += 1
        for connection, subscriptions in renew.items():
            self.renewals += len(subscriptions)
            connection.renew(subscriptions)

    def _silence_of(self, symbol: str, reason: str) -> Trouble:
        """A channel of a symbol is silent: all of them, or the others go on."""
        heard_ms = self.feed.last_heard_ms(symbol)
        if self._now_ms() - heard_ms < self._answer_ms:
            return Trouble("book", reason, self.feed.last_heard_ms(symbol, "books"))
        return Trouble("silence", reason, heard_ms)

    def _backlog(self, part: float = 1.0) -> bool:
        return self.gate.age_s() * 1_000 > self._behind_ms * part

    def _blame_lag(self, symbol: str, late_ms: float) -> None:
        if symbol in self._behind:
            return
        if not self._behind:
            self.times_behind += 1
            log.error("stream: %.1f s behind, %d frames waiting", late_ms / 1_000, self.gate.depth)
        self._behind.add(symbol)
        self.feed.blame(symbol, BEHIND, Trouble("behind", f"{late_ms / 1_000:.1f} s behind", self._now_ms()))

    # --- what connections and the feed say --------------------------------------------------------------------------

    def _on_up(self, connection: Connection, up: bool) -> None:
        if not up:
            self.gate.lost(connection)
            lost = [(s.channel, s.inst_id) for s in connection.subscriptions]
            self._silence.forget(lost)
            self.feed.disconnected(symbol for channel, symbol in lost if channel.startswith("books"))
            if connection.rank == PUBLIC:
                for channel, symbol in lost:
                    self.feed.clear(symbol, f"{SILENT}:{channel}")
                    self.feed.clear(symbol, f"{REFUSED}:{channel}")
            self._ready.clear()
        side_up = all(other.up for other in self.connections if other.rank == connection.rank)
        if side_up != self._ups[connection.rank] and (side_up or not up):
            self._ups[connection.rank] = side_up
            self._listener.on_connection(connection.rank, side_up)
        if self.up:
            self._ready.set()

    def _on_ack(self, subscription: Subscription) -> None:
        self._silence.watch(subscription.channel, subscription.inst_id)
        self.feed.acknowledged(subscription.channel, subscription.inst_id)
        if subscription not in PRIVATE_SUBSCRIPTIONS:
            self.feed.clear(subscription.inst_id, f"{REFUSED}:{subscription.channel}")

    def _on_refused(self, subscription: Subscription, reason: str) -> None:
        channel, symbol = subscription.channel, subscription.inst_id
        if subscription in PRIVATE_SUBSCRIPTIONS:
            self._listener.on_refused(channel, reason)
        elif channel.startswith("books"):
            self.feed.refused(symbol, reason)
        elif not channel.startswith("candle"):  # candles are read back by REST
            self.feed.blame(symbol, f"{REFUSED}:{channel}", Trouble("book", f"{channel} {reason}", self._now_ms()))

    def _heard(self, channel: str, symbol: str, sent_ms: int, now_ms: int, snapshot: bool) -> None:
        if self._silence.heard(channel, symbol, now_ms):
            self.feed.clear(symbol, f"{SILENT}:{channel}")
        if sent_ms:
            late_ms = now_ms - sent_ms
            if snapshot:  # where time goes in steps, what answers a subscription waits for the next one
                late_ms -= min(late_ms, self.gate.apart_ms)
            else:
                self.lateness.add(late_ms)
            if late_ms > self._behind_ms:
                self._blame_lag(symbol, late_ms)
            elif symbol in self._behind and late_ms <= self._behind_ms * CAUGHT_UP and not self._backlog(CAUGHT_UP):
                self._behind.discard(symbol)
                self.feed.clear(symbol, BEHIND)

    def _resync(self, channel: str, symbol: str) -> None:
        connection = self._carrier.get((channel, symbol))
        subscription = connection.holds(channel, symbol) if connection is not None else None
        if connection is not None and subscription is not None:
            connection.resync(subscription)
