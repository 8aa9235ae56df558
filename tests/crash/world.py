"""An exchange on a socket that outlives every daemon, and the daemons that trade on it one after the other."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from time import perf_counter
from typing import Any

from tests.crash import nursery
from tests.eventually import eventually, presently
from tests.faults.world import LIMITS, markets, model_store, settings
from tradebot.cli.control import ask
from tradebot.duration import Duration
from tradebot.errors import Unavailable
from tradebot.market.candle import DAY_MS, INTERVAL_MS, MINUTE_MS
from tradebot.settings import Settings
from tradebot.sim.clock import PacedClient
from tradebot.sim.exchange import Exchange
from tradebot.sim.server import EmbeddedExchange

MARKET_MS = 30 * DAY_MS
RISK = {
    "stop_distance": Decimal("0.004"),
    "max_drawdown": Decimal("0.99"),
    "max_model_loss": Decimal("0.99"),
    "max_losses_in_a_row": None,
}
"""Stops near enough to act now and then, also while nobody lives; and no loss ends the trading."""
JOURNAL = {"snapshot": Duration(5 * MINUTE_MS), "keep": Duration(150 * MINUTE_MS)}
"""Kept longer than it takes until it has been looked at."""
CALM_MS = (120_000, 240_000)
"""Part of each candle in which nothing is decided and everything that was has become of it what it will."""
WITHIN_S = 60.0
"""What takes longer on any machine hangs."""


@dataclass(slots=True)
class Life:
    """A daemon's process. ``recovery_s``: from its beginning until it traded; None: it never came so far."""

    process: ForkServerProcess
    began: float
    sock_before: tuple[int, int]
    recovery_s: float | None = None


class Watch:
    """Takes part in the exchange's steps, beside the daemon or instead of it.

    Steps go on until ``enough(now_ms)``; then time stands still until the watch is left.
    """

    def __init__(self, exchange: Exchange, enough: Callable[[int], bool]) -> None:
        self._exchange = exchange
        self._enough = enough
        self._reached = asyncio.Event()
        self._client = PacedClient(self._tell, self._end)

    def __enter__(self) -> Watch:
        self._exchange.clock.attach(self._client)
        return self

    def __exit__(self, *exc: object) -> None:
        self._exchange.clock.detach(self._client)

    async def reached(self) -> None:
        """Wait until it is enough. Raises TimeoutError."""
        await asyncio.wait_for(self._reached.wait(), WITHIN_S)

    def _tell(self, step: int, now_ms: int, counts: dict[str, int]) -> None:
        if self._enough(now_ms):
            self._reached.set()
        else:
            asyncio.get_running_loop().call_soon(self._exchange.clock.ack, self._client, step, None)

    def _end(self, now_ms: int) -> None:
        self._reached.set()


@dataclass(slots=True)
class World:
    """``on_command`` is called whenever a command of the bot has reached the exchange and has not acted yet,
    ``meanwhile`` after each kill."""

    server: EmbeddedExchange
    settings: Settings
    log: Path
    on_command: Callable[[], None] = field(default=lambda: None)
    meanwhile: Callable[[World], None] = field(default=lambda running: None)

    @property
    def exchange(self) -> Exchange:
        return self.server.exchange

    @property
    def now_ms(self) -> int:
        return self.exchange.clock.now_ms

    @property
    def state(self) -> Path:
        return self.settings.state_dir

    def start(self) -> Life:
        """A new daemon on the same state."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([nursery.__name__])
        before = self._sock()
        process = context.Process(target=nursery.live, args=(self.settings, self.log))
        process.start()
        return Life(process, perf_counter(), before)

    def trades(self, life: Life) -> bool:
        """Whether the daemon has come up: it answers whoever asks. Raises AssertionError when it ended instead."""
        if life.recovery_s is None and self._sock() not in (life.sock_before, (0, 0)):
            life.recovery_s = perf_counter() - life.began
        assert life.process.exitcode is None, f"the daemon ended with code {life.process.exitcode}: see {self.log}"
        return life.recovery_s is not None

    async def up(self, life: Life) -> None:
        """Wait until the daemon trades."""
        await eventually(lambda: self.trades(life), WITHIN_S, 0.005)

    async def kill(self, life: Life) -> None:
        """SIGKILL, and wait until the exchange has noticed that nobody is there."""
        life.process.kill()
        await self._gone(life)
        await eventually(lambda: not self.exchange.clock.paced, WITHIN_S, 0.002)

    async def leave(self, life: Life) -> None:
        """Stop in order at a calm moment of the market's. Raises AssertionError when the daemon ends with an error."""
        since_ms = self.now_ms + INTERVAL_MS["5m"]
        with Watch(self.exchange, lambda now_ms: now_ms >= since_ms and self._calm(now_ms)) as watch:
            await watch.reached()
            life.process.terminate()
            await self._gone(life)
        assert life.process.exitcode == 0, f"the daemon ended with code {life.process.exitcode}: see {self.log}"

    async def pass_time(self, ms: int) -> None:
        """Let the market go on while no daemon lives."""
        until_ms = self.now_ms + ms
        with Watch(self.exchange, lambda now_ms: now_ms >= until_ms) as watch:
            await watch.reached()

    async def operate(self, action: str) -> None:
        """A person's act, durable once this returns."""
        answers: list[dict[str, Any]] = []

        def asked() -> bool:
            with suppress(Unavailable):  # its socket is there an instant before it listens
                answers.append(ask(self.state, {"cmd": action, "reason": "crash campaign"}))
            return bool(answers)

        await asyncio.to_thread(presently, asked, WITHIN_S)
        assert answers[0]["ok"], answers

    async def _gone(self, life: Life) -> None:
        await eventually(lambda: life.process.exitcode is not None, WITHIN_S, 0.002)

    def _calm(self, now_ms: int) -> bool:
        return CALM_MS[0] <= now_ms % INTERVAL_MS["5m"] <= CALM_MS[1] and not self.exchange.venue.waiting()

    def _sock(self) -> tuple[int, int]:
        try:
            found = self.settings.control_socket.stat()
        except FileNotFoundError:
            return 0, 0
        return found.st_ino, found.st_ctime_ns


@asynccontextmanager
async def world(folder: Path, seed: int) -> AsyncIterator[World]:
    """The market of ``seed``, held while nobody takes part in it; state, models and log lie in ``folder``."""
    server = EmbeddedExchange(markets(seed, MARKET_MS), hold=True, limits=LIMITS)
    async with server:
        base = settings(server, folder / "state", model_store(folder.parent))
        risk = base.risk.model_copy(update=RISK)
        journal = base.journal.model_copy(update=JOURNAL)
        own = base.model_copy(update={"risk": risk, "journal": journal})
        running = World(server, own, folder / "daemon.log")
        schedule = server.exchange.schedule

        def told(*given: Any, **named: Any) -> int:
            running.on_command()
            return schedule(*given, **named)

        server.exchange.schedule = told  # type: ignore[method-assign]  # whoever waits for a command hears of it here
        yield running
