"""Paper trading in the daemon: the paper broker behind the broker's port, and its account on disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from tradebot.errors import ConfigError
from tradebot.events import EngineConfig, Event, OrderState, PlaceStop, TickerUpdated
from tradebot.execution.broker import OrderCommand
from tradebot.execution.paper import PaperBroker, PaperState
from tradebot.market.book import OrderBook
from tradebot.market.instrument import Instrument
from tradebot.market.trade import Trade
from tradebot.ops.files import write_atomic
from tradebot.settings import Settings

DEPTH = 25


class PaperDesk:
    """Fills commands against the real public books, with fees, latency and funding; no key needed.

    The account survives restarts in ``STATE/paper.json``, written after every change.
    """

    def __init__(self, settings: Settings, config: EngineConfig, clock: Callable[[], int]) -> None:
        self._settings = settings
        self._config = config
        self._clock = clock
        self._path = settings.state_dir / "paper.json"
        self._broker: PaperBroker | None = None

    def open(self, instruments: Mapping[str, Instrument]) -> None:
        """Begin with the account on disk, or with the configured cash. Raises DataError when the file is damaged."""
        self._broker = PaperBroker(
            instruments.values(),
            self._settings.paper.cash,
            leverage=self._config.leverage,
            margin_mode=self._config.margin_mode,
            latency_ms=self._settings.paper.latency_ms,
            clock=self._clock,
        )
        if self._path.exists():
            self._broker.load(PaperState.decode(self._path.read_bytes(), str(self._path)))

    @property
    def broker(self) -> PaperBroker:
        if self._broker is None:
            raise ConfigError("the paper broker needs the exchange's contracts first")
        return self._broker

    def save(self) -> None:
        """Write the account to disk."""
        if self._broker is not None:
            write_atomic(self._path, self._broker.state().encode(), mode=0o600)

    # --- the market it fills on --------------------------------------------------------------------------------------

    def on_book(self, symbol: str, book: OrderBook) -> None:
        bid_px, bid_sz, ask_px, ask_sz = book.levels(DEPTH)
        bids, asks = zip(bid_px, bid_sz, strict=True), zip(ask_px, ask_sz, strict=True)
        self.broker.on_book(symbol, tuple(bids), tuple(asks), self._clock())

    def on_gap(self, symbol: str) -> None:
        """The book is not trusted any more: orders wait for the next one."""
        self.broker.on_gap(symbol, self._clock())

    def on_trades(self, symbol: str, rows: Sequence[Trade]) -> None:
        for trade in rows:
            self.broker.on_trade(symbol, trade.price, trade.qty, trade.side, self._clock())

    def on_ticker(self, event: TickerUpdated) -> None:
        self.broker.on_mark(event.symbol, event.mark, self._clock(), event.funding_rate, event.next_funding_ms)

    def on_time(self) -> None:
        self.broker.on_time(self._clock())

    def next_due_ms(self) -> int | None:
        """When :meth:`on_time` has something to do next."""
        return self.broker.next_due_ms()

    def drain(self) -> list[Event]:
        """What happened since the last call; the account is on disk before the engine hears of it."""
        events = self.broker.drain()
        if events:
            self.save()
        return events

    # --- the broker's port -------------------------------------------------------------------------------------------

    async def execute(self, command: OrderCommand) -> AsyncIterator[Event]:
        answer = self.broker.execute(command)
        yield answer
        if isinstance(command, PlaceStop) and answer.outcome == "accepted" and not answer.order_id:
            for stop in self.broker.snapshot().stops:  # there was one already: it is not what was asked for
                if stop.symbol == command.symbol:
                    yield stop

    async def prepare(self, config: EngineConfig) -> list[Event]:
        return [*self.broker.settings(), self.broker.account()]

    async def reconcile(self, orders: Sequence[OrderState], since_ms: int, asked_ms: int) -> list[Event]:
        return self.broker.reconcile(orders, since_ms, asked_ms)
