"""Recording in the daemon: the recorder itself, and a process that rolls finished days into the store."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from tradebot.data.recorder.raw import RawLog, RawTiming, day_of
from tradebot.data.recorder.recorder import Recorder
from tradebot.errors import BusyError
from tradebot.exchange.bitget.listener import Listener
from tradebot.market.candle import DAY_MS
from tradebot.ops.files import make_private
from tradebot.ops.process import die_with_parent
from tradebot.registry.durable import acquire
from tradebot.settings import Settings
from tradebot.shell.clock import Clock
from tradebot.shell.course import Chore
from tradebot.shell.sequencer import Observer

log = structlog.get_logger(__name__)

GRACE_MS = 60_000
"""How long after midnight a day is rolled: its last rows have then been written."""
LOCK = "lock"


class Roller:
    """Rolls the days before today into the store at ``root``: at the start what an earlier run left, then after every
    midnight UTC of the bot's clock. The work is done by a process of low priority."""

    def __init__(self, raw: Path, root: str, clock: Clock) -> None:
        self._raw = raw
        self._root = root
        self._clock = clock
        self._next_ms: int | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._waiting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """From now on there is something to do: now, and after every midnight."""
        self._next_ms = self._clock.now_ms()

    def next_due_ms(self) -> int | None:
        return self._next_ms

    async def tick(self) -> None:
        """Start rolling if it is time to."""
        now = self._clock.now_ms()
        if self._next_ms is None or now < self._next_ms:
            return
        self._next_ms = (now // DAY_MS + 1) * DAY_MS + GRACE_MS
        if self._waiting is not None and not self._waiting.done():
            return  # it goes by the days that are there: what it does not take now the next one will
        self._waiting = asyncio.create_task(self._roll(day_of(now - GRACE_MS)), name="roll")

    async def _roll(self, before: str) -> None:
        try:
            if any(path.is_dir() and path.name < before for path in self._raw.iterdir()):
                await self._run(before)
        except OSError as error:  # recording and trading go on; the next midnight tries again
            log.error("recording_not_rolled", before=before, reason=str(error))

    async def _run(self, before: str) -> None:
        arguments = ["--raw", str(self._raw), "--root", self._root, "--before", before]
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tradebot.data.recorder.roll",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        said, problems = await self._process.communicate()
        if self._process.returncode == 0:
            log.info("recording_rolled", before=before, result=said.decode().strip())
        elif self._next_ms is None:
            log.info("recording_not_rolled", before=before, reason="the bot is leaving; the next start goes on")
        else:
            log.error("recording_not_rolled", before=before, reason=problems.decode().strip() or "it was stopped")

    async def close(self) -> None:
        """Stop rolling; the next start goes on with it."""
        self._next_ms = None
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
        if self._waiting is not None:
            await asyncio.gather(self._waiting, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class Kept:
    """Records kept and lost since the start, and whether nothing can be written now."""

    records: int = 0
    lost: int = 0
    failing: bool = False


class Recording:
    """A recorder on the raw directory of ``settings``, which it locks, and the process that rolls what it left.

    Raises BusyError when another process records there.
    """

    def __init__(self, settings: Settings, symbols: Sequence[str], clock: Clock) -> None:
        raw = settings.recorder_dir
        self._lock = sole_user(raw)
        try:
            self.log = RawLog(raw, RawTiming(sync=settings.recorder.sync.ms / 1000))
        except BaseException:
            os.close(self._lock)
            raise
        self.recorder = Recorder(self.log, symbols, clock.now_ms)
        self.roller = Roller(raw, settings.data.root, clock)
        self.listeners: tuple[Listener, ...] = (self.recorder,)
        self.observers: tuple[Observer, ...] = (self.recorder,)
        self.chores: tuple[Chore, ...] = (self.roller,)

    def start(self) -> None:
        """Begin, once the clock is right."""
        self.recorder.start()
        self.roller.start()

    def kept(self) -> Kept:
        """How much was kept so far."""
        return Kept(self.log.records, self.log.lost, bool(self.log.failure))

    async def close(self) -> None:
        """Write everything and let the directory go. Closing again does nothing."""
        if self._lock < 0:
            return
        try:
            await self.roller.close()
            self.recorder.stop()
        finally:
            os.close(self._lock)
            self._lock = -1


class NoRecording:
    """Nothing is kept."""

    listeners: tuple[Listener, ...] = ()
    observers: tuple[Observer, ...] = ()
    chores: tuple[Chore, ...] = ()

    def start(self) -> None:
        return

    def kept(self) -> Kept:
        return Kept()

    async def close(self) -> None:
        return


def recording_of(settings: Settings, symbols: Sequence[str], clock: Clock) -> Recording | NoRecording:
    """What the mode of ``settings`` asks for. Raises BusyError when another process records in that directory."""
    return Recording(settings, symbols, clock) if settings.mode in settings.recorder.modes else NoRecording()


def sole_user(raw: Path) -> int:
    """A descriptor that locks the raw directory until it is closed. Raises BusyError when another process has it."""
    make_private(raw)
    held = acquire(raw / LOCK)
    if held is None:
        raise BusyError(f"{raw}: another process records there; stop it or choose another directory with --state")
    return held
