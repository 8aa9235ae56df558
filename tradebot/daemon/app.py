"""The composition root: one run of the bot, from opening its state to leaving it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack
from decimal import Decimal
from typing import TYPE_CHECKING

import msgspec
import structlog

from tradebot.daemon.account import Account
from tradebot.daemon.acts import outcome_of
from tradebot.daemon.brokers import trading_side
from tradebot.daemon.control import ControlSocket
from tradebot.daemon.desk import OrderDesk
from tradebot.daemon.drive import Drive
from tradebot.daemon.haltswitch import HaltSwitch
from tradebot.daemon.journaling import JournalKeeper
from tradebot.daemon.lastrun import read_last_run, require_same_bot
from tradebot.daemon.market import MarketSide
from tradebot.daemon.observers import AuditMirror, log_record
from tradebot.daemon.portrait import portray
from tradebot.daemon.recording import NoRecording, Recording, recording_of
from tradebot.daemon.repeats import PrivateRepeats
from tradebot.daemon.retraining import Retrainer, RetrainPlan
from tradebot.daemon.snapshot import Snapshot
from tradebot.daemon.timeouts import Timeouts
from tradebot.daemon.universe import watch_of
from tradebot.daemon.venues import OtherVenues
from tradebot.errors import TradebotError, UsageError
from tradebot.events import (
    AccountHeard,
    Booted,
    ClockMeasured,
    Command,
    EngineConfig,
    Event,
    Leaving,
    OperatorActed,
    Restored,
)
from tradebot.exchange.bitget.listener import Listener
from tradebot.exchange.bitget.rest import BitgetRest
from tradebot.exchange.bitget.signing import Credentials as SigningKey
from tradebot.exchange.bitget.stream import BitgetStream
from tradebot.jobs import JobQueue
from tradebot.journal import OpenState
from tradebot.ledger import Ledger, LedgerWriter
from tradebot.ops.audit import AuditWriter
from tradebot.registry import ModelStore
from tradebot.serving import Serving, compile_view
from tradebot.serving.fingerprint import fingerprint
from tradebot.settings import Credentials, Settings, engine_config
from tradebot.shell.alarms import Alarms
from tradebot.shell.clock import Clock
from tradebot.shell.course import Chore, Course, Timed
from tradebot.shell.dispatch import dispatch
from tradebot.shell.feed import MarketFeed
from tradebot.shell.hookwatch import HookWatch
from tradebot.shell.sequencer import Observer, Sequencer
from tradebot.shell.tally import Tally
from tradebot.trading.engine import Engine
from tradebot.trading.loading import engine_hash, load_strategy
from tradebot.trading.risk import PROVISIONAL_MODES
from tradebot.trading.state import recover
from tradebot.trading.symbol import STRATEGY_VIEW

if TYPE_CHECKING:
    from tradebot.daemon.exposition import MetricsEndpoint

log = structlog.get_logger(__name__)

DRAIN_S = 10.0


class Daemon:
    """One run. ``stop_at_ms`` (exchange time) ends it by itself; ``request_stop`` ends it from outside. ``listeners``
    hear the market after the run's own parts. ``universe``: which of ``settings.symbols`` were chosen to be traded,
    where they are not listed; when others are chosen, the run ends and ``begins_anew`` is set.

    With ``settings.exchange.clock == "paced"`` the exchange must be the embedded one.
    """

    clock: Clock
    config: EngineConfig
    drive: Drive
    engine: Engine
    feed: MarketFeed
    recording: Recording | NoRecording
    repeats: PrivateRepeats
    rest: BitgetRest
    sequencer: Sequencer
    stream: BitgetStream
    tally: Tally
    venues: tuple[OtherVenues, ...]

    def __init__(
        self,
        settings: Settings,
        credentials: Credentials | None,
        opened: OpenState,
        *,
        stop_at_ms: int | None = None,
        timeouts: Timeouts | None = None,
        listeners: Iterable[Listener] = (),
        universe: tuple[str, ...] | None = None,
    ) -> None:
        timeouts = timeouts or Timeouts()
        self.settings = settings
        self.opened = opened
        self.stop_at_ms = stop_at_ms
        self.config = engine_config(settings)
        strategy, self._strategy_hash = load_strategy(settings.strategies_dir, settings.strategy.name)
        self.engine = Engine(strategy)
        self.engine.decisions.hooks.watch = HookWatch(settings.strategy.max_hook.ms, self.put)
        key = SigningKey(credentials.key, credentials.secret, credentials.passphrase) if credentials else None
        market = self.market = MarketSide(settings, self.put, credentials=key, timeouts=timeouts)
        self.rest, self.drive, self.clock = market.rest, market.drive, market.clock
        self.contracts, self.history, self.feed = market.contracts, market.history, market.feed
        self.venues = market.venues
        every_ms = timeouts.reconcile_every_ms or self.drive.reconcile_every_ms
        if every_ms is None:  # the account is looked at when there is a reason, so its age is no news
            risk = msgspec.structs.replace(self.config.risk, max_account_age_ms=None)
            self.config = msgspec.structs.replace(self.config, risk=risk)
        self.serving = Serving(interval=self.config.interval, allow_provisional=settings.mode in PROVISIONAL_MODES)
        self.sequencer = Sequencer(self.engine, opened.journal, self.clock, self.serving, self._dispatch)
        self.tally = Tally()
        self.alarms = Alarms(self.clock, self.put)
        unsettled = self.engine.discrepancies.unsettled
        side = trading_side(settings, self.config, self.rest, key, self.clock, self.put, timeouts, unsettled)
        self.broker = side.broker
        self.resolutions = side.resolutions
        self.desk = OrderDesk(self.broker, opened.journal, self.put, self.clock.now_ms, single_lane=self.drive.lockstep)
        self.account = Account(
            self.broker,
            self.desk,
            self.clock,
            self.put,
            lambda: self.engine.state.orders,
            every_ms=every_ms,
        )
        self.retrainer = Retrainer(
            RetrainPlan.of(settings, wanted=self.engine.decisions.hooks.asks_models),
            self.config.symbols,
            JobQueue(settings.jobs_dir),
            ModelStore(settings.model_store),
            self.serving,
            self.clock,
            self.put,
            self.contracts.taker_fee,
            paced=self.drive.lockstep,
        )
        self.ledger = LedgerWriter(
            Ledger(settings.ledger_url), opened.reader, opened.epoch, lambda: opened.journal.synced_seq
        )
        self.keeper = JournalKeeper(
            opened,
            self.engine,
            strategy,
            self.clock.now_ms,
            self.ledger.has,
            keep_ms=settings.journal.keep.ms if settings.journal.keep is not None else None,
            max_bytes=settings.journal.max_bytes,
            snapshot_ms=settings.journal.snapshot.ms,
        )
        self.audit = AuditWriter(settings.audit_file, max_bytes=settings.audit.max_bytes, keep=settings.audit.keep)

        self.recording = recording_of(settings, self.config.symbols, self.clock)
        self.repeats = PrivateRepeats()
        heard = [self.feed, *side.listeners, self.account, self.repeats, *self.recording.listeners, *listeners]
        mirror = AuditMirror(self.audit, opened.epoch)
        observers: list[Observer] = [
            self.tally,
            self.ledger.put,
            self.contracts,
            mirror,
            log_record,
            *side.observers,
            *self.recording.observers,
        ]
        for observer in observers:
            self.sequencer.observe(observer)
        chores: list[Chore] = [self.retrainer, self.contracts, self.account, *self.recording.chores]
        if not self.drive.lockstep:  # an exchange that waits must not be woken up for what changes no decision
            chores.append(self.keeper)
        self.begins_anew = False
        self.universe = watch_of(settings.universe, universe, self.config.symbols, market, self.put, self._begin_anew)
        if self.universe is not None:
            chores.append(self.universe)

        self.stream = market.connect(heard, login=side.login)
        self._has_private_stream = side.login is not None
        timed: list[Timed] = [self.stream, *side.timed, self.alarms, self.feed, *self.venues]
        self._stopping = asyncio.Event()
        self._course = Course(
            timed=timed,
            chores=chores,
            settle=self._settle,
            check=self._check,
            sync=opened.journal.sync,
            clock=self.clock,
            stopping=self._stopping,
            stop_at_ms=stop_at_ms,
        )
        self.control = ControlSocket(settings.control_socket, self)
        self.halt_switch = HaltSwitch(
            settings.state_dir, lambda: self.engine.state.tradability == "halted", self.operate
        )
        self._metrics: MetricsEndpoint | None = None
        self._close_side = side.close

        self.phase = "starting"
        self.started_ms = 0
        self.started_wall = time.monotonic()
        self.start_equity: Decimal | None = None
        self.first_prices: dict[str, float] = {}
        self.ready = asyncio.Event()
        self.before_leaving: Callable[[], Awaitable[None]] | None = None
        """Called when trading is over and everything is still connected."""

    def put(self, event: Event) -> None:
        """Sequence one event. Raises BusyError or JournalError when the journal cannot be written."""
        self.sequencer.put(event)

    # --- life -------------------------------------------------------------------------------------------------------

    def request_stop(self) -> None:
        """Stop entries and leave: nothing is closed, exchange-side stops stay."""
        self.begins_anew = False
        self._stopping.set()

    def _begin_anew(self) -> None:
        """Symbols are to be traded that this run does not listen to."""
        if not self._stopping.is_set():
            self.begins_anew = True
            self._stopping.set()

    async def run(self) -> None:
        """Start, trade until asked to stop (or the market ends), leave in order. Raises TradebotError."""
        try:
            await self.drive.attach(self._stopping, returning=self.opened.previous_epoch is not None)
            if self._stopping.is_set():
                return
            streaming = await self._start()
            self.phase = "trading"
            self.ready.set()
            await self.drive.run(self._course, streaming)
            if self.before_leaving is not None:
                await self.before_leaving()
            self.put(Leaving())
        finally:
            self.phase = "stopping"
            await self._leave()

    async def _start(self) -> asyncio.Task[None]:
        """Everything of protocol section 14.1, then the streams; returns the streams' task."""
        offset = await self.drive.synchronise()
        now = self.started_ms = self.clock.now_ms()
        found = read_last_run(self.opened)
        restored = recover(found, cooldown_ms=self.config.risk.cooldown_ms)
        require_same_bot(self.settings.state_dir, self.config, found, restored)
        self.recording.start()
        for venue in self.venues:
            venue.start()
        booted = Booted(
            epoch=self.opened.epoch,
            config=self.config,
            settings_hash=self.settings.settings_hash(),
            engine_hash=engine_hash(),
            strategy_hash=self._strategy_hash,
            fingerprint=fingerprint(),
        )
        self.put(booted)
        first_ms = min((ts_ms for ts_ms, _ in found), default=now)
        self.put(Restored(state=restored.snapshot()))
        self.opened.journal.sync()
        self.halt_switch.open()
        if self.universe is not None:
            self.universe.start()
        self.account.start(restored.known_ms or first_ms)
        self.put(ClockMeasured(offset_ms=offset))
        await self.contracts.load()
        await self.market.refer(self.config.references, now)
        for symbol in self.config.symbols:
            self.feed.start_after(symbol, await self.history.load(symbol, now))
            await self.history.load_funding(symbol, now)
        await asyncio.to_thread(compile_view, STRATEGY_VIEW)
        self.retrainer.start()
        await self.retrainer.load_champions()
        for event in await self.broker.prepare(self.config):
            self.put(event)
        if self._has_private_stream:
            self.put(AccountHeard(up=False))
        streaming = await self.market.start()
        await self.account.reconcile("start")
        self.start_equity = self.engine.live_equity()
        self.keeper.start(booted)
        await self.retrainer.request_missing()
        await self._open_metrics()
        await self.control.open()
        log.info("started", epoch=self.opened.epoch, symbols=list(self.config.symbols))
        return streaming

    async def _leave(self) -> None:
        """Close everything, each part whatever became of the others."""
        async with AsyncExitStack() as parts:  # last in, first closed
            parts.callback(self.audit.close)
            parts.callback(self._close_ledger)
            parts.callback(self.opened.journal.sync)
            parts.push_async_callback(self.rest.close)
            parts.push_async_callback(self.drive.close)
            parts.push_async_callback(self.recording.close)
            for venue in self.venues:
                parts.push_async_callback(venue.close)
            parts.push_async_callback(self._close_side)
            parts.push_async_callback(self._close_desk)
            parts.push_async_callback(self.feed.close)
            parts.push_async_callback(self.market.leave)
            parts.push_async_callback(self.retrainer.close)
            parts.push_async_callback(self._close_metrics)
            parts.push_async_callback(self.halt_switch.close)
            parts.push_async_callback(self.control.close)

    async def _open_metrics(self) -> None:
        port = self.settings.metrics.port
        if port is not None:
            # a bot without the endpoint does not load its library
            from tradebot.daemon.exposition import MetricsEndpoint

            self._metrics = MetricsEndpoint(self, port)
            await self._metrics.open()

    async def _close_metrics(self) -> None:
        if self._metrics is not None:
            await self._metrics.close()

    async def _close_desk(self) -> None:
        """What is queued, stops and closes above all, is still sent; what is not answered is reconciled later."""
        await self.desk.drain(DRAIN_S)
        await self.desk.close()

    def _close_ledger(self) -> None:
        try:
            self.ledger.close()
        except TradebotError as error:  # it is a projection: the next start catches up
            log.warning("ledger_behind", reason=str(error))

    # --- what the drive asks ----------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Until all commands are answered and nothing is left to ask."""
        while True:
            await self.feed.settled()
            await self.desk.idle()
            if not self.account.asked:
                return
            await self.account.tick()

    def _check(self) -> None:
        """Stop when the journal, the order desk or the feed failed, wherever that happened."""
        for failure in (self.sequencer.failure, self.desk.failure, self.feed.failure):
            if failure is not None:
                raise failure

    # --- commands of the engine -------------------------------------------------------------------------------------

    def _dispatch(self, command: Command) -> None:
        dispatch(command, self.desk.submit, self.alarms, self.account.ask)

    # --- who asks ---------------------------------------------------------------------------------------------------

    def snapshot(self) -> Snapshot:
        """What status and views show."""
        return portray(self)

    @property
    def metrics_port(self) -> int | None:
        """Where the metrics endpoint listens, if there is one."""
        return self._metrics.port if self._metrics is not None else None

    def knows(self, symbol: str) -> bool:
        """Whether an operator may name ``symbol``: it is traded, or something foreign happened in it."""
        state = self.engine.state
        return symbol in self.config.symbols or symbol in state.foreign or symbol in state.reported

    def dropped(self) -> int:
        """Frames of the exchange that could not be read. Nothing else is ever dropped."""
        return self.stream.feed.unreadable

    def operate(self, event: OperatorActed) -> str:
        """A person's act, from the control socket or a signal. Returns what it comes to, in words.

        Raises UsageError for a position that the bot would take over without being able to protect it, and for
        resuming while the HALT file is there.
        """
        state = self.engine.state
        if event.action == "adopt" and event.symbol not in self.config.symbols and state.reported_qty(event.symbol):
            raise UsageError(
                f"{event.symbol} is not among this bot's symbols, so it could not protect the position: add it to "
                f"symbols and start again, or: tradebot ignore {event.symbol}"
            )
        if event.action == "resume" and not event.symbol and self.halt_switch.lies_there:
            raise UsageError(f"{self.halt_switch.path} is there, which keeps the bot halted: remove it, then resume")
        said = outcome_of(event, state)
        self.put(event)
        self.opened.journal.sync()
        return said
