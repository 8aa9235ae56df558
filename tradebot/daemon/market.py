"""The market side of the bot: what trading and recording are both made of."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import structlog

from tradebot.daemon.contracts import Contracts
from tradebot.daemon.drive import Drive
from tradebot.daemon.fees import AccountFees, ConfiguredFees, Fees
from tradebot.daemon.paced import PacedDrive
from tradebot.daemon.tasks import first_of
from tradebot.daemon.timeouts import Timeouts
from tradebot.daemon.venues import other_venues
from tradebot.daemon.wall import WallDrive
from tradebot.errors import DataError, ExchangeError
from tradebot.events import Event
from tradebot.exchange.bitget.listener import FanOut, Listener
from tradebot.exchange.bitget.naming import PUBLIC_PATH
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.exchange.bitget.signing import Credentials
from tradebot.exchange.bitget.stream import BitgetStream
from tradebot.settings import Settings
from tradebot.shell.feed import MarketFeed
from tradebot.shell.history import History

log = structlog.get_logger(__name__)

STREAM_START_S = 30.0


class MarketSide:
    """Clock, REST, contracts, history, feed and books of other venues for ``settings.symbols``; ``put`` is told.

    ``connect`` makes the stream, once everybody who listens is there. ``credentials`` sign requests.
    """

    stream: BitgetStream

    def __init__(
        self,
        settings: Settings,
        put: Callable[[Event], None],
        *,
        credentials: Credentials | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._settings = settings
        self._timeouts = timeouts or Timeouts()
        self._running: asyncio.Task[None] | None = None
        symbols, interval = settings.symbols, settings.trading.interval
        self.rest = BitgetRest(
            settings.exchange.rest_url,
            credentials=credentials,
            demo=settings.mode == "exchange-demo",
            limited=None if settings.exchange.rate_limited else False,
            timeout_s=self._timeouts.rest_timeout_s,
            now_ms=lambda: self.drive.signing_ms(),
            on_clock_refused=lambda: self.drive.remeasure(),
            first_retry_s=self._timeouts.first_retry_s,
        )
        self.drive: Drive = (
            PacedDrive(settings.public_ws.removesuffix(PUBLIC_PATH).rstrip("/") + "/sim/clock", self.rest)
            if settings.exchange.clock == "paced"
            else WallDrive(self.rest, put)
        )
        self.clock = self.drive.clock
        paper = settings.paper
        fees: Fees = (
            ConfiguredFees(paper.maker_fee, paper.taker_fee)
            if settings.mode == "paper" or credentials is None
            else AccountFees(self.rest, self.clock)
        )
        self.contracts = Contracts(self.rest, symbols, self.clock, put, fees)
        self.history = History(self.rest, interval, put)
        self.feed = MarketFeed(
            symbols, interval, self.clock, put, self.history.candles, row_grace_ms=self.drive.row_grace_ms
        )
        self.venues = other_venues(settings, symbols, self.clock, put)

    def connect(self, listeners: Iterable[Listener], *, login: Credentials | None = None) -> BitgetStream:
        """The stream that tells ``listeners``, the private side too with ``login``; it runs from ``start`` on."""
        settings = self._settings
        self.stream = BitgetStream(
            settings.public_ws,
            settings.symbols,
            FanOut(listeners),
            private_url=settings.private_ws,
            intervals=(settings.trading.interval,),
            credentials=login,
            now_ms=self.clock.now_ms,
            signing_ms=self.drive.signing_ms,
            silence_ms=settings.feed.silence.ms,
            answer_ms=settings.feed.answer.ms,
            behind_ms=settings.feed.behind.ms,
            on_clock_refused=self.drive.remeasure,
            gate=self.drive.gate,
            timing=self._timeouts.stream,
        )
        return self.stream

    async def refer(self, references: Sequence[str], now_ms: int) -> None:
        """Tell the candles of ``references`` that are not among the symbols, and hear them from ``start`` on. One that
        the exchange does not have, or does not tell of, is left out: features made of it stay unknown."""
        for symbol in references:
            if symbol in self._settings.symbols:
                continue
            if symbol not in self.contracts.offered:
                log.warning("reference_unknown", symbol=symbol, what="features made of its candles are unknown")
                continue
            try:
                last = await self.history.load(symbol, now_ms)
            except (ExchangeError, DataError) as error:
                log.warning("reference_unknown", symbol=symbol, what=str(error))
                continue
            self.feed.start_after(symbol, last)
            self.stream.follow((symbol,))

    async def start(self) -> asyncio.Task[None]:
        """Run the stream and wait until it is up, but not for ever. Raises AuthRefused."""
        self._running = asyncio.create_task(self.stream.run(), name="stream")
        await first_of(self.stream.ready(), self._running, timeout_s=STREAM_START_S)
        if not self.stream.up:
            log.warning("streams_not_up", url=self._settings.public_ws)
        return self._running

    async def leave(self) -> None:
        """Leave the stream."""
        await self.stream.close()
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
