"""What has to be asked for, and how long that takes at the venues' limits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tradebot.data.channels import channel_of
from tradebot.data.columns import plural
from tradebot.data.partition import day_start
from tradebot.data.sources.bitget import FUNDING_PAGE
from tradebot.data.sources.pages import CandleHistory, page_windows, stretches
from tradebot.data.sources.tardis import FILE_MB, LINK_MB_PER_SECOND
from tradebot.data.store import Store
from tradebot.exchange.bitget.budget import PER_MINUTE, RESERVE, SHARE
from tradebot.market.candle import DAY_MS

MONTH_DAYS = 365.25 / 12

_CANDLES = re.compile(r"(mark_)?candle_(\w+)")


@dataclass(frozen=True, slots=True)
class Series:
    """One channel of one symbol on one exchange."""

    exchange: str
    channel: str
    symbol: str

    def __str__(self) -> str:
        return f"{self.exchange}/{self.channel}/{self.symbol}"


@dataclass(frozen=True, slots=True)
class Todo:
    """A series and the days it is to be asked for. ``requests``: pages, or files of books. ``stored``: days that were
    wanted and are completely stored."""

    series: Series
    days: tuple[str, ...]
    requests: int
    stored: int = 0


@dataclass(frozen=True, slots=True)
class Projection:
    """How long a plan takes at the venues' limits, and the lines that say so."""

    seconds: float
    lines: tuple[str, ...]


def candle_interval(channel: str) -> tuple[str, bool] | None:
    """Interval of a candle channel, and whether it is of the mark price.

    >>> candle_interval("mark_candle_5m"), candle_interval("trade")
    (('5m', True), None)
    """
    found = _CANDLES.fullmatch(channel)
    return (found[2], bool(found[1])) if found else None


def plan(
    store: Store,
    series: Iterable[Series],
    days: Iterable[str],
    sources: Mapping[str, CandleHistory],
    now_ms: int,
    *,
    refresh: bool = False,
) -> list[Todo]:
    """The days of each series that are not completely stored; with ``refresh`` all of them.

    ``sources`` are the candle sources by exchange. Open interest has no days: it is asked for as it is now. Recorded
    books are there once their day has ended.
    """
    wanted = sorted(set(days), reverse=True)
    todos = []
    for one in series:
        if one.channel == "open_interest":
            todos.append(Todo(one, (), 1))
            continue
        stored = set() if refresh else store.complete_days(one.exchange, one.channel, one.symbol)
        until = now_ms - DAY_MS if one.channel.startswith("book_") else now_ms
        asked = tuple(day for day in wanted if day not in stored and day_start(day) <= until)
        if asked:
            todos.append(Todo(one, asked, _requests(one, asked, sources, now_ms), len(stored & set(wanted))))
    return todos


def _requests(series: Series, days: tuple[str, ...], sources: Mapping[str, CandleHistory], now_ms: int) -> int:
    candles = candle_interval(series.channel)
    if candles is not None:
        step, rows = channel_of(series.channel).step_ms or 1, sources[series.exchange].page_rows(candles[0])
        return sum(len(page_windows(start, min(end, now_ms), step, rows)) for start, end in stretches(days))
    if series.channel == "funding":
        oldest = min(start for start, _ in stretches(days))
        return max(1, -(-3 * (now_ms - oldest) // DAY_MS // FUNDING_PAGE))
    return len(days)


def project(todos: list[Todo], sources: Mapping[str, CandleHistory], wanted_days: int) -> Projection:
    """How long ``todos`` take: endpoints work side by side, all requests to Bitget share one limit a minute."""
    lines: list[str] = []
    longest = 0.0
    shared: dict[str, int] = {}
    groups: dict[tuple[str, str], list[Todo]] = {}
    for todo in todos:
        groups.setdefault((todo.series.exchange, todo.series.channel), []).append(todo)
    for (exchange, channel), group in groups.items():
        requests = sum(todo.requests for todo in group)
        if channel.startswith("book_"):
            seconds = requests * FILE_MB / LINK_MB_PER_SECOND
            how = f"{plural(requests, 'file')} of about {FILE_MB} MB at {LINK_MB_PER_SECOND:g} MB/s"
        else:
            rate = sources[exchange].per_second(channel)
            seconds = requests / rate
            shared[exchange] = shared.get(exchange, 0) + requests
            how = f"{plural(requests, 'request')} at {rate:g}/s"
        longest = max(longest, seconds)
        kept = sum(todo.stored for todo in group)
        already = f" ({kept:,} of {len(group) * wanted_days:,} symbol-days are stored)" if kept else ""
        lines.append(
            f"{exchange} {channel}: {plural(len(group), 'symbol')} × {wanted_days / MONTH_DAYS:.1f} months: "
            f"{how}: {spoken(seconds)}{already}"
        )
    if "bitget" in shared:
        longest = max(longest, shared["bitget"] / (PER_MINUTE * SHARE * (1 - RESERVE) / 60))
    return Projection(longest, tuple(lines))


def spoken(seconds: float) -> str:
    """A length of time in words.

    >>> spoken(5), spoken(200), spoken(40_000)
    ('5 s', '3.3 min', '11.1 h')
    """
    if seconds < 100:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6_000 else f"{seconds / 3600:.1f} h"
