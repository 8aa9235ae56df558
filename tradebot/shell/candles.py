"""Candles, sealed once and for all.

The exchange never says that a candle is closed. It is sealed by the first row of a later one, or by the clock 3 s after
its end and then read back by REST. Corrections that arrive after the sealing change nothing. Candles the exchange does
not have (it was down) are filled flat at the last close with no volume, and said so; one that may only be late is
waited for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import structlog

from tradebot.errors import ExchangeError
from tradebot.market.candle import Candle
from tradebot.market.series import flat
from tradebot.shell.clock import Clock

log = structlog.get_logger(__name__)

SEAL_GRACE_MS = 3_000
FIRST_PAUSE_MS = 1_000
LONGEST_PAUSE_MS = 30_000
ABSENT_AFTER_MS = 60_000

Backfill = Callable[[str, int, int], Awaitable[Sequence[Candle]]]
"""(symbol, first open time, last open time) -> closed candles by REST."""


class _NotYet(Exception):
    """A candle that has ended is not there, and may still come."""


@dataclass(slots=True)
class _Series:
    running: Candle | None = None
    sealed: Candle | None = None
    backfilling: bool = False
    late: deque[Candle] = field(default_factory=deque)
    pause_ms: int = FIRST_PAUSE_MS
    not_before_ms: int = 0
    """When the exchange is asked again after it did not answer."""

    @property
    def last_sealed_ms(self) -> int:
        """Open time of the newest candle that was told; 0 before the first one."""
        return self.sealed.open_time_ms if self.sealed is not None else 0

    def due_ms(self, interval_ms: int) -> int:
        """When the clock must seal a candle, or what is missing is asked for again."""
        by_clock_ms = 0 if self.late else self.last_sealed_ms + 2 * interval_ms + SEAL_GRACE_MS
        return max(by_clock_ms, self.not_before_ms)


class CandleSealer:
    """Tells ``sealed`` every candle of each symbol exactly once, in order, without gaps."""

    def __init__(
        self,
        symbols: Sequence[str],
        interval_ms: int,
        clock: Clock,
        sealed: Callable[[str, Candle], None],
        backfill: Backfill,
    ) -> None:
        self._interval_ms = interval_ms
        self._clock = clock
        self._sealed = sealed
        self._backfill = backfill
        self._series = {name: _Series() for name in symbols}
        self._tasks: set[asyncio.Future[None]] = set()
        self.failure: BaseException | None = None
        """What ended a backfill, other than an exchange that is away."""
        self.revised = 0
        """Rows that came with other values after their candle was sealed."""
        self.filled = 0
        """Candles the exchange does not have."""
        self.read_back = 0
        """Candles that the stream did not tell in time and REST did."""
        self.repeated = 0
        """Rows that came twice in one message."""
        self._next_due_ms: int | None = None
        self._due_known = False
        """Whether ``_next_due_ms`` is right: nothing changed since it was looked for."""

    def start_after(self, symbol: str, last: Candle) -> None:
        """History up to and including ``last`` is known already. A symbol that was not named is sealed from now on."""
        self._series.setdefault(symbol, _Series()).sealed = last
        self._due_known = False

    def doubt(self, symbol: str) -> None:
        """A push could not be read: should no other come for the running candle, it is read back by REST."""
        if symbol in self._series:
            self._series[symbol].running = None

    def rows(self, symbol: str, rows: Sequence[Candle]) -> None:
        """Candles as pushed, ascending; the last one is usually still open."""
        series = self._series[symbol]
        self.repeated += len(rows) - len({row.open_time_ms for row in rows})
        for row in rows:
            running = series.running
            if running is not None and row.open_time_ms > running.open_time_ms:
                self._seal(symbol, series, running)
            if series.running is None or row.open_time_ms >= series.running.open_time_ms:
                series.running = row
            elif row.open_time_ms == series.last_sealed_ms and row != series.sealed:
                self.revised += 1

    def _seal(self, symbol: str, series: _Series, candle: Candle) -> None:
        expected = series.last_sealed_ms + self._interval_ms
        if series.late or series.backfilling or (series.last_sealed_ms and candle.open_time_ms > expected):
            series.late.append(candle)
            self._due_known = False
            self._begin(symbol, series, expected - self._interval_ms)
        else:
            self._send(symbol, series, candle)

    def _send(self, symbol: str, series: _Series, candle: Candle) -> None:
        if candle.open_time_ms <= series.last_sealed_ms:
            return
        series.sealed = candle
        self._due_known = False
        self._sealed(symbol, candle)

    def _begin(self, symbol: str, series: _Series, last_ms: int) -> None:
        """Begin to fetch what is missing up to ``last_ms`` and between the candles that wait, if it is time to try."""
        if not series.backfilling and self._clock.now_ms() >= series.not_before_ms:
            series.backfilling = True
            self._due_known = False
            task = asyncio.ensure_future(self._fill(symbol, series, last_ms))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def _fill(self, symbol: str, series: _Series, last_ms: int) -> None:
        """One attempt. An exchange that is away is asked again later, at a moment of the bot's clock."""
        try:
            await self._send_missing(symbol, series, last_ms, last_ms)
            while series.late:
                after_ms = series.late[0].open_time_ms
                await self._send_missing(symbol, series, after_ms - self._interval_ms, after_ms)
                self._send(symbol, series, series.late.popleft())
            series.pause_ms = FIRST_PAUSE_MS
        except (ExchangeError, _NotYet) as error:
            log.warning("candles_missing", symbol=symbol, reason=str(error), again_in_ms=series.pause_ms)
            series.not_before_ms = self._clock.now_ms() + series.pause_ms
            series.pause_ms = min(LONGEST_PAUSE_MS, 2 * series.pause_ms)
        finally:
            series.backfilling = False
            self._due_known = False

    async def _send_missing(self, symbol: str, series: _Series, last_ms: int, witness_ms: int) -> None:
        """Fetch and send every candle up to ``last_ms`` that was not sent; ask up to ``witness_ms``.

        An exchange that has a later candle, or had ``ABSENT_AFTER_MS`` to write this one, does not have it; until then
        it may be late. Raises ExchangeError, _NotYet.
        """
        first_ms = series.last_sealed_ms + self._interval_ms
        if last_ms < first_ms:
            return
        found = {c.open_time_ms: c for c in await self._backfill(symbol, first_ms, witness_ms)}
        newest_ms = max(found, default=0)
        for at in range(first_ms, last_ms + 1, self._interval_ms):
            candle = found.get(at)
            if candle is None:
                if newest_ms < at and self._clock.now_ms() < at + self._interval_ms + ABSENT_AFTER_MS:
                    raise _NotYet(f"the exchange does not have the candle of {at} yet")
                self.filled += 1
                log.warning("candle_absent", symbol=symbol, open_time_ms=at)
                candle = flat(at, series.sealed.close if series.sealed is not None else 0.0)
            else:
                self.read_back += 1
            self._send(symbol, series, candle)

    def next_due_ms(self) -> int | None:
        """The earliest moment at which a candle must be sealed by the clock because its successor has not come; None
        while all that is due is being read back."""
        if not self._due_known:
            waiting = (series for series in self._series.values() if not series.backfilling)
            self._next_due_ms = min((series.due_ms(self._interval_ms) for series in waiting), default=None)
            self._due_known = True
        return self._next_due_ms

    def on_time(self) -> None:
        """Begin to seal candles that ended more than 3 s ago, with their final values read back by REST, and to fetch
        what is missing before candles that wait. ``settled`` waits for the attempt."""
        last = (self._clock.now_ms() - SEAL_GRACE_MS) // self._interval_ms * self._interval_ms - self._interval_ms
        for symbol, series in self._series.items():
            if series.late or (series.last_sealed_ms and series.last_sealed_ms < last):
                self._begin(symbol, series, last)

    def _ended(self, task: asyncio.Future[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            self.failure = self.failure or task.exception()

    async def close(self) -> None:
        """Stop backfills under way."""
        for task in (running := list(self._tasks)):
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def settled(self) -> None:
        """Wait for backfills under way. Raises what ended one."""
        while self._tasks:
            await asyncio.gather(*self._tasks)
