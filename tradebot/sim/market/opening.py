"""From files and symbols to markets that share one window of time."""

from __future__ import annotations

from collections.abc import Sequence

from tradebot.data.columns import utc
from tradebot.data.files import FundingTable, TradeTable, read_books, read_candles, read_funding, read_trades
from tradebot.errors import ConfigError, DataError
from tradebot.market.candle import DAY_MS
from tradebot.sim.market.book_replay import BookRecording, joins
from tradebot.sim.market.candle_replay import CandleRecording
from tradebot.sim.market.funding import FundingSchedule
from tradebot.sim.market.generated import generated_markets
from tradebot.sim.market.given import Files, Given, sorted_out
from tradebot.sim.market.requoted import RequotedMarket
from tradebot.sim.source import MarketSource

ALIGN_MS = 300_000
GENERATED_START_MS = 1_767_571_200_000
"""2026-01-05 00:00 UTC, a Monday."""
GENERATED_DAYS = 365
"""How long a generated market trades when no length is asked for."""
DEFAULT_SYMBOLS = ("SOLUSDT",)


def open_market(
    paths: Sequence[str],
    symbols: Sequence[str],
    seed: int,
    *,
    for_ms: int | None = None,
    history_days: int = 200,
    start_ms: int | None = None,
    book_interval_ms: int | None = None,
    break_days: int | None = None,
) -> list[MarketSource]:
    """Markets of recorded files, or generated ones when there are no ``paths``, all over the same window.

    ``paths`` are parquet files or folders of them, each as ``PATH`` or ``SYMBOL=PATH``: candles, order books, trades,
    funding (:mod:`tradebot.sim.market.given`). Several files of one kind and symbol follow each other in time. Books
    and candles of one symbol make one market: traded on the books, with the candles before them as history.
    ``symbols`` selects and orders; empty means all that the files hold (generated: SOLUSDT).

    The window starts on a 5-minute boundary. Recorded data: the last ``for_ms`` of what all symbols have, leaving
    ``history_days`` (or half of a shorter candle file) before it; without ``for_ms`` the first half of a file is
    history, or all candles before the books. Generated data: ``for_ms`` (default 365 days) from ``start_ms`` (default
    2026-01-05 00:00 UTC), with ``history_days`` before it. ``start_ms`` sets the start of recorded data too.
    ``book_interval_ms`` renews the books of generated markets that often between their steps. ``break_days`` before its
    start a generated market has a structural break (:mod:`tradebot.sim.market.generated`); None: never.

    Raises DataError for unusable files and windows, ConfigError for symbols that nothing was given for.
    """
    if for_ms is not None and for_ms < ALIGN_MS:
        raise ConfigError(f"the traded time must be at least 5 minutes, not {for_ms / 1000:g} s")
    if not paths:
        start = _aligned_up(GENERATED_START_MS if start_ms is None else start_ms, ALIGN_MS)
        length = GENERATED_DAYS * DAY_MS if for_ms is None else for_ms // ALIGN_MS * ALIGN_MS
        names = _unique(symbols or DEFAULT_SYMBOLS)
        if break_days is not None and not 0 <= break_days < history_days:
            raise ConfigError(
                f"a structural break {break_days} days before the start does not lie in the {history_days} days of "
                "history; give fewer days or a longer history"
            )
        markets = generated_markets(
            names, seed, start_ms=start, end_ms=start + length, history_days=history_days, break_days=break_days
        )
        if book_interval_ms is None:
            return list(markets)
        return [RequotedMarket(market, book_interval_ms, seed, number) for number, market in enumerate(markets)]
    if book_interval_ms is not None:
        raise ConfigError("books are renewed between steps of generated markets only: recorded ones stay as they were")
    if break_days is not None:
        raise ConfigError("a structural break is planted in generated markets only: recorded ones stay as they were")
    given = sorted_out(paths)
    recordings = _recordings(given, _unique(symbols), seed)
    start, end = _window(recordings, for_ms, history_days, start_ms)
    return [
        recording.market(start, end // recording.interval_ms * recording.interval_ms)
        if isinstance(recording, CandleRecording)
        else recording.market(start, end)
        for recording in recordings
    ]


def _unique(symbols: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(symbol.upper() for symbol in symbols))


def _aligned_up(at_ms: int, align_ms: int) -> int:
    return -(-at_ms // align_ms) * align_ms


def _recordings(given: Given, wanted: Sequence[str], seed: int) -> list[CandleRecording | BookRecording]:
    unknown = [symbol for symbol in wanted if symbol not in given.symbols]
    if unknown:
        raise ConfigError(
            f"no market file for {', '.join(unknown)}: the files given hold {', '.join(given.symbols) or 'no symbol'}"
        )
    if not given.symbols:
        raise DataError(f"{given.funding[0]}: funding alone makes no market; add candles or order books")
    funding = read_funding(*given.funding) if given.funding else None
    made: list[CandleRecording | BookRecording] = []
    for symbol in wanted or list(given.symbols):
        files = given.symbols[symbol]
        schedule = _schedule(funding, symbol)
        if files.books:
            made.append(_book_recording(symbol, files, schedule, seed))
        else:
            made.append(CandleRecording(symbol, read_candles(*files.candles), schedule, seed))
    return made


def _book_recording(symbol: str, files: Files, schedule: FundingSchedule, seed: int) -> BookRecording:
    books = read_books(*files.books)
    trades: TradeTable | None = read_trades(*files.trades) if files.trades else None
    candles = read_candles(*files.candles) if files.candles else None
    if candles is not None and files.candles_found and not joins(candles, books):
        candles = None  # nobody asked for them
    return BookRecording(symbol, books, trades, candles, schedule, seed)


def _schedule(funding: FundingTable | None, symbol: str) -> FundingSchedule:
    if funding is None or symbol not in funding.rates:
        return FundingSchedule()
    at_ms, rates = funding.rates[symbol]
    return FundingSchedule(at_ms.tolist(), rates.tolist())


def _window(
    recordings: Sequence[CandleRecording | BookRecording], for_ms: int | None, history_days: int, start_ms: int | None
) -> tuple[int, int]:
    align = max(ALIGN_MS, *(recording.interval_ms for recording in recordings))
    end = min(recording.last_ms for recording in recordings)
    earliest = max(recording.earliest_start_ms(history_days) for recording in recordings)
    if start_ms is not None:
        start = _aligned_up(start_ms, align)
        first = max(recording.first_ms for recording in recordings)
        if not first <= start < end:
            raise DataError(
                f"{recordings[0].path}: the start {utc(start)} lies outside the data ({utc(first)} to {utc(end)}); "
                "choose one inside"
            )
    elif for_ms is not None:
        start = max(_aligned_up(earliest, align), (end - for_ms) // align * align)
    else:
        start = _aligned_up(max(recording.half_ms() for recording in recordings), align)
    if for_ms is not None:
        end = min(end, start + for_ms)
    if end - start < align:
        spans = "; ".join(f"{r.path.name} has {utc(r.first_ms)} to {utc(r.last_ms)}" for r in recordings)
        reason = "too little data to trade" if len(recordings) == 1 else "too little time in common to trade"
        opens = f"{spans}; a market opens at a full {align // 60_000} minutes and needs as much again"
        raise DataError(f"{reason} ({opens}); give longer files{'' if len(recordings) == 1 else ' of the same time'}")
    return start, end
