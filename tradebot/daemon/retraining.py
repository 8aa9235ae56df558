"""Asking for new models on schedule, and swapping in those that passed.

Training happens in another process: the daemon writes a job file and, unless a service unit watches the folder, starts
the runner as a niced child. Under a paced clock a result lands exactly at the moment asked for plus the declared
duration, and the exchange waits for it; live it lands when it is there.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import product
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog
from apscheduler.triggers.interval import IntervalTrigger

from tradebot.errors import ModelError
from tradebot.events import Event, ModelSwapped, RetrainEnded, model_name, split_model
from tradebot.events.models import full_name, of_model
from tradebot.jobs import (
    CandleSource,
    Device,
    JobCosts,
    JobProgress,
    JobQueue,
    JobResult,
    RestSource,
    RetrainJob,
    job_id,
)
from tradebot.market.candle import INTERVAL_MS
from tradebot.ops.process import die_with_parent
from tradebot.registry import Champion, ModelKey, ModelStore
from tradebot.serving import Serving
from tradebot.settings import Settings, served_models, trained_models
from tradebot.shell.clock import Clock
from tradebot.trading.risk import PROVISIONAL_MODES

log = structlog.get_logger(__name__)

POLL_MS = 2_000


@dataclass(frozen=True, slots=True)
class RetrainPlan:
    """How models are retrained. Durations in ms of exchange time.

    ``train`` names the models that are trained, ``serve`` those whose champions serve (``events.model_name``), both
    ``model`` where they name none. ``options`` are those of a family (``events.models.of_model``).
    ``spawn``: start the runner as a child; otherwise a service unit watches the queue folder.
    """

    model: str
    interval: str
    every_ms: int
    days: int
    trials: int
    rounds: int
    threads: int
    seed: int
    landing_ms: int
    source: CandleSource
    store: str
    allow_provisional: bool
    spawn: bool
    enabled: bool
    cooldown_ms: int
    train: tuple[str, ...] = ()
    serve: tuple[str, ...] = ()
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    epochs: int | None = None
    lr: float | None = None
    batch_size: int | None = None
    test_share: float = 0.15
    device: Device = "auto"

    def __post_init__(self) -> None:
        for name in ("train", "serve"):
            if not getattr(self, name):
                object.__setattr__(self, name, (self.model,))

    @classmethod
    def of(cls, settings: Settings, source: CandleSource | None = None, *, wanted: bool = True) -> RetrainPlan:
        """The configured plan; candles come from the exchange's REST interface unless ``source`` says otherwise.

        ``wanted`` is False for a strategy that asks no model: none is trained for it by itself.
        """
        retrain = settings.retrain
        return cls(
            model=trained_models(settings)[0],
            interval=settings.trading.interval,
            every_ms=retrain.every.ms,
            days=retrain.days,
            trials=retrain.trials,
            rounds=retrain.rounds,
            threads=retrain.threads,
            seed=retrain.seed,
            landing_ms=retrain.landing.ms,
            source=source or RestSource(url=settings.exchange.rest_url),
            store=str(settings.model_store),
            allow_provisional=settings.mode in PROVISIONAL_MODES,
            spawn=retrain.executor == "process",
            enabled=retrain.enabled and wanted,
            cooldown_ms=settings.risk.cooldown.ms,
            train=trained_models(settings),
            serve=served_models(settings),
            options=retrain.options,
            epochs=retrain.epochs,
            lr=retrain.lr,
            batch_size=retrain.batch_size,
            test_share=retrain.test_size,
            device=retrain.device,
        )

    def key(self, symbol: str, model: str = "") -> ModelKey:
        """Where the versions of ``model`` (the first that is trained, by default) lie."""
        return ModelKey(symbol, *split_model(model or self.model, self.interval))

    def job(self, symbol: str, as_of_ms: int, taker_fee: Decimal | None = None, *, model: str = "") -> RetrainJob:
        """The job that trains ``model`` (the first, by default) of ``symbol`` on candles closed at ``as_of_ms``.

        ``taker_fee`` (fraction of notional) is what the model will be judged by; None: the exchange's base tier. The
        id follows from everything that is asked for: the same request is the same job, another one is another.
        """
        costs = JobCosts() if taker_fee is None else JobCosts(fee_bp=float(taker_fee * 10_000))
        name = model or self.model
        key = self.key(symbol, name)
        job = RetrainJob(
            id=job_id(symbol, name, as_of_ms),
            symbol=symbol,
            model=key.name,
            interval=key.interval,
            options=dict(of_model(self.options, name, self.interval) or {}),
            as_of_ms=as_of_ms,
            declared_ms=self.landing_ms,
            days=self.days,
            source=self.source,
            store=self.store,
            seed=self.seed,
            trials=self.trials,
            rounds=self.rounds,
            threads=self.threads,
            allow_provisional=self.allow_provisional,
            costs=costs,
            # an exit fills a moment after its close, so a close exactly one cool-down later is still in it
            cooldown_rows=self.cooldown_ms // INTERVAL_MS[key.interval],
            epochs=self.epochs,
            lr=self.lr,
            batch_size=self.batch_size,
            test_share=self.test_share,
            device=self.device,
        )
        return msgspec.structs.replace(job, id=f"{job.id}-{_fingerprint(job)}")


def _fingerprint(job: RetrainJob) -> str:
    """Eight hex digits of what a job asks for beyond its id.

    The port of an exchange on this machine is left out: the kernel chose it, and it says nothing about the candles.
    """
    source = job.source
    if isinstance(source, RestSource) and (address := urlsplit(source.url)).hostname in ("127.0.0.1", "localhost"):
        source = RestSource(url=f"{address.scheme}://{address.hostname}")
    asked = msgspec.json.encode(msgspec.structs.replace(job, source=source), order="deterministic")
    return hashlib.sha256(asked).hexdigest()[:8]


async def start_runner(queue: JobQueue, threads: int) -> asyncio.subprocess.Process:
    """Start a process that takes jobs until none is left. It lowers its own priority."""
    caps = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tradebot.training.runner",
        "--queue",
        str(queue.root),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        # passive: threads that spin while they wait starve each other on a busy machine
        env={**os.environ, **caps, "OMP_WAIT_POLICY": "passive"},
        start_new_session=True,
        preexec_fn=die_with_parent,
    )


class Retrainer:
    """Schedules retraining by the bot's clock, lands results, and swaps models between two decisions."""

    def __init__(
        self,
        plan: RetrainPlan,
        symbols: Sequence[str],
        queue: JobQueue,
        store: ModelStore,
        serving: Serving,
        clock: Clock,
        put: Callable[[Event], None],
        taker_fee: Callable[[str], Decimal | None],
        *,
        paced: bool,
    ) -> None:
        self._plan = plan
        self._taker_fee = taker_fee
        self._symbols = symbols
        self._queue = queue
        self._store = store
        self._serving = serving
        self._clock = clock
        self._put = put
        self._paced = paced
        self._trigger = IntervalTrigger(seconds=max(1, plan.every_ms // 1000), timezone=UTC)
        self._next_fire = 0
        self._waiting: dict[str, int] = {}
        """Landing time by job id."""
        self._keys: dict[str, ModelKey] = {}
        """What each of these jobs trains."""
        self._refused: dict[ModelKey, str] = {}
        """Version that could not be loaded: it is not tried again."""
        self._unreadable: dict[ModelKey, str] = {}
        self._next_poll_ms = 0
        self._child: asyncio.subprocess.Process | None = None

    def key(self, symbol: str, model: str = "") -> ModelKey:
        """Where the versions of ``model`` (the first that is trained, by default) lie."""
        return self._plan.key(symbol, model)

    def served_keys(self) -> list[ModelKey]:
        """Every model whose champion is to serve, symbol by symbol."""
        return [self.key(symbol, model) for symbol in self._symbols for model in self._plan.serve]

    def next_due_ms(self) -> int | None:
        """The next moment at which ``tick`` has something to do (paced clock)."""
        due = list(self._waiting.values())
        if self._plan.enabled:
            due.append(self._next_fire)
        return min(due, default=None)

    @property
    def next_fire_ms(self) -> int:
        """When the next retrain falls due; 0 when none is scheduled."""
        return self._next_fire if self._plan.enabled else 0

    def waiting(self) -> list[str]:
        """Ids of jobs asked for and not landed."""
        return list(self._waiting)

    def progress(self, name: str) -> JobProgress | None:
        """Where a job is, or None while it waits for its runner."""
        return self._queue.progress(name)

    def start(self) -> None:
        """Begin to count: the first retrain is one interval from now. What the models of the settings are is logged."""
        plan = self._plan
        serve, train = ([full_name(name, plan.interval) for name in names] for names in (plan.serve, plan.train))
        log.info("models", serve=serve, train=train if plan.enabled else [])
        self._next_fire = self._fire_after(self._clock.now_ms())

    async def request_missing(self) -> None:
        """Ask for a first model of each symbol that nothing serves, unless the exchange would have to wait for it."""
        if self._paced or not self._plan.enabled:
            return
        for model in self._plan.train:
            missing = [s for s in self._symbols if self._serving.ref(s, model) is None]
            await self.request(self._clock.now_ms(), missing, (model,))

    async def load_champions(self) -> None:
        """Serve what the store says should serve. A model that cannot be loaded is reported and not served."""
        for key in self.served_keys():
            if self._champion(key) is not None:
                await self._swap(key, "start")

    async def tick(self) -> None:
        """Ask for what is due, land what is ready, notice a champion that somebody else moved."""
        now = self._clock.now_ms()
        if self._plan.enabled and now >= self._next_fire:
            asked_ms, self._next_fire = self._next_fire, self._fire_after(now)
            await self.request(asked_ms)
        for name, landing_ms in sorted(self._waiting.items(), key=lambda item: (item[1], item[0])):
            if self._paced:
                if now >= landing_ms:
                    await self._until_finished(name)
                    await self._land(name)
            elif self._queue.result(name) is not None:
                await self._land(name)
        if not self._paced and now >= self._next_poll_ms:
            self._next_poll_ms = now + POLL_MS
            await self._follow_pointers()

    async def request(
        self, as_of_ms: int, symbols: Sequence[str] | None = None, models: Sequence[str] | None = None
    ) -> None:
        """Ask for a retrain of ``models`` of ``symbols`` (all by default) on candles closed at ``as_of_ms``."""
        plan = self._plan
        for symbol, model in product(self._symbols if symbols is None else symbols, models or plan.train):
            job = plan.job(symbol, as_of_ms, self._taker_fee(symbol), model=model)
            self._queue.enqueue(job)
            self._waiting[job.id], self._keys[job.id] = as_of_ms + plan.landing_ms, plan.key(symbol, model)
            log.info("retrain_requested", symbol=symbol, model=model, job=job.id)
        if plan.spawn and self._waiting:
            await self._spawn()

    async def close(self) -> None:
        """Stop a runner of ours; its jobs go back to the queue."""
        if self._child is not None and self._child.returncode is None:
            self._child.terminate()
            try:
                await asyncio.wait_for(self._child.wait(), 10)
            except TimeoutError:
                self._child.kill()
                await self._child.wait()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _fire_after(self, now_ms: int) -> int:
        moment = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=now_ms)
        fire = self._trigger.get_next_fire_time(moment, moment)
        return int(fire.timestamp() * 1000) if fire is not None else now_ms + self._plan.every_ms

    async def _spawn(self) -> None:
        if self._child is not None and self._child.returncode is None:
            return
        self._child = await start_runner(self._queue, self._plan.threads)

    async def _until_finished(self, name: str) -> None:
        """Wait for a job's result. A runner that died is started again; the queue gives a job up after three deaths."""
        while self._queue.result(name) is None:
            if self._plan.spawn and (self._child is None or self._child.returncode is not None):
                self._queue.recover()
                await self._spawn()
            await asyncio.sleep(0.05)

    async def _land(self, name: str) -> None:
        del self._waiting[name]
        key = self._keys.pop(name)
        result = self._queue.result(name)
        if result is None:
            return
        self._put(
            RetrainEnded(
                job_id=name,
                symbol=result.symbol,
                model=model_name(key.name, key.interval, self._plan.interval),
                version=result.version,
                verdict="failed" if result.verdict == "cancelled" else result.verdict,
                reason=result.reason,
            )
        )
        log.info("retrain_ended", job=name, verdict=result.verdict, version=result.version, reason=result.reason)
        if result.promoted:
            await self._swap(key, _why(result))

    async def _follow_pointers(self) -> None:
        for key in self.served_keys():
            champion = self._champion(key)
            served = self._serving.ref(key.symbol, model_name(key.name, key.interval, self._plan.interval))
            if champion is None or champion.version == self._refused.get(key):
                continue
            if served is None or served.version != champion.version:
                await self._swap(key, f"{champion.who}: {champion.why}")

    def _champion(self, key: ModelKey) -> Champion | None:
        """Who should serve; None also when the pointer cannot be read, which is said once."""
        try:
            champion = self._store.champion(key)
        except ModelError as error:
            if self._unreadable.get(key) != str(error):
                log.error("champion_unreadable", symbol=key.symbol, model=key.name, reason=str(error))
                self._unreadable[key] = str(error)
            return None
        self._unreadable.pop(key, None)
        return champion

    async def _swap(self, key: ModelKey, why: str) -> None:
        try:
            artefact = await asyncio.to_thread(self._store.load, key)
            forecaster = await asyncio.to_thread(self._serving.prepare, artefact)
        except ModelError as error:
            log.error("model_refused", symbol=key.symbol, model=key.name, reason=str(error))
            champion = self._champion(key)
            self._refused[key] = champion.version if champion is not None else ""
            return
        self._serving.swap(key.symbol, forecaster)
        self._put(ModelSwapped(ref=forecaster.ref, reason=why))
        log.info(
            "model_swapped",
            symbol=key.symbol,
            model=forecaster.ref.name,
            version=forecaster.ref.version,
            providers=forecaster.providers,
            provisional=forecaster.ref.provisional,
            why=why,
        )


def _why(result: JobResult) -> str:
    return f"retrain {result.id}: {result.verdict}, {result.reason}"
