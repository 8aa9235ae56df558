"""Everything the bot hears from the exchange, as one object: connections, gate, decoding, book repair."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence

from tradebot.exchange.bitget.connection import PRIVATE, PUBLIC, Connection, Subscription, Timing
from tradebot.exchange.bitget.feed import Feed
from tradebot.exchange.bitget.gate import FrameGate
from tradebot.exchange.bitget.listener import Listener
from tradebot.exchange.bitget.naming import PRIVATE_PATH, PUBLIC_PATH, endpoint, granularity
from tradebot.exchange.bitget.signing import Credentials

CHANNELS_PER_CONNECTION = 48
"""The exchange advises fewer than 50."""

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
    private side is elsewhere. ``now_ms`` gives the time that signs the login. With ``paced`` frames
    wait at ``gate`` until ``gate.reach(counts)`` releases them. Usage::

        stream = BitgetStream(url, ["SOLUSDT"], listener, credentials=key, now_ms=clock)
        task = asyncio.create_task(stream.run())
        await stream.ready()
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
        now_ms: Callable[[], int] | None = None,
        on_clock_refused: Callable[[], Awaitable[object]] | None = None,
        paced: bool = False,
        channels: Sequence[str] = ("books", "trade", "ticker"),
        channels_per_connection: int = CHANNELS_PER_CONNECTION,
        timing: Timing | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._listener = listener
        self.feed = Feed(listener, symbols, self._resync)
        self.gate = FrameGate(self.feed.process, paced=paced)
        self._ups: dict[int, bool] = {PUBLIC: False, PRIVATE: False}
        self._ready = asyncio.Event()
        wanted = [*channels, *(f"candle{granularity(interval)}" for interval in intervals)]
        rng = rng or random.Random()
        self.connections: list[Connection] = []
        for group in _grouped(symbols, wanted, channels_per_connection):
            self._add(
                Connection(
                    endpoint(url, PUBLIC_PATH),
                    group,
                    on_frame=self.gate.offer,
                    on_up=self._on_up,
                    on_refused=self._on_refused,
                    rank=PUBLIC,
                    index=len(self.connections),
                    timing=timing,
                    rng=rng,
                )
            )
        if credentials is not None:
            self._add(
                Connection(
                    endpoint(private_url or url, PRIVATE_PATH),
                    PRIVATE_SUBSCRIPTIONS,
                    on_frame=self.gate.offer,
                    on_up=self._on_up,
                    on_refused=self._on_refused,
                    rank=PRIVATE,
                    index=len(self.connections),
                    credentials=credentials,
                    now_ms=now_ms,
                    on_clock_refused=on_clock_refused,
                    timing=timing,
                    rng=rng,
                )
            )

    async def run(self) -> None:
        """Stay connected until ``close`` or cancellation. Raises AuthRefused when the login is refused."""
        tasks = [asyncio.create_task(connection.run()) for connection in self.connections]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

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

    def _add(self, connection: Connection) -> None:
        self.connections.append(connection)
        self.gate.admit(connection)

    def _on_up(self, connection: Connection, up: bool) -> None:
        if not up:
            self.gate.lost(connection)
            self.feed.disconnected(s.inst_id for s in connection.subscriptions if s.channel.startswith("books"))
            self._ready.clear()
        side_up = all(other.up for other in self.connections if other.rank == connection.rank)
        if side_up != self._ups[connection.rank]:
            self._ups[connection.rank] = side_up
            self._listener.on_connection(connection.rank, side_up)
        if self.up:
            self._ready.set()

    def _on_refused(self, subscription: Subscription, reason: str) -> None:
        if subscription.channel.startswith("books"):
            self.feed.refused(subscription.inst_id, reason)

    def _resync(self, symbol: str) -> None:
        for connection in self.connections:
            for subscription in connection.subscriptions:
                if subscription.inst_id == symbol and subscription.channel.startswith("books"):
                    connection.resync(subscription)


def _grouped(symbols: Sequence[str], channels: Sequence[str], limit: int) -> Iterator[list[Subscription]]:
    """Subscriptions by connection; the channels of one symbol stay together."""
    per_connection = max(1, limit // max(1, len(channels)))
    for at in range(0, len(symbols), per_connection):
        yield [Subscription(channel, symbol) for symbol in symbols[at : at + per_connection] for channel in channels]
