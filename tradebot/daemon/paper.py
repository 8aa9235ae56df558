"""Paper trading in the daemon: the paper broker behind the broker's port, and its account on disk."""

from __future__ import annotations

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
from tradebot.execution.paper import PaperBroker, PaperState
from tradebot.market.book import OrderBook
from tradebot.market.instrument import Instrument
from tradebot.market.trade import Trade
from tradebot.ops.files import write_atomic

DEPTH = 25


class PaperDesk(Listener):
    """Fills commands against the real public books, with fees, latency and funding; no key needed.

    A broker, a listener of the market it fills on, an observer of the contracts, and a part that acts by the clock.
    What happens is told to ``put``, and is on disk before: the account survives restarts in ``path``.
    """

    def __init__(
        self,
        path: Path,
        config: EngineConfig,
        clock: Callable[[], int],
        put: Callable[[Event], None],
        *,
        cash: Decimal,
        latency_ms: tuple[int, int],
    ) -> None:
        self._path = path
        self._config = config
        self._clock = clock
        self._put = put
        self._cash = cash
        self._latency_ms = latency_ms
        self._instruments: dict[str, Instrument] = {}
        self._broker: PaperBroker | None = None

    @property
    def broker(self) -> PaperBroker:
        if self._broker is None:
            raise ConfigError("the paper broker needs the exchange's contracts first")
        return self._broker

    def save(self) -> None:
        """Write the account to disk."""
        if self._broker is not None:
            write_atomic(self._path, self._broker.state().encode(), mode=0o600)

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
        return self._broker.next_due_ms() if self._broker is not None else None

    def on_time(self) -> None:
        self.broker.on_time(self._clock())
        self._tell()

    def _tell(self) -> None:
        events = self.broker.drain()
        if events:
            self.save()
        for event in events:
            self._put(event)

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
            latency_ms=self._latency_ms,
            clock=self._clock,
        )
        if self._path.exists():
            broker.load(PaperState.decode(self._path.read_bytes(), str(self._path)))
        self._broker = broker
        return [*broker.settings(), broker.account()]

    async def reconcile(self, orders: Sequence[OrderState], since_ms: int, asked_ms: int) -> list[Event]:
        return self.broker.reconcile(orders, since_ms, asked_ms)
