"""The composition root: one run of the bot, from opening its state to leaving it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from decimal import Decimal

import structlog

from tradebot.daemon.acts import outcome_of
from tradebot.daemon.clock import Clock, PacedClock, Timers, WallClock
from tradebot.daemon.control import ControlSocket
from tradebot.daemon.desk import OrderDesk
from tradebot.daemon.feed import MarketFeed
from tradebot.daemon.lastrun import read_last_run, require_same_bot
from tradebot.daemon.observers import AuditMirror, log_record
from tradebot.daemon.pacer import Pacer
from tradebot.daemon.paper import PaperDesk
from tradebot.daemon.portrait import portray
from tradebot.daemon.retraining import Retrainer, RetrainPlan
from tradebot.daemon.sequencer import Sequencer
from tradebot.daemon.snapshot import Snapshot
from tradebot.daemon.tally import Tally
from tradebot.daemon.tasks import end, first_of
from tradebot.errors import (
    AuthRefused,
    ConfigError,
    DataError,
    ExchangeError,
    RateLimited,
    TradebotError,
    Unavailable,
)
from tradebot.events import (
    Booted,
    CandleHistory,
    ClockMeasured,
    Command,
    FeedStatus,
    InstrumentUpdated,
    Leaving,
    OperatorActed,
    OrderState,
    RequestReconcile,
    Restored,
    SetTimer,
    TickerUpdated,
    TimerFired,
)
from tradebot.exchange.bitget.feed import PrivateEvent
from tradebot.exchange.bitget.naming import PUBLIC_PATH
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.exchange.bitget.signing import Credentials as SigningKey
from tradebot.exchange.bitget.stream import BitgetStream
from tradebot.execution.broker import ORDER_COMMANDS, Broker, OrderCommand
from tradebot.execution.exchange import ExchangeBroker
from tradebot.features.candles import SCHEMA_HASH
from tradebot.features.epoch import epoch_of
from tradebot.jobs import JobQueue
from tradebot.journal import OpenState
from tradebot.ledger import Ledger, LedgerWriter
from tradebot.market.book import OrderBook
from tradebot.market.candle import INTERVAL_MS, Candle
from tradebot.market.series import filled
from tradebot.market.trade import Trade
from tradebot.ops.audit import AuditWriter
from tradebot.registry import ModelStore
from tradebot.serving import Serving
from tradebot.settings import Credentials, Settings, engine_config
from tradebot.trading.engine import Engine
from tradebot.trading.loading import engine_hash, load_strategy
from tradebot.trading.risk import PROVISIONAL_MODES
from tradebot.trading.state import recover

log = structlog.get_logger(__name__)

HISTORY_CHUNK = 500
STREAM_START_S = 30.0
DRAIN_S = 10.0
LIVE_TICK_S = 0.02
RECONCILE_EVERY_MS = 60_000
CONTRACTS_EVERY_MS = 3_600_000
SINCE_MARGIN_MS = 120_000
"""How far before the last known moment executions are asked for again: repeated ones are recognised by id."""


class Daemon:
    """One run. ``stop_at_ms`` (exchange time) ends it by itself; ``request_stop`` ends it from outside.

    With ``settings.exchange.clock == "paced"`` the exchange must be the embedded one.
    """

    def __init__(
        self,
        settings: Settings,
        credentials: Credentials | None,
        opened: OpenState,
        *,
        stop_at_ms: int | None = None,
    ) -> None:
        self.settings = settings
        self.opened = opened
        self.stop_at_ms = stop_at_ms
        self.paced = settings.exchange.clock == "paced"
        self.config = engine_config(settings)
        strategy, self._strategy_hash = load_strategy(settings.strategies_dir, settings.strategy.name)
        self.engine = Engine(strategy)
        self.clock: Clock = PacedClock() if self.paced else WallClock()
        self.timers = Timers()
        self.serving = Serving(schema_hash=SCHEMA_HASH, allow_provisional=settings.mode in PROVISIONAL_MODES)
        self.sequencer = Sequencer(self.engine, opened.journal, self.clock, self.serving, self._dispatch)
        self.put = self.sequencer.put
        self.tally = Tally()
        self.feed = MarketFeed(self.config.symbols, self.config.interval, self.clock, self.put, self._candles)
        key = SigningKey(credentials.key, credentials.secret, credentials.passphrase) if credentials else None
        self.rest = BitgetRest(
            settings.exchange.rest_url,
            credentials=key,
            demo=settings.mode == "exchange-demo",
            limited=None if settings.exchange.rate_limited else False,
        )
        self.paper = PaperDesk(settings, self.config, self.clock.now_ms) if settings.mode == "paper" else None
        self.broker: Broker = self.paper or ExchangeBroker(self.rest, self.config, self.clock.now_ms)
        self.desk = OrderDesk(self.broker, opened.journal, self.put, single_lane=self.paced)
        self.stream = BitgetStream(
            settings.public_ws,
            self.config.symbols,
            self,
            private_url=settings.private_ws,
            intervals=(self.config.interval,),
            credentials=None if self.paper else key,
            now_ms=self.rest.http.now_ms,
            on_clock_refused=self.rest.sync_clock,
            paced=self.paced,
        )
        self.retrainer = Retrainer(
            RetrainPlan.of(settings),
            self.config.symbols,
            JobQueue(settings.jobs_dir),
            ModelStore(settings.model_store),
            self.serving,
            self.clock,
            self.put,
            self._taker_fee,
            paced=self.paced,
        )
        self.control = ControlSocket(settings.control_socket, self)
        self.ledger = LedgerWriter(
            Ledger(settings.ledger_url), opened.reader, opened.epoch, lambda: opened.journal.synced_seq
        )
        self.audit = AuditWriter(settings.audit_file, max_bytes=settings.audit.max_bytes, keep=settings.audit.keep)
        for observer in (self.tally, self.ledger.put, AuditMirror(self.audit, opened.epoch), log_record):
            self.sequencer.observe(observer)

        self.phase = "starting"
        self.started_ms = 0
        self.started_wall = time.monotonic()
        self.start_equity: Decimal | None = None
        self.first_prices: dict[str, float] = {}
        self.ready = asyncio.Event()
        self.before_leaving: Callable[[], Awaitable[None]] | None = None
        """Called when trading is over and everything is still connected."""
        self._stopping = asyncio.Event()
        self._streaming: asyncio.Task[None] | None = None
        self._reconcile_why = ""
        self._reconciling = asyncio.Lock()
        self._since_ms = 0
        self._next_reconcile_ms = 0
        self._next_contracts_ms = 0

    # --- life -------------------------------------------------------------------------------------------------------

    def request_stop(self) -> None:
        """Stop entries and leave: nothing is closed, exchange-side stops stay."""
        self._stopping.set()

    async def run(self) -> None:
        """Start, trade until asked to stop (or the market ends), leave in order. Raises TradebotError."""
        pacer = Pacer(self._ws_base() + "/sim/clock") if self.paced else None
        try:
            if pacer is not None and isinstance(self.clock, PacedClock):
                self.clock.advance(await pacer.attach())
            elif self.opened.previous_epoch is not None:
                await self._wait_for_exchange()
                if self._stopping.is_set():
                    return
            streaming = await self._start()
            self.phase = "trading"
            self.ready.set()
            await (self._run_wall(streaming) if pacer is None else self._run_paced(pacer, streaming))
            if self.before_leaving is not None:
                await self.before_leaving()
            self.put(Leaving())
        finally:
            self.phase = "stopping"
            await self._leave(pacer)

    async def _wait_for_exchange(self) -> None:
        """A bot that has traded before may hold a position: it waits for the exchange as long as it takes.

        (A first start with a wrong address ends at once, with the address in its message.)
        """
        pause_s = 1.0
        while not self._stopping.is_set():
            try:
                await self.rest.server_time()
                return
            except (Unavailable, RateLimited) as error:
                self.phase = "waiting for the exchange"
                log.warning("exchange_away", reason=str(error), again_in_s=pause_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause_s)
            pause_s = min(60.0, 2 * pause_s)

    async def _start(self) -> asyncio.Task[None]:
        """Everything of protocol section 14.1, then the streams; returns the streams' task."""
        offset = 0
        if isinstance(self.clock, WallClock):
            self.clock.synchronise(offset := await self.rest.sync_clock())
        now = self.started_ms = self.clock.now_ms()
        self.put(
            Booted(
                epoch=self.opened.epoch,
                config=self.config,
                settings_hash=self.settings.settings_hash(),
                engine_hash=engine_hash(),
                strategy_hash=self._strategy_hash,
            )
        )
        found = read_last_run(self.opened)
        restored = recover(found, cooldown_ms=self.config.risk.cooldown_ms)
        last_ms = max((ts_ms for ts_ms, _ in found), default=0)
        self.put(Restored(state=restored.snapshot()))
        self.opened.journal.sync()
        require_same_bot(self.settings.state_dir, self.config, found, restored)
        self._since_ms = last_ms or now
        self.put(ClockMeasured(offset_ms=offset))
        await self._load_instruments()
        for symbol in self.config.symbols:
            await self._load_history(symbol, now)
        self.retrainer.start()
        await self.retrainer.load_champions()
        for event in await self.broker.prepare(self.config):
            self.put(event)
        streaming = self._streaming = asyncio.create_task(self.stream.run(), name="stream")
        await first_of(self.stream.ready(), streaming, timeout_s=STREAM_START_S)
        if not self.stream.up:
            log.warning("streams_not_up", url=self.settings.public_ws)
        await self._reconcile("start")
        self.start_equity = self.engine.live_equity()
        if not self.paced and self.settings.retrain.enabled:
            await self.retrainer.request_missing()
        await self.control.open()
        log.info("started", epoch=self.opened.epoch, symbols=list(self.config.symbols))
        return streaming

    async def _leave(self, pacer: Pacer | None) -> None:
        """Close everything, each part whatever became of the others."""
        async with AsyncExitStack() as parts:  # last in, first closed
            parts.callback(self.audit.close)
            parts.callback(self._close_ledger)
            parts.callback(self.opened.journal.sync)
            parts.push_async_callback(self.rest.close)
            if pacer is not None:
                parts.push_async_callback(pacer.close)
            if self.paper is not None:
                parts.callback(self.paper.save)
            parts.push_async_callback(self._close_desk)
            parts.push_async_callback(self.feed.close)
            parts.push_async_callback(self._close_stream)
            parts.push_async_callback(self.retrainer.close)
            parts.push_async_callback(self.control.close)

    async def _close_desk(self) -> None:
        """What is queued, stops and closes above all, is still sent; what is not answered is reconciled later."""
        await self.desk.drain(DRAIN_S)
        await self.desk.close()

    async def _close_stream(self) -> None:
        await self.stream.close()
        if self._streaming is not None:
            self._streaming.cancel()
            await asyncio.gather(self._streaming, return_exceptions=True)

    def _close_ledger(self) -> None:
        try:
            self.ledger.close()
        except TradebotError as error:  # it is a projection: the next start catches up
            log.warning("ledger_behind", reason=str(error))

    # --- the two ways time passes -----------------------------------------------------------------------------------

    def _over(self) -> bool:
        return self._stopping.is_set() or (self.stop_at_ms is not None and self.clock.now_ms() >= self.stop_at_ms)

    async def _run_paced(self, pacer: Pacer, streaming: asyncio.Task[None]) -> None:
        steps = asyncio.create_task(pacer.run(self._on_step, self._over), name="pacer")
        stop = asyncio.create_task(self._stopping.wait(), name="stop")
        await asyncio.wait({steps, stop, streaming}, return_when=asyncio.FIRST_COMPLETED)
        if not (steps.done() or streaming.done() or pacer.waiting):
            await asyncio.wait({steps}, timeout=5)  # the step in hand: nothing is left half done
        await end(stop, steps)
        if streaming.done():
            streaming.result()

    async def _on_step(self, ts_ms: int, counts: dict[str, int]) -> int | None:
        """One step of the paced exchange: everything it caused, in an order that no machine's speed can change."""
        if isinstance(self.clock, PacedClock):
            self.clock.advance(ts_ms)
        await self.stream.gate.reach(counts)
        self._advance_paper()
        self._fire_timers()
        self._raise_failure()
        await self._quiesce()
        if ts_ms >= self.feed.next_seal_ms():
            self.feed.seal_by_clock()
            await self._quiesce()
        due = self.retrainer.next_due_ms()
        if due is not None and ts_ms >= due and not self._over():
            await self.retrainer.tick()
            await self._quiesce()
        moments = (
            self.timers.next_due_ms(),
            self.retrainer.next_due_ms(),
            self.feed.next_seal_ms(),
            self.paper.next_due_ms() if self.paper is not None else None,
            self.stop_at_ms,
        )
        return min((m for m in moments if m is not None), default=None)

    async def _quiesce(self) -> None:
        """Until all commands are answered and nothing is left to ask."""
        while True:
            await self.feed.settled()
            await self.desk.idle()
            if not self._reconcile_why:
                return
            await self._reconcile(self._reconcile_why)

    async def _run_wall(self, streaming: asyncio.Task[None]) -> None:
        tasks = [
            asyncio.create_task(self._tick_forever(), name="timers"),
            asyncio.create_task(self._housekeep_forever(), name="housekeeping"),
            asyncio.create_task(self._stopping.wait(), name="stop"),
        ]
        await asyncio.wait({*tasks, streaming}, return_when=asyncio.FIRST_COMPLETED)
        await end(*tasks)
        if streaming.done():
            streaming.result()

    async def _tick_forever(self) -> None:
        """Fire timers and act on paper orders, every 20 ms."""
        while not self._over():
            self._fire_timers()
            self._advance_paper()
            self._raise_failure()
            await asyncio.sleep(LIVE_TICK_S)

    async def _housekeep_forever(self) -> None:
        """What is not urgent: retraining, reconciliation, sealing by clock, a durable journal.

        An exchange that is away for a while ends nothing: what failed is tried again at the next turn.
        """
        while True:
            await asyncio.sleep(0.5)
            self.opened.journal.sync()
            await self.retrainer.tick()
            try:
                await self._keep_in_step()
            except AuthRefused:
                raise
            except ExchangeError as error:
                log.warning("exchange_away", reason=str(error))

    async def _keep_in_step(self) -> None:
        now = self.clock.now_ms()
        if now >= self.feed.next_seal_ms():
            self.feed.seal_by_clock()
        if now >= self._next_reconcile_ms:
            self._next_reconcile_ms = now + RECONCILE_EVERY_MS
            self._reconcile_why = self._reconcile_why or "periodic"
            if isinstance(self.clock, WallClock):
                self.clock.synchronise(offset := await self.rest.sync_clock())
                self.put(ClockMeasured(offset_ms=offset))
        if now >= self._next_contracts_ms:
            await self._refresh_contracts(now)
        if self._reconcile_why:
            await self._reconcile(self._reconcile_why)

    async def _refresh_contracts(self, now: int) -> None:
        """Limits, fees and announced stops of trading change: look once an hour (protocol section 6.2)."""
        for instrument in await self.rest.contracts():
            known = self.engine.symbols.get(instrument.symbol)
            if known is not None and known.instrument != instrument:
                log.warning("contract_changed", symbol=instrument.symbol, status=instrument.status)
                self.put(InstrumentUpdated(instrument=instrument))
                if self.paper is not None:
                    self.paper.broker.on_instrument(instrument)
        self._next_contracts_ms = now + CONTRACTS_EVERY_MS

    def _raise_failure(self) -> None:
        """Stop when the journal, the order desk or the feed failed, wherever that happened."""
        for failure in (self.sequencer.failure, self.desk.failure, self.feed.failure):
            if failure is not None:
                raise failure

    def _fire_timers(self) -> None:
        for name, due_ms in self.timers.pop_due(self.clock.now_ms()):
            self.put(TimerFired(name=name, due_ms=due_ms))

    # --- commands of the engine -------------------------------------------------------------------------------------

    def _dispatch(self, command: Command) -> None:
        if isinstance(command, ORDER_COMMANDS):
            order: OrderCommand = command
            self.desk.submit(order)
        elif isinstance(command, SetTimer):
            self.timers.set(command.name, command.due_ms)
        elif isinstance(command, RequestReconcile):
            self._reconcile_why = command.reason

    async def _reconcile(self, why: str) -> None:
        async with self._reconciling:
            self._reconcile_why = ""
            asked_ms = self.clock.now_ms()
            orders: Sequence[OrderState] = [o for o in self.engine.state.orders if not self.desk.holds(o.client_oid)]
            try:
                events = await self.broker.reconcile(orders, self._since_ms - SINCE_MARGIN_MS, asked_ms)
            except ExchangeError:
                self._reconcile_why = why
                raise
            for event in events:
                self.put(event)
            self._since_ms = asked_ms
            log.debug("reconciled", why=why)

    # --- listener of the streams ------------------------------------------------------------------------------------

    def on_book(self, symbol: str, book: OrderBook, ts_exchange_ms: int) -> None:
        self.feed.on_book(symbol, book, ts_exchange_ms)
        if self.paper is not None:
            self.paper.on_book(symbol, book)
            self._drain_paper()

    def on_trades(self, symbol: str, rows: Sequence[Trade]) -> None:
        self.feed.on_trades(symbol, rows)
        if self.paper is not None:
            self.paper.on_trades(symbol, rows)
            self._drain_paper()

    def on_candles(self, symbol: str, interval: str, rows: Sequence[Candle]) -> None:
        self.feed.on_candles(symbol, interval, rows)

    def on_ticker(self, event: TickerUpdated) -> None:
        self.feed.on_ticker(event)
        if self.paper is not None:
            self.paper.on_ticker(event)
            self._drain_paper()

    def on_private(self, event: PrivateEvent) -> None:
        self.put(event)

    def on_feed(self, event: FeedStatus) -> None:
        log.info("feed", symbol=event.symbol, ok=event.ok, reason=event.reason)
        self.feed.on_feed(event)
        if self.paper is not None and not event.ok:
            self.paper.on_gap(event.symbol)

    def on_connection(self, rank: int, up: bool) -> None:
        log.info("connection", side="private" if rank else "public", up=up)
        if rank and up and self.ready.is_set():
            self._reconcile_why = "private stream reconnected"

    def _advance_paper(self) -> None:
        """Let paper orders act whose latency has passed."""
        if self.paper is not None:
            self.paper.on_time()
            self._drain_paper()

    def _drain_paper(self) -> None:
        if self.paper is not None:
            for event in self.paper.drain():
                self.put(event)

    def snapshot(self) -> Snapshot:
        """What status and views show."""
        return portray(self)

    def knows(self, symbol: str) -> bool:
        """Whether an operator may name ``symbol``: it is traded, or something foreign happened in it."""
        state = self.engine.state
        return symbol in self.config.symbols or symbol in state.foreign or symbol in state.reported

    def dropped(self) -> int:
        """Frames of the exchange that could not be read. Nothing else is ever dropped."""
        return self.stream.feed.unreadable

    # --- small parts ------------------------------------------------------------------------------------------------

    def operate(self, event: OperatorActed) -> str:
        """A person's act, from the control socket or a signal. Returns what it comes to, in words."""
        said = outcome_of(event, self.engine.state)
        self.put(event)
        self.opened.journal.sync()
        return said

    async def _candles(self, symbol: str, first_ms: int, last_ms: int) -> Sequence[Candle]:
        """Closed candles that opened from ``first_ms`` to ``last_ms``, both included."""
        return await self.rest.candles(symbol, self.config.interval, first_ms, last_ms + 1)

    async def _load_instruments(self) -> None:
        found = {i.symbol: i for i in await self.rest.contracts()}
        missing = [s for s in self.config.symbols if s not in found]
        if missing:
            known = ", ".join(sorted(found)[:8])
            raise ConfigError(f"symbols: {', '.join(missing)}: not a contract of this exchange (it has {known}, …)")
        for symbol in self.config.symbols:
            self.put(InstrumentUpdated(instrument=found[symbol]))
        if self.paper is not None:
            self.paper.open({s: found[s] for s in self.config.symbols})

    async def _load_history(self, symbol: str, now_ms: int) -> None:
        bar = INTERVAL_MS[self.config.interval]
        last = now_ms // bar * bar - bar
        candles = filled(await self._candles(symbol, epoch_of(last), last), bar)
        if not candles:
            raise DataError(f"{symbol}: the exchange has no {self.config.interval} candles before now")
        for at in range(0, len(candles), HISTORY_CHUNK):
            chunk = tuple(candles[at : at + HISTORY_CHUNK])
            self.put(CandleHistory(symbol=symbol, interval=self.config.interval, candles=chunk))
        self.feed.start_after(symbol, candles[-1])

    def _taker_fee(self, name: str) -> Decimal | None:
        instrument = self.engine.symbols[name].instrument
        return instrument.taker_fee if instrument is not None else None

    def _ws_base(self) -> str:
        return self.settings.public_ws.removesuffix(PUBLIC_PATH).rstrip("/")
