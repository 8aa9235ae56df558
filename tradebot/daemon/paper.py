"""Paper trading in the daemon: the paper broker behind the broker's port, and its account on disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from pathlib import Path

from tradebot.errors import ConfigError
from tradebot.events import (
    EngineConfig,
    Event,
    FeedStatus,
    InstrumentUpdated,
    OrderState,
    PlaceStop,
    Record,
    TickerUpdated,
)
from tradebot.exchange.bitget.listener import Listener
from tradebot.execution.broker import OrderCommand
from tradebot.execution.latency import Latency
from tradebot.execution.paper import PaperBroker, PaperState
from tradebot.market.book import OrderBook
from tradebot.market.instrument import Instrument
from tradebot.market.trade import Trade
from tradebot.ops.files import write_atomic

DEPTH = 25


class PaperDesk(Listener):
    """Fills commands against the real public books, with fees, latency and funding; no key needed.

    A broker, a listener of the market it fills on, an observer of the contracts, and a part that acts by the clock.
    What happens is told to ``put``, and is on disk before: the account survives restarts in ``path``. It is written
    beside the loop; what happens meanwhile is written next, in one go. When it cannot be written nothing more is told,
    and every part of it raises what was in the way.
    """

    def __init__(
        self,
        path: Path,
        config: EngineConfig,
        clock: Callable[[], int],
        put: Callable[[Event], None],
        *,
        cash: Decimal,
        latency: Latency,
        lockstep: bool = False,
    ) -> None:
        """``lockstep``: the exchange waits for the bot, so each change is written before anything else happens."""
        self._path = path
        self._config = config
        self._clock = clock
        self._put = put
        self._cash = cash
        self._latency = latency
        self._lockstep = lockstep
        self._instruments: dict[str, Instrument] = {}
        self._broker: PaperBroker | None = None
        self._untold: list[Event] = []
        self._saving: asyncio.Task[None] | None = None
        self._failure: Exception | None = None

    @property
    def broker(self) -> PaperBroker:
        if self._broker is None:
            raise ConfigError("the paper broker needs the exchange's contracts first")
        return self._broker

    async def close(self) -> None:
        """Tell what is left and write the account to disk. Raises BusyError or DataError when it cannot be written."""
        if self._broker is not None:
            await self._all_told()
            await asyncio.to_thread(self._write, self._broker.state())

    def __call__(self, seq: int, ts_ms: int, record: Record) -> None:
        """Contracts as the engine knows them (an observer of the sequencer)."""
        if isinstance(record, InstrumentUpdated):
            self._instruments[record.instrument.symbol] = record.instrument
            if self._broker is not None:
                self._broker.on_instrument(record.instrument)
                self._tell()

    # --- the market it fills on --------------------------------------------------------------------------------------

    def on_book(self, symbol: str, book: OrderBook, ts_exchange_ms: int) -> None:
        bid_px, bid_sz, ask_px, ask_sz = book.levels(DEPTH)
        bids, asks = zip(bid_px, bid_sz, strict=True), zip(ask_px, ask_sz, strict=True)
        self.broker.on_book(symbol, tuple(bids), tuple(asks), self._clock())
        self._tell()

    def on_feed(self, event: FeedStatus) -> None:
        """A book that is not trusted any more: orders wait for the next one."""
        if not event.ok:
            self.broker.on_gap(event.symbol, self._clock())
            self._tell()

    def on_trades(self, symbol: str, rows: Sequence[Trade]) -> None:
        for trade in rows:
            self.broker.on_trade(symbol, trade.price, trade.qty, trade.side, self._clock())
        self._tell()

    def on_ticker(self, event: TickerUpdated) -> None:
        self.broker.on_mark(event.symbol, event.mark, self._clock(), event.funding_rate, event.next_funding_ms)
        self._tell()

    # --- a part that acts by the clock -------------------------------------------------------------------------------

    def next_due_ms(self) -> int | None:
        if self._failure is not None:
            return self._clock()
        return self._broker.next_due_ms() if self._broker is not None else None

    def on_time(self) -> None:
        self.broker.on_time(self._clock())
        self._tell()

    def _tell(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._untold += self.broker.drain()
        if self._untold and self._lockstep:
            self._write(self.broker.state())
            self._tell_all()
        elif self._untold and self._saving is None:
            self._saving = asyncio.create_task(self._save_and_tell(), name="paper account")

    async def _save_and_tell(self) -> None:
        try:
            while written := len(self._untold):
                await asyncio.to_thread(self._write, self.broker.state())
                self._tell_all(written)
        except Exception as error:
            self._failure = error
        finally:
            self._saving = None

    def _tell_all(self, count: int | None = None) -> None:
        events, self._untold = self._untold[:count], [] if count is None else self._untold[count:]
        for event in events:
            self._put(event)

    async def _all_told(self) -> None:
        while self._saving is not None:
            await asyncio.wait((self._saving,))
        if self._failure is not None:
            raise self._failure

    def _write(self, state: PaperState) -> None:
        write_atomic(self._path, state.encode(), mode=0o600)

    # --- the broker's port -------------------------------------------------------------------------------------------

    async def execute(self, command: OrderCommand) -> AsyncIterator[Event]:
        answer = self.broker.execute(command)
        yield answer
        if isinstance(command, PlaceStop) and answer.outcome == "accepted" and not answer.order_id:
            for stop in self.broker.snapshot().stops:  # there was one already: it is not what was asked for
                if stop.symbol == command.symbol:
                    yield stop
        self._tell()

    async def prepare(self, config: EngineConfig) -> list[Event]:
        """Begin with the account on disk, or with the configured cash. Raises DataError when the file is damaged."""
        broker = PaperBroker(
            self._instruments.values(),
            self._cash,
            leverage=self._config.leverage,
            margin_mode=self._config.margin_mode,
            latency=self._latency,
            clock=self._clock,
        )
        if self._path.exists():
            broker.load(PaperState.decode(self._path.read_bytes(), str(self._path)))
        self._broker = broker
        return [*broker.settings(), broker.account()]

    async def reconcile(self, orders: Sequence[OrderState], since_ms: int, asked_ms: int) -> list[Event]:
        await self._all_told()
        return self.broker.reconcile(orders, since_ms, asked_ms)
