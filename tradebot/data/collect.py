"""Fetching history into the store: page by page backwards, many requests in flight, a day at a time made durable.

A run that is stopped anywhere is gone on with by the same call: days that are completely stored are not asked for
again. Every page reaches one row into its neighbours, and the first and last page of a stretch into the stored days
beside it; where such rows are not the same, the day is reported and stays incomplete.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TypeVar

import pyarrow as pa
from msgspec.structs import astuple

from tradebot.data.channels import channel_of
from tradebot.data.checks import HARMLESS, SAYS, row_faults
from tradebot.data.columns import plural, utc
from tradebot.data.merge import contradiction
from tradebot.data.partition import date_of, day_start, days_between
from tradebot.data.patience import GaveUp, Patience
from tradebot.data.plan import Series, Todo, candle_interval
from tradebot.data.sources.bitget import FUNDING_PAGE, BitgetHistory
from tradebot.data.sources.pages import CandleHistory, page_windows, stretches
from tradebot.data.sources.tardis import TardisBooks
from tradebot.data.store import Store, Written
from tradebot.errors import DataError, ExchangeError, Rejected
from tradebot.market.candle import DAY_MS, Candle, interval_start

SETTLED_MS = 60_000
"""A day is complete no earlier than this after its end."""

Answer = TypeVar("Answer")


@dataclass(slots=True)
class Outcome:
    """What a run did.

    ``problems`` are lines about rows that contradict each other or are wrong at the source, ``notes`` lines about what
    was left out on purpose; ``failed`` tells of each series that could not be had, and why.
    """

    added: int = 0
    equal: int = 0
    days: int = 0
    requests: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: dict[Series, ExchangeError | DataError] = field(default_factory=dict)


class Collector:
    """Carries out plans. ``heard`` is told of every answered request and of the series it was for.

    ``workers`` is the number of requests in flight. With ``refresh`` what comes replaces what is stored. Raises what
    concerns all series: ``Unavailable`` or ``RateLimited`` when nothing is answered for ten minutes, ``AuthRefused``,
    BusyError.
    """

    def __init__(
        self,
        store: Store,
        candles: Mapping[str, CandleHistory],
        bitget: BitgetHistory | None,
        books: TardisBooks | None,
        *,
        workers: int,
        refresh: bool = False,
        heard: Callable[[Series], None] = lambda series: None,
        waiting: Callable[[str], None] = lambda text: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store, self._candles, self._bitget, self._books = store, candles, bitget, books
        self._workers, self._refresh = workers, refresh
        self._heard = heard
        self._patience = Patience(workers, waiting=waiting, sleep=sleep)
        self._series = asyncio.Semaphore(workers)
        self._sampling = asyncio.Semaphore(max(1, min(workers, os.cpu_count() or 1)))
        self._now_ms: dict[str, int] = {}
        self.outcome = Outcome()

    async def run(self, todos: Sequence[Todo], now_ms: Mapping[str, int]) -> Outcome:
        """Carry out ``todos``; ``now_ms`` are the exchanges' clocks. What is stored stays stored when this raises."""
        self._now_ms = dict(now_ms)
        try:
            async with asyncio.TaskGroup() as group:
                for todo in todos:
                    group.create_task(self._one(todo))
        except BaseExceptionGroup as several:
            raise next((e for e in _leaves(several) if not isinstance(e, asyncio.CancelledError)), several) from None
        return self.outcome

    async def _one(self, todo: Todo) -> None:
        async with self._series:
            channel = todo.series.channel
            try:
                if candle_interval(channel) is not None:
                    for start, end in stretches(todo.days):
                        await self._candle_stretch(todo.series, start, end)
                elif channel == "funding":
                    await self._funding(todo)
                elif channel == "open_interest":
                    await self._open_interest(todo.series)
                else:
                    await self._book_days(todo)
            except (Rejected, GaveUp, DataError) as error:
                self.outcome.failed[todo.series] = error

    # --- candles ----------------------------------------------------------------------------------------------------

    async def _candle_stretch(self, series: Series, start_ms: int, end_ms: int) -> None:
        source = self._candles[series.exchange]
        interval, mark = candle_interval(series.channel) or ("", False)
        step = channel_of(series.channel).step_ms or 1
        now_ms = self._now_ms[series.exchange]
        until = min(end_ms, interval_start(now_ms, step))
        windows = page_windows(start_ms, until, step, source.page_rows(interval))

        def ask(begin: int, end: int) -> Awaitable[list[Candle]]:
            return source.candles(series.symbol, interval, begin - step, end + step, mark=mark)

        days = deque(reversed(days_between(start_ms, end_ms)))
        rows: dict[int, Candle] = {}
        beside: dict[int, Candle] = {}
        torn: set[str] = set()
        settled = until + step
        async with aclosing(self._newest_first(series, windows, ask)) as pages:
            async for begin, page in pages:
                for row in page:
                    at = row.open_time_ms
                    if at + step > now_ms or at >= settled:
                        continue
                    kept = rows if start_ms <= at < until else beside
                    if kept.setdefault(at, row) != row:
                        torn.add(date_of(at))
                while days and day_start(days[0]) > begin:
                    settled = day_start(days[0])
                    await self._candle_day(series, days.popleft(), rows, torn, now_ms)
        await self._compare(series, beside, torn)
        for day in days:
            await self._candle_day(series, day, rows, torn, now_ms)

    async def _newest_first(
        self,
        series: Series,
        windows: list[tuple[int, int]],
        ask: Callable[[int, int], Awaitable[list[Candle]]],
    ) -> AsyncGenerator[tuple[int, list[Candle]], None]:
        """The pages of ``windows`` with their beginnings, in that order, several of them asked for at once."""
        flying: deque[tuple[int, asyncio.Task[list[Candle]]]] = deque()
        coming = iter(windows)
        try:
            while True:
                while len(flying) < self._workers and (window := next(coming, None)) is not None:
                    begin, end = window
                    flying.append((begin, asyncio.create_task(self._ask(series, ask, begin, end))))
                if not flying:
                    return
                begin, task = flying.popleft()
                yield begin, await task
        finally:
            for _, task in flying:
                task.cancel()

    async def _candle_day(self, series: Series, day: str, rows: dict[int, Candle], torn: set[str], now_ms: int) -> None:
        begin = day_start(day)
        own = [astuple(rows.pop(at)) for at in sorted(at for at in rows if begin <= at < begin + DAY_MS)]
        columns = list(zip(*own, strict=True)) if own else [()] * 7
        table = pa.table(
            {"open_time": pa.array(columns[0], pa.int64())}
            | {
                name: pa.array(columns[i], pa.float64())
                for i, name in enumerate(("open", "high", "low", "close", "volume", "quote_volume"), start=1)
            }
        )
        if day in torn:
            self.outcome.problems.append(f"{series} {day}: two answers differ in the same candles; ask again later")
        await self._write(series, day, table, ended=begin + DAY_MS + SETTLED_MS <= now_ms and day not in torn)

    async def _compare(self, series: Series, beside: dict[int, Candle], torn: set[str]) -> None:
        """Rows next to a stretch against the stored ones."""
        for at, row in beside.items():
            stored = await asyncio.to_thread(
                self._store.read, series.exchange, series.channel, series.symbol, at, at + 1
            )
            if not stored.num_rows:
                continue
            known = stored.to_pylist()[0]
            fields = {"open": row.open, "high": row.high, "low": row.low, "close": row.close, "volume": row.volume}
            if any(known[name] != value for name, value in fields.items()):
                torn.add(date_of(at))
                self.outcome.problems.append(contradiction(f"{series} {date_of(at)}", (at,)))

    # --- the other channels -----------------------------------------------------------------------------------------

    async def _funding(self, todo: Todo) -> None:
        bitget = self._of_bitget(todo.series)
        oldest = min(day_start(day) for day in todo.days)
        rates: dict[int, float] = {}
        number = 1
        while True:
            page = await self._ask(todo.series, bitget.funding, todo.series.symbol, number)
            rates |= dict(page)
            if len(page) < FUNDING_PAGE or page[-1][0] < oldest:
                break
            number += 1
        reached = min(rates, default=self._now_ms[todo.series.exchange])
        for day in todo.days:
            begin = day_start(day)
            own = sorted(at for at in rates if begin <= at < begin + DAY_MS)
            ended = begin + DAY_MS + SETTLED_MS <= self._now_ms[todo.series.exchange] and begin >= reached
            table = pa.table(
                {"funding_time": pa.array(own, pa.int64()), "funding_rate": pa.array([rates[at] for at in own])}
                if own
                else {"funding_time": pa.array([], pa.int64()), "funding_rate": pa.array([], pa.float64())}
            )
            await self._write(todo.series, day, table, ended=ended)

    async def _open_interest(self, series: Series) -> None:
        at, size = await self._ask(series, self._of_bitget(series).open_interest, series.symbol)
        await self._write(series, date_of(at), pa.table({"ts_ms": [at], "size": [size]}), ended=False)

    async def _book_days(self, todo: Todo) -> None:
        async def one(day: str) -> None:
            async with self._sampling:
                await self._book_day(todo.series, day)

        await asyncio.gather(*(one(day) for day in todo.days))

    async def _book_day(self, series: Series, day: str) -> None:
        if self._books is None:
            raise DataError(f"{series}: no source of recorded books is set up")
        books = await self._ask(series, self._books.day, series.exchange, series.symbol, day)
        if books.dropped:
            self.outcome.notes.append(
                f"{series} {day}: {books.dropped:,} of {books.snapshots:,} snapshots were crossed or short, left out"
            )
        times = books.table["ts_ms"].to_numpy()
        inside = times < day_start(day) + DAY_MS
        await self._write(series, day, books.table.filter(pa.array(inside)), ended=True)
        if not inside.all():
            after = books.table.filter(pa.array(~inside))
            await self._write(series, date_of(int(times[-1])), after, ended=False)

    def _of_bitget(self, series: Series) -> BitgetHistory:
        if self._bitget is None or series.exchange != self._bitget.exchange:
            raise DataError(f"{series}: only Bitget's history of it can be fetched")
        return self._bitget

    # --- asking and writing -----------------------------------------------------------------------------------------

    async def _ask(self, series: Series, ask: Callable[..., Awaitable[Answer]], *arguments: object) -> Answer:
        try:
            answer = await self._patience(ask, *arguments)
        finally:
            self.outcome.requests = self._patience.asked
        self._heard(series)
        return answer

    async def _write(self, series: Series, day: str, table: pa.Table, *, ended: bool) -> None:
        wrong = [f for f in row_faults(channel_of(series.channel), table, None, DAY_MS) if f.fault not in HARMLESS]
        for found in wrong:
            self.outcome.problems.append(
                f"{series} {day}: the source sends {plural(found.rows, 'row')} {SAYS[found.fault]}, "
                f"first at {utc(found.first_ms)}"
            )
        if not table.num_rows and not ended:
            return
        written: Written = await asyncio.to_thread(
            self._store.write,
            series.exchange,
            series.channel,
            series.symbol,
            day,
            table,
            complete=ended and not wrong,
            source="tardis" if series.channel.startswith("book_") else "rest",
            replace=self._refresh,
        )
        self.outcome.added += written.added
        self.outcome.equal += written.equal
        self.outcome.days += 1
        if written.differing and not self._refresh:
            self.outcome.problems.append(contradiction(f"{series} {day}", written.differing))


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
