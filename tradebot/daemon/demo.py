"""``tradebot demo``: the embedded exchange, a first model, the whole daemon, and an honest account of what happened."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

import aiohttp
import msgspec
import structlog
import uvloop

from tradebot.daemon.app import Daemon
from tradebot.daemon.patience import Patience
from tradebot.daemon.portrait import counts
from tradebot.daemon.replay import replay as recompute
from tradebot.daemon.retraining import RetrainPlan, start_runner
from tradebot.daemon.snapshot import CountsSnapshot, JobSnapshot, Snapshot
from tradebot.daemon.trades import Trades
from tradebot.duration import Duration
from tradebot.errors import BusyError, ConfigError, DataError, TradebotError
from tradebot.events import RetrainEnded
from tradebot.jobs import JobProgress, JobQueue, JobResult, RetrainJob
from tradebot.journal import DecisionDigest, open_state
from tradebot.market.candle import DAY_MS, INTERVAL_MS, MINUTE_MS
from tradebot.market.instrument import exact
from tradebot.ops.files import disk_error, make_private
from tradebot.ops.process import die_with_parent
from tradebot.registry.durable import acquire
from tradebot.settings import Credentials, Settings, strategies_folder
from tradebot.trading.loading import load_strategy

log = structlog.get_logger(__name__)

DEFAULT_FOR_MS = 3 * DAY_MS
HISTORY_DAYS = 180
GENERATED_HISTORY_DAYS = 120
FIRST_MODEL_AGE_DAYS = 45
"""On a generated market the first model was trained this long before the start, as if nobody had retrained since: the
gate then has enough fresh rows, which neither model was fitted to or chosen on, to compare the next one with it."""
LANDING_MS = 20 * MINUTE_MS
EQUAL_WITHIN = Decimal("1e-6")
"""USDT: the two sides round averages at different places."""
REPLAY_PARAMS = {"entry_rank": 0.98}
"""On recorded markets the strategy also acts on the strongest 2 % of a day's forecasts, although they seldom cover
their costs: a demo in which nothing happens would show nothing. The result says what that earned."""
STATE = Path("state/demo")
MARKER = "this-is-a-demo"
LOGS = "logs"
STRATEGY = "threshold"

View = Callable[[Snapshot], None]


@dataclass(slots=True)
class Demo:
    """What was asked for."""

    for_ms: int | None
    seconds: float | None
    speed: str
    replay: list[str]
    symbols: list[str]
    seed: int
    state_dir: Path
    strategies_dir: Path
    faults: Path | None
    view: View
    began: float = field(default_factory=time.monotonic)
    results: list[JobResult] = field(default_factory=list)


def run_demo(
    *,
    for_ms: int | None,
    seconds: float | None,
    speed: str,
    replay: list[str],
    symbols: list[str],
    seed: int,
    json_output: bool,
    state_dir: Path,
    faults: Path | None = None,
    view: View = lambda snapshot: None,
    finish: Callable[[dict[str, Any]], None] = lambda result: None,
) -> int:
    """Run the demo. ``view`` is shown a snapshot a few times a second, ``finish`` the result.

    ``faults`` is a schedule of what goes wrong at the exchange. Only one demo at a time uses a state directory: it is
    locked until ``finish`` has returned. With ``json_output`` the result is the last line of stdout. Exit code 0, or 1
    when the run's own checks (replay, reconciliation) failed.
    Raises TradebotError; BusyError when another demo runs there.
    """
    strategies_dir = strategies_folder(Path("strategies").absolute(), STRATEGY)
    load_strategy(strategies_dir, STRATEGY)  # what is wrong with it is told before anything starts
    demo = Demo(
        for_ms=for_ms,
        seconds=seconds,
        speed=speed,
        replay=replay,
        symbols=symbols,
        seed=seed,
        state_dir=state_dir,
        strategies_dir=strategies_dir,
        faults=faults,
        view=view,
    )
    with _sole_user(demo.state_dir):
        _clear(demo.state_dir)
        result = uvloop.run(_run(demo))
        finish(result)
        if json_output:
            sys.stdout.write(json.dumps(result) + "\n")
            sys.stdout.flush()
    sound = not result["replay"]["mismatches"] and all(result["reconcile"].values())
    return 0 if sound else 1


@contextmanager
def _sole_user(state: Path) -> Iterator[None]:
    """Hold the lock beside ``state``, which outlives the directory. Raises BusyError when another demo has it."""
    folder = state.absolute()
    make_private(folder.parent)
    held = acquire(folder.parent / f"{folder.name}.lock")
    if held is None:
        raise BusyError(f"{state} is in use by another demo; wait for its end or choose another one with --state")
    try:
        yield
    finally:
        os.close(held)


def _clear(state: Path) -> None:
    """Begin with an empty state directory; one that no demo made, or that a daemon uses, is never removed."""
    try:
        if state.exists() and any(state.iterdir()):
            if not (state / MARKER).exists():
                raise ConfigError(f"--state {state}: not an old demo's directory and not empty; choose another one")
            owned = acquire(state / "lock")
            if owned is None:
                raise BusyError(f"{state} is in use by a running daemon; stop it or choose another one with --state")
            os.close(owned)
            shutil.rmtree(state)
        make_private(state)
        (state / MARKER).touch()
    except OSError as error:
        raise DataError(f"cannot prepare {state}: {error.strerror or error}") from error


async def _run(demo: Demo) -> dict[str, Any]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    if demo.seconds is not None:
        loop.call_later(demo.seconds, stop.set)
    exchange = await _start_exchange(demo)
    try:
        market = await _market(exchange)
        for_ms = min(demo.for_ms or DEFAULT_FOR_MS, market.end - market.start)
        settings = _settings(demo, exchange, market, for_ms)
        _refuse_coarse(market, settings.trading.interval)
        if not await _first_models(demo, settings, market.start, stop):
            return _nothing_traded(demo, settings, market.start)
        return await _trade(demo, settings, market.start + for_ms, stop)
    finally:
        await exchange.stop()


# --- the exchange ---------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Exchange:
    process: asyncio.subprocess.Process
    rest_url: str
    ws_url: str

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), 5)
            except TimeoutError:
                self.process.kill()
                await self.process.wait()


async def _start_exchange(demo: Demo) -> _Exchange:
    """The embedded exchange as a process of its own, standing still until the daemon attaches to its clock."""
    command = [sys.executable, "-m", "tradebot", "sim", "--hold", "--speed", demo.speed, "--seed", str(demo.seed)]
    for_ms = demo.for_ms or DEFAULT_FOR_MS
    command += ["--for", f"{for_ms // 1000}s"]
    command += ["--history-days", str(HISTORY_DAYS if demo.replay else GENERATED_HISTORY_DAYS)]
    for path in demo.replay:
        command += ["--market", path]
    for symbol in demo.symbols:
        command += ["--symbols", symbol]
    if demo.faults is not None:
        command += ["--faults", str(demo.faults)]
    said = demo.state_dir / LOGS / "exchange.log"
    with _open_log(said) as stderr:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        code = await process.wait()
        message = said.read_text(errors="replace").strip() or "the exchange ended without a word"
        raise _ended(message.removeprefix("tradebot: "), code)
    urls = msgspec.json.decode(line)
    return _Exchange(process, urls["rest"], urls["ws"])


def _open_log(path: Path) -> BinaryIO:
    """A file for what a child process says on stderr, for this user alone. Raises BusyError, DataError."""
    make_private(path.parent)
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "wb")
    except OSError as error:
        raise disk_error("write", path, error) from error


def _ended(message: str, code: int) -> TradebotError:
    """The exchange's own one-line error, with its own exit code."""
    error = TradebotError(message)
    error.exit_code = code or 1
    return error


class _Market(msgspec.Struct):
    """What the embedded exchange says of itself at ``/sim/market``."""

    symbols: tuple[str, ...]
    start: int
    end: int
    intervals: tuple[int, ...]


def _refuse_coarse(market: _Market, interval: str) -> None:
    """Raises DataError when a market would have to invent the candles that the models decide on."""
    coarse = [
        f"{symbol} ({Duration(interval_ms)})"
        for symbol, interval_ms in zip(market.symbols, market.intervals, strict=True)
        if interval_ms > INTERVAL_MS[interval]
    ]
    if coarse:
        raise DataError(
            f"the recorded candles of {', '.join(coarse)} are coarser than the {interval} candles that the models "
            f"read, and what happened between them is not known; give files of {interval} or less"
        )


async def _market(exchange: _Exchange) -> _Market:
    async with aiohttp.ClientSession() as session, session.get(f"{exchange.rest_url}/sim/market") as answer:
        return msgspec.json.decode(await answer.read(), type=_Market)


def _settings(demo: Demo, exchange: _Exchange, market: _Market, for_ms: int) -> Settings:
    """Settings of the demo's daemon: one retrain half-way through ``for_ms``."""
    days = HISTORY_DAYS if demo.replay else GENERATED_HISTORY_DAYS
    return Settings.model_validate(
        {
            "mode": "demo",
            "symbols": market.symbols,
            "state_dir": demo.state_dir.absolute(),
            "model_store": (demo.state_dir / "model_store").absolute(),
            "strategies_dir": demo.strategies_dir,
            "strategy": {"name": STRATEGY, "params": REPLAY_PARAMS if demo.replay else {}},
            "exchange": {
                "rest_url": exchange.rest_url,
                "public_ws": f"{exchange.ws_url}/v2/ws/public",
                "private_ws": f"{exchange.ws_url}/v2/ws/private",
                "clock": "paced",
                "rate_limited": False,
            },
            "retrain": {
                "every": f"{max(for_ms // 2, 60 * MINUTE_MS) // 1000}s",
                "days": days,
                "landing": f"{min(LANDING_MS, for_ms // 8) // 1000}s",
                "seed": demo.seed,
                "trials": 4,
                "rounds": 200,
            },
        }
    )


# --- the first models -----------------------------------------------------------------------------------------------


async def _first_models(demo: Demo, settings: Settings, start_ms: int, stop: asyncio.Event) -> bool:
    """Train a model of each symbol on the candles before the start, while the exchange stands still.

    False when the run was stopped meanwhile. Raises TradebotError when a symbol gets no model.
    """
    queue = JobQueue(settings.jobs_dir)
    plan = RetrainPlan.of(settings)
    if not demo.replay:
        start_ms -= FIRST_MODEL_AGE_DAYS * DAY_MS
        plan = replace(plan, days=plan.days - FIRST_MODEL_AGE_DAYS)
    jobs = [plan.job(symbol, start_ms) for symbol in settings.symbols]
    for job in jobs:
        queue.enqueue(job)
    runner = await start_runner(queue, plan.threads)
    try:
        while runner.returncode is None and not stop.is_set():
            demo.view(_training(demo, settings, queue, jobs, start_ms))
            with suppress(TimeoutError):
                await asyncio.wait_for(runner.wait(), 0.25)
    finally:
        if runner.returncode is None:
            runner.terminate()
            await runner.wait()
    if stop.is_set():
        return False
    for job in jobs:
        result = queue.result(job.id)
        if result is None:
            raise DataError(f"{job.symbol}: the trainer ended without a result (exit code {runner.returncode})")
        demo.results.append(result)
        if not result.promoted:
            raise _ended(f"{job.symbol}: no first model: {result.reason}", result.exit_code)
    return True


def _training(demo: Demo, settings: Settings, queue: JobQueue, jobs: list[RetrainJob], now_ms: int) -> Snapshot:
    shots: list[JobSnapshot] = []
    for job in jobs:
        shot: JobSnapshot = {"id": job.id, "symbol": job.symbol, "model": job.model}
        shot["state"] = queue.state(job.id) or "pending"
        progress: JobProgress | None = queue.progress(job.id)
        if progress is not None:
            shot["stage"], shot["done"], shot["total"] = progress.stage, progress.done, progress.total
            shot["message"], shot["elapsed_s"], shot["eta_s"] = progress.message, progress.elapsed_s, progress.eta_s
        shots.append(shot)
    return {
        "mode": settings.mode,
        "source": _source(demo),
        "phase": "training the first model",
        "jobs": shots,
        "now_ms": now_ms,
        "wall_s": time.monotonic() - demo.began,
    }


# --- trading --------------------------------------------------------------------------------------------------------


async def _trade(demo: Demo, settings: Settings, end_ms: int, stop: asyncio.Event) -> dict[str, Any]:
    credentials = Credentials("demo-key", "demo-secret", "demo-pass")
    reconciled: dict[str, bool] = {}
    with open_state(settings.state_dir) as opened:
        # what is lost on the way is found as a live daemon finds it
        patience = Patience(reconcile_every_ms=MINUTE_MS) if demo.faults is not None else None
        daemon = Daemon(settings, credentials, opened, stop_at_ms=end_ms, patience=patience)

        async def check() -> None:
            reconciled.update(await compare_with_exchange(daemon))

        daemon.before_leaving = check
        trades = Trades()
        daemon.sequencer.observe(trades)
        stopper = asyncio.create_task(_when(stop, daemon.request_stop))
        viewer = asyncio.create_task(_show(demo, daemon))
        try:
            await daemon.run()
        finally:
            for task in (stopper, viewer):
                task.cancel()
            await asyncio.gather(stopper, viewer, return_exceptions=True)
        demo.view(_snapshot(demo, daemon))
    report = recompute(settings.state_dir, settings.strategies_dir, epoch=opened.epoch)
    equity = daemon.engine.live_equity()
    return _result(
        demo,
        settings,
        from_ms=daemon.started_ms,
        to_ms=daemon.clock.now_ms(),
        digest=daemon.sequencer.digest,
        total=counts(daemon),
        equity=str(equity) if equity is not None else None,
        replay={"decisions": report.decisions, "mismatches": report.mismatches},
        reconcile=reconciled,
        verdicts=daemon.tally.verdicts,
        money=_money(daemon, trades),
    )


def _money(daemon: Daemon, trades: Trades) -> dict[str, Any]:
    """What was earned, USDT: ``net`` = ``gross`` + ``fees`` + ``funding`` (negative when paid), and what is open."""
    book = daemon.engine.state.portfolio
    marks = {name: exact(symbol.mark_price()) for name, symbol in daemon.engine.symbols.items()}
    return {
        "trades": trades.closed,
        "gross": str(book.realised),
        "fees": str(book.fees),
        "funding": str(book.funding),
        "net": str(book.realised + book.fees + book.funding),
        "net_bp_per_trade": trades.net_bp(),
        "positions": [
            {
                "symbol": p.symbol,
                "qty": str(p.qty),
                "entry_price": str(p.entry_price),
                "unrealised": str(p.unrealised(marks[p.symbol])),
            }
            for p in book.open_positions()
        ],
    }


def _nothing_traded(demo: Demo, settings: Settings, start_ms: int) -> dict[str, Any]:
    """The result of a run that was stopped while its first model was being trained."""
    same = {"positions_equal": True, "balance_equal": True, "orders_equal": True}
    return _result(
        demo,
        settings,
        from_ms=start_ms,
        to_ms=start_ms,
        digest=DecisionDigest(),
        total=dict.fromkeys(CountsSnapshot.__annotations__, 0),
        equity=None,
        replay={"decisions": 0, "mismatches": 0},
        reconcile=same,
        verdicts=[],
        money={
            "trades": 0, "gross": "0", "fees": "0", "funding": "0", "net": "0", "net_bp_per_trade": None,
            "positions": [],
        },
    )  # fmt: skip


def _result(
    demo: Demo,
    settings: Settings,
    *,
    from_ms: int,
    to_ms: int,
    digest: DecisionDigest,
    total: Mapping[str, Any],
    equity: str | None,
    replay: dict[str, int],
    reconcile: dict[str, bool],
    verdicts: Sequence[RetrainEnded],
    money: Mapping[str, Any],
) -> dict[str, Any]:
    gate = [(r.id, r.version, r.verdict, r.reason) for r in demo.results]
    gate += [(v.job_id, v.version, v.verdict, v.reason) for v in verdicts]
    return {
        "mode": settings.mode,
        "source": _source(demo),
        "symbols": list(settings.symbols),
        "from": from_ms,
        "to": to_ms,
        "decisions_sha256": digest.hexdigest(),
        **total,
        "equity": equity,
        "replay": replay,
        "reconcile": reconcile,
        "gate": [dict(zip(("job", "version", "verdict", "reason"), row, strict=True)) for row in gate],
        **money,
    }


async def compare_with_exchange(daemon: Daemon) -> dict[str, bool]:
    """Our positions, balance and orders against what the exchange says, after the last event."""
    rest, state = daemon.rest, daemon.engine.state
    ours = {p.symbol: p.qty for p in state.portfolio.open_positions()}
    theirs = {p.symbol: p.qty for p in await rest.positions()}
    _, account = await rest.account(daemon.config.symbols[0])
    book = state.portfolio
    expected = (daemon.start_equity or Decimal(0)) + book.realised + book.fees + book.funding
    listed = {o.client_oid: o for o in await rest.orders_history(since_ms=daemon.started_ms)}
    listed |= {o.client_oid: o for o in await rest.open_orders()}
    orders = [o for o in state.orders if o.status != "rejected"]
    return {
        "positions_equal": ours == theirs,
        "balance_equal": abs(expected - account.balance) < EQUAL_WITHIN,
        "orders_equal": all(
            o.client_oid in listed
            and (o.status, o.filled_qty) == (listed[o.client_oid].status, listed[o.client_oid].filled_qty)
            for o in orders
        ),
    }


def _source(demo: Demo) -> str:
    faults = f"; faults of {demo.faults.name}" if demo.faults is not None else ""
    if demo.replay:
        files = ", ".join(Path(p.partition("=")[2] or p).name for p in demo.replay)
        return (
            f"recorded: {files}; acting on the strongest 2 % of forecasts whether or not they cover their costs{faults}"
        )
    return f"generated market with a planted signal, seed {demo.seed}{faults}"


async def _when(event: asyncio.Event, act: Callable[[], None]) -> None:
    await event.wait()
    act()


def _snapshot(demo: Demo, daemon: Daemon) -> Snapshot:
    """The daemon's snapshot; market, speed and wall time are those of the whole demo."""
    shot = daemon.snapshot()
    shot["source"], shot["speed"], shot["wall_s"] = _source(demo), demo.speed, time.monotonic() - demo.began
    return shot


async def _show(demo: Demo, daemon: Daemon) -> None:
    while True:
        demo.view(_snapshot(demo, daemon))
        await asyncio.sleep(0.25)
