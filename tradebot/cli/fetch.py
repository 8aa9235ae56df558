"""The commands that ask venues for history: `tradebot data fetch`, `symbols` and `repair`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tradebot.cli.counting import Counting
from tradebot.cli.log import quiet
from tradebot.cli.options import ConfigOption, JsonOption, SymbolsOption, settings_of
from tradebot.cli.output import json_line, line, progress, table
from tradebot.cli.times import parse_time, wall_ms
from tradebot.errors import DataError, Rejected, UsageError

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from tradebot.data.candidates import Candidate
    from tradebot.data.collect import Collector, Outcome
    from tradebot.data.plan import Projection, Series, Todo
    from tradebot.data.repair import Repaired
    from tradebot.data.request import HistoryRequest
    from tradebot.data.sources.venues import Addresses, Sources
    from tradebot.data.store import Store
    from tradebot.data.verify import Problem
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
MOST_DAYS = 36_500


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
    days: Annotated[
        int | None, typer.Option("--days", min=1, max=MOST_DAYS, help="Length where no --from is given.")
    ] = None,
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

    listed = [one.symbol for one in read_candidates(symbols_file)] if symbols_file is not None else None
    overrides: dict[str, object] = {
        "data.symbols": symbols or listed,
        "data.venues": _listed("--venues", venues),
        "data.kinds": _listed("--kinds", kinds),
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

    store, request = Store(settings.data.root), _request(settings)
    if not dry_run:
        store.prepare()
    if most_complete is not None and not any(_on_a_grid(series) for series in request.series()):
        raise UsageError("--most-complete compares candles or books; fetch one of them")
    try:
        outcome, span = asyncio.run(_fetch(store, settings, request, refresh=refresh, dry_run=dry_run, as_json=as_json))
    except KeyboardInterrupt:
        progress("stopped; what is stored stays, the same command goes on")
        raise
    if outcome is None:
        return
    if symbols_file is not None and most_complete is not None:
        series = next(one for one in request.series() if _on_a_grid(one))
        _keep(store, series, symbols_file, most_complete, span, as_json)
    _conclude(outcome)


def _listed(option: str, text: str | None) -> list[str] | None:
    """The names of a list. Raises UsageError for one without any."""
    if text is None:
        return None
    names = [part.strip() for part in text.split(",") if part.strip()]
    if not names:
        raise UsageError(f"{option}: names nothing; leave it out, or write names with commas between them")
    return names


def _day(text: str | None) -> str | None:
    from tradebot.data.partition import date_of

    return None if text is None else date_of(parse_time(text, wall_ms()))


def _on_a_grid(series: Series) -> bool:
    from tradebot.data.channels import channel_of

    return channel_of(series.channel).step_ms is not None


def _request(settings: Settings) -> HistoryRequest:
    from tradebot.data.request import HistoryRequest

    data = settings.data
    return HistoryRequest(
        symbols=data.symbols or settings.symbols,
        venues=data.venues,
        kinds=data.kinds,
        interval=data.interval,
        grid_ms=data.grid.ms,
        depth=data.depth,
        start=data.start,
        end=data.end,
        days=data.days,
    )


def _rest(settings: Settings) -> BitgetRest:
    from tradebot.exchange.bitget.rest import BitgetRest

    return BitgetRest(settings.exchange.rest_url, limited=settings.exchange.rate_limited)


def _addresses(settings: Settings) -> Addresses:
    from tradebot.data.sources.venues import Addresses
    from tradebot.settings import load_tardis_key

    venues = settings.venues
    return Addresses(
        binance={"binance-perp": venues.binance_perp_rest, "binance-spot": venues.binance_spot_rest},
        tardis=settings.data.tardis_url,
        tardis_key=load_tardis_key(),
    )


def _sources(settings: Settings, wanted: Sequence[Series]) -> AbstractAsyncContextManager[Sources]:
    from tradebot.data.sources.venues import open_sources

    data = settings.data
    return open_sources(wanted, _rest(settings), _addresses(settings), grid_ms=data.grid.ms, depth=data.depth)


async def _fetch(
    store: Store, settings: Settings, request: HistoryRequest, *, refresh: bool, dry_run: bool, as_json: bool
) -> tuple[Outcome | None, tuple[int, int]]:
    from tradebot.data.partition import days_between
    from tradebot.data.plan import plan, project
    from tradebot.market.candle import DAY_MS

    wanted = request.series()
    async with _sources(settings, wanted) as sources:
        now = await sources.clocks({series.exchange for series in wanted})
        now_ms = max(now.values())
        first, last = request.span(now_ms)
        days = days_between(first, last + DAY_MS)
        todos = plan(store, wanted, days, sources.candles, now_ms, refresh=refresh)
        projection = project(todos, sources.candles, len(days))
        _say_plan(store, first, last, todos, projection, line if dry_run and not as_json else progress)
        if dry_run:
            if as_json:
                json_line({"seconds": round(projection.seconds, 1), "requests": sum(one.requests for one in todos)})
            return None, (first, last + DAY_MS)
        with Counting("fetching", sum(todo.requests for todo in todos)) as counting:
            collector = _collector(store, sources, settings.data.workers, counting, refresh=refresh)
            outcome = await collector.run(todos, now)
    _say_outcome(outcome, as_json)
    return outcome, (first, min(last + DAY_MS, now_ms))


def _say_plan(
    store: Store, first: int, last: int, todos: list[Todo], projection: Projection, say: Callable[[str], None]
) -> None:
    from tradebot.data.partition import date_of
    from tradebot.data.plan import spoken

    say(f"{date_of(first)} to {date_of(last)} (UTC), into {store.root}")
    for text in projection.lines:
        say(f"  {text}")
    say(f"in all {spoken(projection.seconds)} at the venues' limits" if todos else "everything is stored already")


def _say_outcome(outcome: Outcome, as_json: bool) -> None:
    if not as_json:
        line(f"{outcome.added:,} rows added, {outcome.equal:,} were there; {outcome.requests:,} requests")
        return
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


def _collector(store: Store, sources: Sources, workers: int, counting: Counting, *, refresh: bool = False) -> Collector:
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


def _keep(store: Store, series: Series, file: Path, count: int, span: tuple[int, int], as_json: bool) -> None:
    from tradebot.data.candidates import most_complete

    target, covered = most_complete(store, series.exchange, series.channel, file, count, *span)
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
    # a venue that refuses a symbol's history has none of it: asking again does not help
    raise (DataError if isinstance(error, Rejected) else type(error))("\n".join(shown))


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
    from tradebot.cli.data import days_asked, stored_files
    from tradebot.data.store import Store
    from tradebot.data.verify import verify

    store = Store(settings.data.root)
    stored_files(store, exchange, channel, symbol)
    problems = list(verify(store, exchange, channel, symbol, *days_asked(from_, to)))
    bad = [problem for problem in problems if not problem.harmless]
    if not bad:
        progress("nothing to repair")
        return
    mended = asyncio.run(_repair(store, settings, bad))
    if as_json:
        for text, done in [*((text, True) for text in mended.done), *((text, False) for text in mended.left)]:
            json_line({"repaired": done, "text": text})
    else:
        for text in mended.done:
            line(text)
    if mended.left:
        raise DataError("\n".join(mended.left))


async def _repair(store: Store, settings: Settings, problems: list[Problem]) -> Repaired:
    from tradebot.data.plan import Series, plan
    from tradebot.data.repair import repair as mend
    from tradebot.data.sources.venues import can_fetch

    addresses = _addresses(settings)
    wanted = [one for one in {Series(p.exchange, p.channel, p.symbol) for p in problems} if can_fetch(one, addresses)]
    async with _sources(settings, wanted) as sources:
        now = await sources.clocks({series.exchange for series in wanted})
        with Counting("repairing", 0) as counting:

            async def again(apart: Store, one: Series, days: Sequence[str]) -> Outcome:
                todos = plan(apart, [one], days, sources.candles, now[one.exchange])
                return await _collector(apart, sources, settings.data.workers, counting).run(todos, now)

            return await mend(store, problems, lambda one: can_fetch(one, addresses), again)
