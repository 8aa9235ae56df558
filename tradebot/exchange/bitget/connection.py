"""One WebSocket to the exchange that stays up (protocol sections 10.1 to 10.3).

1. *connecting* – open the socket; on the private side log in.
2. *subscribing* – subscribe in chunks; arguments without an ack in time are sent again.
3. *up* – every argument was acknowledged or refused. Text pings are sent; a missing pong ends the connection. A refused
   public channel is asked for again now and then; without one of the private ones the session is of no use: it is left.
4. *down* – lost for whatever reason (24 h limit, release, half-open socket): wait, go to 1. The first wait is none,
   then 1, 2, 4 … 30 s, shortened at random so that many clients do not return at once.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from time import monotonic

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from tradebot.errors import AuthRefused, DataError, Unavailable
from tradebot.exchange.bitget import errors
from tradebot.exchange.bitget.listener import PRIVATE, PUBLIC
from tradebot.exchange.bitget.messages import PONG, Arg, Reply, decode_reply, is_reply
from tradebot.exchange.bitget.pacing import Allowance, Attempts, Backoff, Timing
from tradebot.exchange.bitget.signing import Credentials, login_argument
from tradebot.exchange.bitget.subscription import Subscription, chunked
from tradebot.exchange.loopback import on_loopback

log = logging.getLogger(__name__)

UNREAD_FRAMES = 64
"""Frames that may lie between the socket and the reader; then the socket is not read any more."""


class Connection:
    """A self-healing connection.

    ``on_frame(connection, frame)`` gets every text frame in order, acks and pongs included, after ``received`` (frames
    of this session so far) was raised; if it returns something to wait for, nothing is read before that is over.
    ``on_up(connection, up)`` tells of stage 3 and of the end of every session that heard anything, ``on_ack`` of each
    subscription that the exchange took. ``conn_id`` is the name the exchange gave this session, empty while unknown.
    ``now_ms`` is the time that signs the login; ``on_clock_refused`` is awaited when the exchange called it wrong.
    ``attempts`` are shared by all connections of this address.
    """

    def __init__(
        self,
        url: str,
        subscriptions: Iterable[Subscription],
        *,
        on_frame: Callable[[Connection, bytes], Awaitable[None] | None],
        on_up: Callable[[Connection, bool], None],
        on_ack: Callable[[Subscription], None] | None = None,
        on_refused: Callable[[Subscription, str], None] | None = None,
        rank: int = PUBLIC,
        index: int = 0,
        credentials: Credentials | None = None,
        now_ms: Callable[[], int] | None = None,
        on_clock_refused: Callable[[], Awaitable[object]] | None = None,
        attempts: Attempts | None = None,
        timing: Timing | None = None,
        rng: random.Random | None = None,
    ) -> None:
        if credentials is not None and now_ms is None:
            raise ValueError("a connection that logs in needs a clock")
        self.url = url
        self.subscriptions = tuple(subscriptions)
        self.rank = rank
        self.index = index
        self.conn_id = ""
        self.received = 0
        self.sessions = 0
        self.unreadable = 0
        """Replies that could not be read; what they answered is asked again."""
        self.worn_out = 0
        """Sessions ended because their subscribe requests were used up."""
        self.up = False
        self.refused: dict[Subscription, str] = {}
        self._on_frame = on_frame
        self._on_up = on_up
        self._on_ack = on_ack
        self._on_refused = on_refused
        self._credentials = credentials
        self._now_ms = now_ms
        self._on_clock_refused = on_clock_refused
        self._timing = timing or Timing()
        self._attempts = attempts
        # jitter need not be reproducible: it follows no exchange time and decides nothing
        self._rng = rng or random.Random()
        self._backoff = Backoff(self._rng, self._timing.first_wait, self._timing.longest_wait)
        self._socket: ClientConnection | None = None
        self._outbox: asyncio.Queue[str] = asyncio.Queue()
        self._unacked: dict[Subscription, float] = {}
        self._by_key = {(s.channel, s.inst_id or s.coin): s for s in self.subscriptions}
        self._resync_backoff: dict[Subscription, Backoff] = {}
        self._resync_at: dict[Subscription, float] = {}
        self._logged_in = asyncio.Event()
        self._pong = asyncio.Event()
        self._messages = Allowance(self._timing.messages_per_second, 1.0)
        self._subscribes = Allowance(self._timing.subscribes_per_hour, 3_600.0)
        self._refused_until: dict[Subscription, float] = {}
        self._held_at = float("-inf")
        self._closing = False
        self.last_error = ""

    # --- life -------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Stay connected until ``close``. Raises AuthRefused when the login is refused for good."""
        while not self._closing:
            began = monotonic()
            try:
                await self._session()
                self.last_error = "closed by the exchange"
            except (OSError, TimeoutError, WebSocketException, Unavailable, DataError) as error:
                self.last_error = str(error) or type(error).__name__
            finally:
                self._end_session()
            if self._closing:
                return
            if monotonic() - began >= self._timing.stable:
                self._backoff.reset()
            wait = self._backoff.next()
            log.warning("stream %s lost (%s); reconnecting in %.1f s", self.url, self.last_error, wait)
            await asyncio.sleep(wait)

    async def close(self) -> None:
        """Leave, and let ``run`` return."""
        self._closing = True
        if self._socket is not None:
            await self._socket.close()

    def drop(self) -> None:
        """Cut the socket without a farewell; ``run`` reconnects."""
        if self._socket is not None:
            self._socket.transport.abort()

    async def _session(self) -> None:
        if self._attempts is not None:
            await self._attempts.turn()
        async with connect(
            self.url,
            compression=None,
            ping_interval=None,
            open_timeout=self._timing.open,
            close_timeout=2,
            max_size=16 << 20,
            max_queue=UNREAD_FRAMES,
            proxy=None if on_loopback(self.url) else True,
        ) as socket:
            self._socket = socket
            self.sessions += 1
            tasks = [
                asyncio.create_task(self._read(socket)),
                asyncio.create_task(self._write(socket)),
                asyncio.create_task(self._attend()),
            ]
            try:
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def _end_session(self) -> None:
        self._socket = None
        began, self.up = self.up or self.received > 0, False
        if began:
            self._on_up(self, False)
        self.conn_id = ""
        self.received = 0
        self._outbox = asyncio.Queue()
        self._subscribes = Allowance(self._timing.subscribes_per_hour, 3_600.0)
        self._unacked.clear()
        self.refused.clear()
        self._refused_until.clear()
        self._resync_at.clear()
        self._held_at = float("-inf")
        self._logged_in.clear()
        self._pong.clear()

    async def _read(self, socket: ClientConnection) -> None:
        receive = socket.recv
        while True:
            frame = await receive(decode=False)
            self.received += 1
            if frame == PONG:
                self._pong.set()
            elif is_reply(frame):
                try:
                    reply = decode_reply(frame)
                except DataError as error:
                    self.unreadable += 1
                    log.warning("stream %s: %s", self.url, error)
                else:
                    await self._hear(reply)
            room = self._on_frame(self, frame)
            if room is not None:
                self._held_at = float("inf")
                await room
                self._held_at = monotonic()

    async def _write(self, socket: ClientConnection) -> None:
        while True:
            message = await self._outbox.get()
            if (wait := self._messages.wait_s()) > 0:
                await asyncio.sleep(wait)
            self._messages.take()
            await socket.send(message)

    async def _attend(self) -> None:
        """Log in, subscribe, then ping, and send again what was not acknowledged."""
        timing = self._timing
        if self._credentials is not None and self._now_ms is not None:
            self._say("login", [login_argument(self._credentials, self._now_ms() // 1_000)])
            await asyncio.wait_for(self._logged_in.wait(), timing.open)
        self._subscribe(self.subscriptions)
        next_ping = monotonic() + timing.ping
        pong_due: float | None = None
        tick = min(timing.ping, timing.pong, timing.ack, 1.0) / 4
        while True:
            await asyncio.sleep(tick)
            now = monotonic()
            if self._pong.is_set():
                self._pong.clear()
                pong_due = None
            # while frames wait to be handled, so does the pong behind them
            if pong_due is not None and now >= max(pong_due, self._held_at + timing.pong):
                raise Unavailable(f"no pong within {timing.pong:g} s")
            if now >= next_ping:
                self._outbox.put_nowait("ping")
                next_ping = now + timing.ping
                pong_due = pong_due or now + timing.pong
            overdue = [subscription for subscription, due in self._unacked.items() if now >= due]
            if overdue:
                log.warning("stream %s: no ack for %d channels; subscribing again", self.url, len(overdue))
                self._subscribe(overdue)
            if again := [s for s, due in self._refused_until.items() if now >= due]:
                for subscription in again:
                    del self._refused_until[subscription], self.refused[subscription]
                self._subscribe(again)
            for subscription in [s for s, due in self._resync_at.items() if now >= due]:
                del self._resync_at[subscription]
                self.renew([subscription])

    # --- talking ----------------------------------------------------------------------------------------------------

    def resync(self, subscription: Subscription) -> None:
        """Unsubscribe and subscribe one channel again, for its snapshot. Repeated within a minute, it waits longer."""
        if self._socket is None or subscription in self._resync_at:
            return
        backoff = self._resync_backoff.setdefault(subscription, Backoff(self._rng, 1.0, self._timing.longest_wait))
        wait = backoff.next()
        if wait > 0:
            self._resync_at[subscription] = monotonic() + wait
            return
        asyncio.get_running_loop().call_later(self._timing.stable, backoff.reset)
        self.renew([subscription])

    def renew(self, subscriptions: Sequence[Subscription]) -> None:
        """Unsubscribe and subscribe these channels now. A session that has no request left for it is ended instead."""
        if self._socket is None:
            return
        self._say("unsubscribe", [subscription.argument() for subscription in subscriptions])
        self._subscribe(subscriptions)

    def _subscribe(self, subscriptions: Iterable[Subscription]) -> None:
        due = monotonic() + self._timing.ack
        wanted = [s for s in subscriptions if s not in self.refused]
        for subscription in wanted:
            self._unacked[subscription] = due
        self._say("subscribe", [subscription.argument() for subscription in wanted])
        self._check_up()

    def _say(self, operation: str, arguments: Sequence[dict[str, str]]) -> None:
        for message in chunked(operation, arguments):
            if operation == "subscribe":
                if self._subscribes.wait_s() > 0:
                    self.worn_out += 1
                    self.drop()
                    return
                self._subscribes.take()
            self._outbox.put_nowait(message)

    async def _hear(self, reply: Reply) -> None:
        if reply.connId:
            self.conn_id = reply.connId
        code = str(reply.code)
        if reply.event == "login" and code == "0":
            self._logged_in.set()
        elif reply.event == "subscribe":
            subscription = self._subscription(reply.arg)
            if subscription is not None:
                self._unacked.pop(subscription, None)
                self.refused.pop(subscription, None)
                self._refused_until.pop(subscription, None)
                if self._on_ack is not None:
                    self._on_ack(subscription)
                self._check_up()
        elif reply.event in ("error", "login"):
            await self._hear_error(code, reply)

    async def _hear_error(self, code: str, reply: Reply) -> None:
        text = f"{reply.msg or 'no message'} (code {code})"
        logging_in = self._credentials is not None and not self._logged_in.is_set()
        if logging_in and code in errors.STREAM_CLOCK:
            if self._on_clock_refused is not None:
                await self._on_clock_refused()
            raise Unavailable(f"login timestamp refused: {text}", code=code)
        if logging_in and code in errors.STREAM_AUTH:
            raise AuthRefused(f"Bitget refused the stream login: {text}", code=code)
        if code == errors.STREAM_LOGIN_NEEDED or code in errors.STREAM_OVERLOAD or logging_in:
            raise Unavailable(f"stream error: {text}", code=code)
        subscription = self._subscription(reply.arg)
        log.error("stream %s: %s", self.url, text)
        if subscription is not None:
            self.refused[subscription] = text
            self._refused_until[subscription] = monotonic() + self._timing.refused
            self._unacked.pop(subscription, None)
            if self._on_refused is not None:
                self._on_refused(subscription, f"subscription refused: {text}")
            if self.rank == PRIVATE:
                raise Unavailable(f"{subscription.channel} refused: {text}", code=code)
            self._check_up()

    def holds(self, channel: str, symbol: str) -> Subscription | None:
        """The subscription of this connection to a channel of a symbol, if it has it."""
        return self._by_key.get((channel, symbol))

    @property
    def settled(self) -> bool:
        """Whether every subscription that was asked for was answered."""
        return not self._unacked

    def _subscription(self, arg: Arg | None) -> Subscription | None:
        if arg is None:
            return None
        return self._by_key.get((arg.channel, arg.instId or arg.coin))

    def _check_up(self) -> None:
        if not self.up and not self._unacked and self._socket is not None:
            self.up = True
            self._on_up(self, True)
