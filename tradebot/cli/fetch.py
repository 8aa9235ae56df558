"""The commands that ask venues for history: `tradebot data fetch`, `symbols` and `repair`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tradebot.cli.counting import Counting
from tradebot.cli.log import quiet
from tradebot.cli.options import ConfigOption, JsonOption, SymbolsOption, settings_of
from tradebot.cli.output import json_line, line, progress, table
from tradebot.cli.times import parse_time, wall_ms
from tradebot.errors import ConfigError, DataError, UsageError

if TYPE_CHECKING:
    from tradebot.data.candidates import Candidate
    from tradebot.data.collect import Collector, Outcome
    from tradebot.data.plan import Series, Todo
    from tradebot.data.sources.bitget import BitgetHistory
    from tradebot.data.sources.pages import CandleHistory
    from tradebot.data.sources.tardis import TardisBooks
    from tradebot.data.store import Store
    from tradebot.exchange.bitget.rest import BitgetRest
    from tradebot.settings import Settings

RootOption = Annotated[
    str | None, typer.Option("--root", metavar="DIR|URL", help="The store (default: data.root of the settings).")
]
ExchangeOption = Annotated[str | None, typer.Option("--exchange", metavar="NAME", help="Only of this exchange.")]
ChannelOption = Annotated[str | None, typer.Option("--channel", metavar="NAME", help="Only this, e.g. candle_5m.")]
FromOption = Annotated[str | None, typer.Option("--from", metavar="TIME", help="First day, e.g. 2026-01-05.")]
ToOption = Annotated[str | None, typer.Option("--to", metavar="TIME", help="Last day, itself included.")]

LINES_SHOWN = 20


@dataclass(slots=True)
class _Sources:
    """Where history comes from in one run."""

    candles: dict[str, CandleHistory]
    bitget: BitgetHistory
    books: TardisBooks | None


def fetch(
    symbols: SymbolsOption = None,
    symbols_file: Annotated[
        Path | None, typer.Option("--symbols-file", metavar="FILE", help="Symbols of a candidates.txt.")
    ] = None,
    most_complete: Annotated[
        int | None,
        typer.Option("--most-complete", metavar="N", min=1, help="Afterwards keep the N symbols with most rows."),
    ] = None,
    venues: Annotated[str | None, typer.Option("--venues", metavar="A,B", help="bitget, binance-perp, …")] = None,
    kinds: Annotated[
        str | None, typer.Option("--kinds", metavar="A,B", help="candles, mark, funding, open-interest, books.")
    ] = None,
    from_: FromOption = None,
    to: ToOption = None,
    days: Annotated[int | None, typer.Option("--days", min=1, help="Length where no --from is given.")] = None,
    interval: Annotated[str | None, typer.Option("--interval", metavar="5m", help="Length of the candles.")] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, max=20, help="Most requests in flight.")] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Ask for everything again; what comes replaces what is stored.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how long it would take.")] = False,
    as_json: JsonOption = False,
    root: RootOption = None,
    config: ConfigOption = None,
) -> None:
    """Get history into the store: candles, mark candles, funding, open interest, recorded books.

    What is asked for stands in the `data` section of the settings; options go before it. Days that are completely
    stored are not asked for again, so a run that was stopped is gone on with by the same command. Exit code 65 when
    rows came that contradict stored ones or cannot be right.
    """
    if symbols and symbols_file is not None:
        raise UsageError("--symbol and --symbols-file: give one of them")
    if most_complete is not None and symbols_file is None:
        raise UsageError("--most-complete needs the --symbols-file to choose from")
    from tradebot.data.candidates import read_candidates

    candidates = read_candidates(symbols_file) if symbols_file is not None else []
    overrides: dict[str, object] = {
        "data.symbols": symbols or [one.symbol for one in candidates] or None,
        "data.venues": _listed(venues),
        "data.kinds": _listed(kinds),
        "data.start": _day(from_),
        "data.end": _day(to),
        "data.days": days,
        "data.interval": interval,
        "data.workers": workers,
        "data.root": root,
    }
    settings = settings_of(config, overrides).settings
    quiet("data")
    from tradebot.data.store import Store

    store = Store(settings.data.root)
    try:
        outcome, span = asyncio.run(_fetch(store, settings, refresh=refresh, dry_run=dry_run, as_json=as_json))
    except KeyboardInterrupt:
        progress("stopped; what is stored stays, the same command goes on")
        raise
    if outcome is None:
        return
    if symbols_file is not None and most_complete is not None:
        _keep(store, settings, candidates, most_complete, symbols_file, span, as_json)
    _conclude(outcome)


def _listed(text: str | None) -> list[str] | None:
    return None if text is None else [part.strip() for part in text.split(",") if part.strip()]


def _day(text: str | None) -> str | None:
    from tradebot.data.partition import date_of

    return None if text is None else date_of(parse_time(text, wall_ms()))


async def _fetch(
    store: Store, settings: Settings, *, refresh: bool, dry_run: bool, as_json: bool
) -> tuple[Outcome | None, tuple[int, int]]:
    from tradebot.data.partition import date_of, day_start, days_between
    from tradebot.data.plan import plan, project, spoken
    from tradebot.market.candle import DAY_MS

    data = settings.data
    wanted = _series(settings)
    async with _sources(settings, wanted) as sources:
        now = await _clocks(sources, wanted)
        now_ms = max(now.values())
        last = min(day_start(data.end), day_start(date_of(now_ms))) if data.end else day_start(date_of(now_ms))
        first = day_start(data.start) if data.start else last - (data.days - 1) * DAY_MS
        if first > last:
            raise ConfigError(f"the first day {date_of(first)} is after the last, {date_of(last)}; give an earlier one")
        days = days_between(first, last + DAY_MS)
        todos = plan(store, wanted, days, sources.candles, now_ms, refresh=refresh)
        projection = project(todos, sources.candles, len(days))
        say = line if dry_run and not as_json else progress
        say(f"{date_of(first)} to {date_of(last)} (UTC), into {store.root}")
        for text in projection.lines:
            say(f"  {text}")
        say(f"in all {spoken(projection.seconds)} at the venues' limits" if todos else "everything is stored already")
        if dry_run:
            if as_json:
                json_line({"seconds": round(projection.seconds, 1), "requests": sum(one.requests for one in todos)})
            return None, (first, last + DAY_MS)
        outcome = await _collect(store, sources, todos, now, data.workers, refresh)
        if as_json:
            json_line(
                {
                    "added": outcome.added,
                    "equal": outcome.equal,
                    "days": outcome.days,
                    "requests": outcome.requests,
                    "problems": outcome.problems,
                    "failed": {str(series): str(error) for series, error in outcome.failed.items()},
                }
            )
        else:
            line(f"{outcome.added:,} rows added, {outcome.equal:,} were there; {outcome.requests:,} requests")
        return outcome, (first, min(last + DAY_MS, now_ms))


def _series(settings: Settings) -> list[Series]:
    """What the settings ask for, of each venue what it has. Raises ConfigError for what no venue has."""
    from tradebot.data.plan import Series
    from tradebot.data.sources.tardis import EXCHANGES

    data = settings.data
    channels = {
        "candles": f"candle_{data.interval}",
        "mark": f"mark_candle_{data.interval}",
        "funding": "funding",
        "open-interest": "open_interest",
        "books": f"book_{data.grid.ms // 1000}s_l{data.depth}",
    }
    found = [
        Series(venue, channels[kind], symbol)
        for symbol in data.symbols or settings.symbols
        for venue in data.venues
        for kind in data.kinds
        if venue == "bitget" or kind == "candles" or (kind == "books" and venue in EXCHANGES)
    ]
    if not found:
        raise ConfigError(f"nothing to fetch: {', '.join(data.venues)} have no {', '.join(data.kinds)}")
    return found


def _rest(settings: Settings) -> BitgetRest:
    from tradebot.exchange.bitget.rest import BitgetRest

    return BitgetRest(settings.exchange.rest_url, limited=settings.exchange.rate_limited)


@contextlib.asynccontextmanager
async def _sources(settings: Settings, wanted: Sequence[Series]) -> AsyncIterator[_Sources]:
    """The sources that ``wanted`` needs, opened. Raises ConfigError when the key of one is missing."""
    from tradebot.data.sources.binance import BinanceHistory
    from tradebot.data.sources.bitget import BitgetHistory
    from tradebot.data.sources.tardis import TardisBooks
    from tradebot.settings import load_tardis_key

    data, venues = settings.data, settings.venues
    exchanges = {series.exchange for series in wanted}
    async with contextlib.AsyncExitStack() as opened:
        rest = await opened.enter_async_context(_rest(settings))
        bitget = BitgetHistory(rest)
        candles: dict[str, CandleHistory] = {}
        if "bitget" in exchanges:
            candles["bitget"] = bitget
        if "binance-perp" in exchanges:
            source = BinanceHistory("binance-perp", venues.binance_perp_rest)
            candles["binance-perp"] = await opened.enter_async_context(source)
        if "binance-spot" in exchanges:
            source = BinanceHistory("binance-spot", venues.binance_spot_rest)
            candles["binance-spot"] = await opened.enter_async_context(source)
        books = None
        if any(series.channel.startswith("book_") for series in wanted):
            key = load_tardis_key()
            if key is None:
                raise ConfigError(
                    "recorded books come from Tardis and need its key: put it into "
                    "$CREDENTIALS_DIRECTORY/tardis_key or TRADEBOT_DATA__TARDIS_KEY"
                )
            books = await opened.enter_async_context(
                TardisBooks(data.tardis_url, key, step_ms=data.grid.ms, levels=data.depth)
            )
        yield _Sources(candles, bitget, books)


async def _clocks(sources: _Sources, wanted: Sequence[Series]) -> dict[str, int]:
    """The time at each exchange; the machine's for one that is asked for recorded books only."""
    exchanges = sorted({series.exchange for series in wanted})
    return {name: await sources.candles[name].now_ms() if name in sources.candles else wall_ms() for name in exchanges}


async def _collect(
    store: Store, sources: _Sources, todos: list[Todo], now: dict[str, int], workers: int, refresh: bool
) -> Outcome:
    with Counting("fetching", sum(todo.requests for todo in todos)) as counting:
        collector = _collector(store, sources, workers, counting, refresh=refresh)
        return await collector.run(todos, now)


def _collector(
    store: Store, sources: _Sources, workers: int, counting: Counting, *, refresh: bool = False
) -> Collector:
    from tradebot.data.collect import Collector

    return Collector(
        store,
        sources.candles,
        sources.bitget,
        sources.books,
        workers=workers,
        refresh=refresh,
        heard=lambda series: counting.step(str(series)),
        waiting=counting.say,
    )


def _keep(
    store: Store,
    settings: Settings,
    candidates: Sequence[Candidate],
    count: int,
    file: Path,
    span: tuple[int, int],
    as_json: bool,
) -> None:
    from tradebot.data.candidates import Candidate, coverage, write_candidates
    from tradebot.data.partition import date_of

    series = next(
        (one for one in _series(settings) if one.channel.startswith(("candle_", "mark_candle_", "book_"))), None
    )
    if series is None:
        raise UsageError("--most-complete compares candles or books; fetch one of them")
    covered = coverage(store, series.exchange, series.channel, [one.symbol for one in candidates], *span)[:count]
    volumes = {one.symbol: one.mean_daily_quote_volume for one in candidates}
    target = file.with_name(f"{file.stem}-most-complete{file.suffix}")
    stretch = f"{date_of(span[0])} to {date_of(span[1] - 1)}"
    about = f"the {len(covered)} of {len(candidates)} with most rows of {series.channel}, {stretch}"
    write_candidates(target, [Candidate(i, c.symbol, volumes[c.symbol]) for i, c in enumerate(covered, 1)], about)
    if as_json:
        for one in covered:
            json_line({"symbol": one.symbol, "rows": one.rows, "expected": one.expected, "share": round(one.share, 6)})
    else:
        table(["symbol", "rows", "share"], [(c.symbol, f"{c.rows:,}", f"{c.share:.2%}") for c in covered], right=[1, 2])
    progress(f"{target}: written; use it as --symbols-file")


def _conclude(outcome: Outcome) -> None:
    """Say what went wrong, and leave with the code that fits."""
    for text in outcome.notes[:LINES_SHOWN]:
        progress(text)
    lines = [*outcome.problems, *(f"{series}: {error}" for series, error in outcome.failed.items())]
    if not lines:
        return
    shown = [*lines[:LINES_SHOWN], *([f"… and {len(lines) - LINES_SHOWN} more"] if len(lines) > LINES_SHOWN else [])]
    if outcome.problems:
        raise DataError("\n".join(shown))
    error = next(iter(outcome.failed.values()))
    raise type(error)("\n".join(shown))


def symbols(
    top: Annotated[int, typer.Option("--top", min=1, help="How many.")] = 50,
    days: Annotated[int, typer.Option("--days", min=1, max=1000, help="Whole UTC days the mean is over.")] = 92,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the list is written.")] = Path(
        "candidates.txt"
    ),
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Rank Bitget's USDT perpetuals by mean daily quote volume and write them to a file, rank, symbol, volume.

    Days before a contract was listed count as days without volume.
    """
    settings = settings_of(config).settings
    quiet("data")
    candidates = asyncio.run(_rank(settings, top, days, out))
    if as_json:
        for one in candidates:
            json_line(one)
    else:
        rows = [(one.rank, one.symbol, f"{one.mean_daily_quote_volume:,.0f}") for one in candidates]
        table(["rank", "symbol", "mean daily quote volume"], rows, right=[0, 2])
    progress(f"{out}: written")


async def _rank(settings: Settings, top: int, days: int, out: Path) -> list[Candidate]:
    from tradebot.data.candidates import described, rank_symbols, write_candidates
    from tradebot.data.patience import Patience

    async with _rest(settings) as rest:
        with Counting("ranking", 0) as counting:
            ask = Patience(settings.data.workers, waiting=counting.say)
            found = await rank_symbols(rest, top, days, ask, heard=counting.of)
        about = described(days, await rest.server_time())
    await asyncio.to_thread(write_candidates, out, found, about)
    return found


def repair(
    exchange: ExchangeOption = None,
    channel: ChannelOption = None,
    symbol: Annotated[str | None, typer.Option("--symbol", metavar="SYMBOL", help="Only of this symbol.")] = None,
    from_: FromOption = None,
    to: ToOption = None,
    as_json: JsonOption = False,
    root: RootOption = None,
    config: ConfigOption = None,
) -> None:
    """Ask again for what verification finds damaged, wrong or missing, and say what could not be mended.

    Exit code 65 when something could not.
    """
    settings = settings_of(config, {"data.root": root}).settings
    quiet("data")
    from tradebot.cli.data import days_asked
    from tradebot.data.store import Store
    from tradebot.data.verify import verify

    store = Store(settings.data.root)
    problems = list(verify(store, exchange, channel, symbol, *days_asked(from_, to)))
    bad = [problem for problem in problems if not problem.harmless]
    if not bad:
        progress("nothing to repair")
        return
    done, left = asyncio.run(_repair(store, settings, bad))
    if as_json:
        for text, mended in [*((text, True) for text in done), *((text, False) for text in left)]:
            json_line({"repaired": mended, "text": text})
    else:
        for text in done:
            line(text)
    if left:
        raise DataError("\n".join(left))


async def _repair(store: Store, settings: Settings, problems: list[Any]) -> tuple[list[str], list[str]]:
    from tradebot.data.plan import Series, plan
    from tradebot.data.repair import repair as mend
    from tradebot.data.sources.tardis import EXCHANGES
    from tradebot.settings import load_tardis_key

    series = {Series(one.exchange, one.channel, one.symbol) for one in problems}

    def can_fetch(one: Series) -> bool:
        if one.channel.startswith("book_"):
            return one.exchange in EXCHANGES and load_tardis_key() is not None
        return (one.exchange == "bitget" and one.channel.startswith(("candle_", "mark_candle_", "funding"))) or (
            one.exchange in ("binance-perp", "binance-spot") and one.channel.startswith("candle_")
        )

    wanted = [one for one in series if can_fetch(one)]
    async with _sources(settings, wanted) as sources:
        now = await _clocks(sources, wanted)
        with Counting("repairing", 0) as counting:

            async def again(apart: Store, one: Series, days: Sequence[str]) -> Outcome:
                todos = plan(apart, [one], days, sources.candles, now[one.exchange])
                return await _collector(apart, sources, settings.data.workers, counting).run(todos, now)

            result = await mend(store, problems, can_fetch, again)
    return result.done, result.left
