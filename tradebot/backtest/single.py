"""One back-test from what is asked for to its result."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

import msgspec

from tradebot.backtest.keeper import Keeper
from tradebot.backtest.late import late
from tradebot.backtest.models import Champions
from tradebot.backtest.playback import WATCHFUL, Hashes, Playback, Retraining
from tradebot.backtest.reference import read_reference
from tradebot.backtest.run import EquityCurve, Floats, Run, Trades, write_run
from tradebot.data.columns import utc
from tradebot.duration import Duration
from tradebot.errors import ConfigError, DataError
from tradebot.events import REFERENCES, EngineConfig
from tradebot.jobs import JobResult
from tradebot.market.candle import INTERVAL_MS
from tradebot.market.instrument import Instrument
from tradebot.ops.files import make_private
from tradebot.serving import Serving
from tradebot.shell.result import compare_with_exchange, earned, gates, result, served, stopped, totals
from tradebot.shell.sequencer import Log
from tradebot.sim.market import open_market
from tradebot.sim.source import MarketSource, SparseSource
from tradebot.trading.loading import engine_hash, load_strategy
from tradebot.trading.permission import LIFTS_BY_ITSELF
from tradebot.trading.strategy import Strategy, configure, hooks_of

HISTORY_DAYS = 180
TELL_EVERY = 256
"""Steps between two looks at the wall clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What a back-test is asked for. It can be sent to another process.

    ``data``: files or folders as ``PATH`` or ``SYMBOL=PATH``; none: a generated market of ``symbols``. ``break_days``:
    its structural break lies that long before its start; None: it has none. ``for_ms``: how much of the end is traded;
    None: the second half. ``config``: what the engine is given, its symbols are those of the market. ``references``:
    candle files, likewise, of BTCUSDT and ETHUSDT where those are not traded: they are heard as features.
    ``model_store``: whose champions forecast; None: no model does, unless ``training`` brings some. ``every_row``: the
    engine is shown every row of the market, also those that can change no decision. For stress: ``fee_times``
    multiplies the fees, ``slippage_bp`` is paid by takers beside them, ``delay_bars`` is how many candles late the
    strategy acts.
    """

    config: EngineConfig
    strategies_dir: Path
    settings_hash: str = ""
    name: str = ""
    data: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    seed: int = 7
    for_ms: int | None = None
    start_ms: int | None = None
    history_days: int = HISTORY_DAYS
    break_days: int | None = None
    cash: Decimal = Decimal(10_000)
    model_store: Path | None = None
    model: str = "lightgbm"
    references: tuple[str, ...] = ()
    every_row: bool = False
    fee_times: Decimal = Decimal(1)
    slippage_bp: Decimal = Decimal(0)
    delay_bars: int = 0
    source: str = ""
    """The market in words; empty: in its own."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a back-test is, and how fast: exchange time now and the ends of the window, wall time so far."""

    from_ms: int
    to_ms: int
    now_ms: int
    wall_s: float

    @property
    def share(self) -> float:
        return (self.now_ms - self.from_ms) / max(self.to_ms - self.from_ms, 1)

    @property
    def eta_s(self) -> float | None:
        """Wall time left; None while it cannot be told."""
        return self.wall_s / self.share * (1 - self.share) if self.share > 0 else None


class Training(Protocol):
    """Models that are trained for the run: the first ones before it, others while it goes on."""

    @property
    def results(self) -> Sequence[JobResult]:
        """What became of the first ones."""

    @property
    def settings_hash(self) -> str:
        """SHA-256 of the settings that they are trained with and the run goes by; known once prepared."""

    async def prepare(self, sources: Sequence[MarketSource]) -> bool:
        """Train the first ones; False when that was stopped."""

    def attach(self, playback: Playback) -> tuple[Callable[[], Awaitable[None]], Retraining]:
        """What makes the first ones serve, and what trains the others."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A back-test that has ended."""

    run: Run
    equity: EquityCurve
    prices: dict[str, Floats]
    trades: Trades
    steps: int
    wall_s: float

    @property
    def result(self) -> dict[str, Any]:
        """The object that ``--json`` prints last."""
        return self.run.result


def run_backtest(
    spec: Spec,
    *,
    out: Path | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    stop: Callable[[], bool] = lambda: False,
    training: Training | None = None,
    log: Log | None = None,
) -> Outcome | None:
    """Run one back-test; with ``out`` its directory is written (:mod:`tradebot.backtest.run`).

    ``stop`` ends it early: the result says so. None: it was stopped before it began. ``log`` keeps what a daemon
    would write into its journal; without it nothing is kept.

    Raises DataError for unusable data, ConfigError for symbols, strategies or parameters that do not exist, ModelError
    for models that cannot serve.
    """
    return asyncio.run(_run(spec, out, on_progress, stop, training, log))


def open_sources(spec: Spec) -> list[MarketSource]:
    """The markets of a spec. Raises DataError, also when candles are coarser than those that are decided on."""
    sources = open_market(
        spec.data,
        spec.symbols,
        spec.seed,
        for_ms=spec.for_ms,
        history_days=spec.history_days,
        start_ms=spec.start_ms,
        break_days=spec.break_days,
    )
    bar_ms = INTERVAL_MS[spec.config.interval]
    coarse = [f"{s.instrument.symbol} ({Duration(s.interval_ms)})" for s in sources if s.interval_ms > bar_ms]
    if coarse:
        raise DataError(
            f"the recorded candles of {', '.join(coarse)} are coarser than the {spec.config.interval} candles that are "
            f"decided on, and what happened between them is not known; give files of {spec.config.interval} or less"
        )
    for source in sources:
        source.instrument = _dearer(source.instrument, spec)
    return sources


def _dearer(instrument: Instrument, spec: Spec) -> Instrument:
    return msgspec.structs.replace(
        instrument,
        maker_fee=instrument.maker_fee * spec.fee_times,
        taker_fee=instrument.taker_fee * spec.fee_times + spec.slippage_bp / 10_000,
    )


async def _run(
    spec: Spec,
    out: Path | None,
    on_progress: Callable[[Progress], None],
    stop: Callable[[], bool],
    training: Training | None,
    log: Log | None,
) -> Outcome | None:
    found, strategy_hash = load_strategy(spec.strategies_dir, spec.config.strategy)
    configure(found, spec.config)  # what is wrong with what was asked for is told before models are trained
    if out is not None:
        _refuse_used(out)
    strategy = late(found, spec.delay_bars)
    sources = open_sources(spec)
    symbols = tuple(source.instrument.symbol for source in sources)
    start_ms, end_ms = min(s.start_ms for s in sources), max(s.end_ms for s in sources)
    if training is not None and not await training.prepare(sources):
        return None
    settings_hash = spec.settings_hash if training is None else training.settings_hash
    began = time.monotonic()
    if out is not None:
        _refuse_used(out)
        make_private(out)
    serving = Serving(interval=spec.config.interval, allow_provisional=True)
    # the account is looked at when there is a reason, so its age is no news
    risk = msgspec.structs.replace(spec.config.risk, max_account_age_ms=None)
    followed = [read_reference(argument, spec.config.interval) for argument in spec.references]
    followed = [reference for reference in followed if reference.symbol not in symbols]
    heard = {*symbols, *(reference.symbol for reference in followed)}
    config = msgspec.structs.replace(
        spec.config, symbols=symbols, risk=risk, references=tuple(name for name in REFERENCES if name in heard)
    )
    keeper = Keeper(symbols, out)
    steps = 0

    def ticked(now_ms: int) -> bool:
        nonlocal steps
        steps += 1
        if steps % TELL_EVERY:
            return True
        on_progress(Progress(start_ms, end_ms, now_ms, time.monotonic() - began))
        return not stop()

    playback = Playback(
        sources,
        config,
        strategy,
        serving,
        Hashes(settings=settings_hash, engine=engine_hash(), strategy=strategy_hash),
        keeper,
        cash=spec.cash,
        stop_at_ms=end_ms,
        ticked=ticked,
        every_row=spec.every_row,
        log=log,
        references=followed,
    )
    champions = Champions(serving, playback.put, spec.model, config)
    if training is not None:
        playback.loaded, chore = training.attach(playback)
        playback.chores.append(chore)
    elif spec.model_store is not None:
        store = spec.model_store

        async def loaded() -> None:
            champions.load(store)

        playback.loaded = loaded
    try:
        await playback.run()
        to_ms = playback.clock.now_ms()
        on_progress(Progress(start_ms, end_ms, to_ms, time.monotonic() - began))
        agreed = await compare_with_exchange(
            playback.rest,
            playback.engine.state,
            symbols,
            start_equity=playback.start_equity,
            started_ms=start_ms,
            now_ms=to_ms,
        )
    finally:
        for part in playback.chores:
            await part.close()
        keeper.close()
    tally = playback.tally
    description = spec.source or "; ".join(source.description for source in sources)
    digest = result(
        mode=config.mode,
        source=description,
        symbols=symbols,
        from_ms=start_ms,
        to_ms=to_ms,
        decisions_sha256=playback.sequencer.digest.hexdigest(),
        counted=totals(tally, events=playback.sequencer.events, book_updates=playback.feed.book_updates, dropped=0),
        equity=playback.engine.live_equity(),
        replay=None,
        reconcile=agreed,
        gate=gates(training.results if training is not None else (), tally.verdicts),
        models=served(tally.services),
        money=earned(playback.engine, tally.trades),
        stops=stopped(playback.engine.state, symbols),
    )
    used = tuple(playback.served)
    hashes = {
        "strategy": strategy_hash,
        "engine": engine_hash(),
        "data": data_hash(spec, sources),
        "models": [(m.symbol, m.name, m.sha256, m.since_ms) for m in used],
    }
    run = Run(
        name=spec.name,
        source=description,
        files=spec.data,
        symbols=symbols,
        seed=spec.seed,
        from_ms=start_ms,
        to_ms=to_ms,
        asked_to_ms=end_ms,
        interrupted=playback.interrupted,
        config=config,
        settings_hash=settings_hash,
        strategy_hash=strategy_hash,
        engine_hash=engine_hash(),
        data_hash=str(hashes["data"]),
        inputs_hash=_inputs_hash(spec, config, hashes, start_ms, end_ms),
        models=used,
        start_equity=float(playback.start_equity or 0),
        result=digest,
        cautions=_cautions(playback, found, sources if spec.data else (), to_ms),
    )
    outcome = Outcome(run, keeper.curve(), keeper.prices(), keeper.trades(), steps, time.monotonic() - began)
    if out is not None:
        write_run(out, run, outcome.equity, outcome.prices, outcome.trades)
    return outcome


def _cautions(
    playback: Playback, strategy: type[Strategy], recorded: Sequence[MarketSource], to_ms: int
) -> tuple[str, ...]:
    """What makes the figures of a run other than what they seem, in words. ``recorded``: markets made of files."""
    found = []
    watching = sorted(hooks_of(strategy) & WATCHFUL)
    made_up = [source.instrument.symbol for source in recorded if isinstance(source, SparseSource)]
    if watching and made_up:
        found.append(
            f"{strategy.__name__} looks inside candles ({', '.join(watching)}), and what happens inside the candles of "
            f"{', '.join(made_up)} is made up from their own highs, lows and closes: it can be foretold, even in a "
            "random walk; judge it on recorded books"
        )
    permission = playback.engine.state.permission
    if permission.state != "active" and permission.cause not in LIFTS_BY_ITSELF:
        lasting = Duration((to_ms - permission.since_ms) // 60_000 * 60_000)
        found.append(
            f"no entries from {utc(permission.since_ms)} on, for the last {lasting} of the run, as nobody resumed: "
            f"{permission.reason}; the figures are of the whole run"
        )
    return tuple(found)


def data_hash(spec: Spec, sources: Sequence[MarketSource]) -> str:
    """SHA-256 over the files of a market in the order given, or over what generates it."""
    digest = hashlib.sha256()
    for source in sources:
        digest.update(f"{source.instrument.symbol}\0{source.start_ms}\0{source.end_ms}\0".encode())
    for argument in (*spec.data, *spec.references):
        path = Path(argument.partition("=")[2] or argument)
        for file in sorted(path.glob("*.parquet")) if path.is_dir() else [path]:
            with file.open("rb") as content:
                digest.update(hashlib.file_digest(content, "sha256").digest())
    if not spec.data:
        broken = "" if spec.break_days is None else f"\0{spec.break_days}"
        digest.update(f"generated\0{spec.seed}\0{spec.history_days}{broken}".encode())
    return digest.hexdigest()


def _inputs_hash(spec: Spec, config: EngineConfig, hashes: dict[str, Any], start_ms: int, end_ms: int) -> str:
    stress = [str(spec.fee_times), str(spec.slippage_bp), spec.delay_bars]
    asked = [config, hashes, start_ms, end_ms, spec.seed, str(spec.cash), stress]
    return hashlib.sha256(msgspec.json.encode(asked, order="deterministic")).hexdigest()


def _refuse_used(folder: Path) -> None:
    """Raises ConfigError when there is something in ``folder``."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--out {folder}: exists and is not an empty directory; choose another one")
