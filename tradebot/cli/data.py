"""The market data on disk: look at it, check it, take it in, give it out. Fetching is in ``tradebot.cli.fetch``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from tradebot.cli import fetch
from tradebot.cli.counting import Counting
from tradebot.cli.fetch import ChannelOption, ExchangeOption, FromOption, RootOption, ToOption
from tradebot.cli.log import quiet
from tradebot.cli.options import ConfigOption, JsonOption, SymbolsOption, settings_of
from tradebot.cli.output import json_line, line, paint, progress, table
from tradebot.cli.times import is_day, iso, parse_time, wall_ms
from tradebot.errors import DataError, UsageError

if TYPE_CHECKING:
    from tradebot.data.folder import Exported
    from tradebot.data.importing import Taken
    from tradebot.data.store import Partition, Store

app = typer.Typer(help="Recorded and fetched market data.", no_args_is_help=True, rich_markup_mode=None)
app.command("fetch")(fetch.fetch)
app.command("symbols")(fetch.symbols)

SymbolOption = Annotated[str | None, typer.Option("--symbol", metavar="SYMBOL", help="Only of this symbol.")]
Format = Literal["deeplob-npy", "csv"]


def _store(root: str | None, config: Path | None) -> Store:
    settings = settings_of(config, {"data.root": root}).settings
    quiet("data")
    from tradebot.data.store import Store

    return Store(settings.data.root)


def days_asked(from_: str | None, to: str | None) -> tuple[int | None, int | None]:
    """``--from`` and ``--to`` as whole UTC days ``[first, after the last)`` in ms. Raises UsageError."""
    day = 86_400_000
    first = None if from_ is None else parse_time(from_, wall_ms()) // day * day
    last = None if to is None else parse_time(to, wall_ms()) // day * day + day
    return _in_order(first, last)


def span_asked(from_: str | None, to: str | None) -> tuple[int | None, int | None]:
    """``--from`` and ``--to`` as ``[from, to)`` in ms, to the millisecond; a day alone as ``--to`` counts to its end.

    Raises UsageError.
    """
    first = None if from_ is None else parse_time(from_, wall_ms())
    last = None if to is None else parse_time(to, wall_ms())
    if last is not None and to is not None and is_day(to):
        last += 86_400_000
    return _in_order(first, last)


def _in_order(first: int | None, last: int | None) -> tuple[int | None, int | None]:
    if first is not None and last is not None and first >= last:
        raise UsageError("--from lies after --to")
    return first, last


def stored_files(store: Store, exchange: str | None, channel: str | None, symbol: str | None) -> list[str]:
    """Paths of the stored days that match. Raises DataError when there are none."""
    files = store.files(exchange, channel, symbol)
    if files:
        return files
    given = {"--exchange": exchange, "--channel": channel, "--symbol": symbol}
    chosen = " ".join(f"{option} {value}" for option, value in given.items() if value is not None)
    if chosen and store.files():
        raise DataError(f"{store.root}: nothing stored matches {chosen}; 'tradebot data ls' shows what there is")
    raise DataError(f"{store.root}: nothing stored; get something with 'tradebot data fetch' or 'data import'")


@app.command("ls")
def list_data(
    exchange: ExchangeOption = None,
    channel: ChannelOption = None,
    symbol: SymbolOption = None,
    days: Annotated[bool, typer.Option("--days", help="Every stored day.")] = False,
    as_json: JsonOption = False,
    root: RootOption = None,
    config: ConfigOption = None,
) -> None:
    """What is stored: each series with its days, rows and share of the rows that its grid has between its ends.

    A day of which the source has no row, such as one before a listing, counts as empty and not as a day.
    """
    store = _store(root, config)
    files = stored_files(store, exchange, channel, symbol)
    rows = list(_listed_days(store, files) if days else _listed_series(store, files))
    if as_json:
        for row in rows:
            json_line(row)
        return
    names = [name for name in rows[0] if name not in ("first_ms", "last_ms", "sha256")]
    header = {"first": "first (UTC)", "last": "last (UTC)"}
    table(
        [header.get(name, name) for name in names],
        [["" if row[name] is None else _cell(name, row[name]) for name in names] for row in rows],
        right=[
            i
            for i, name in enumerate(names)
            if name in ("days", "empty", "rows", "covered", "bytes", "complete", "damaged")
        ],
    )


def _cell(name: str, value: Any) -> str:
    if name == "covered":
        return f"{value:.2%}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _readable(store: Store, paths: list[str]) -> Iterator[Partition | None]:
    for path in paths:
        try:
            yield store.partition(path)
        except DataError as error:
            progress(str(error))
            yield None


def _listed_days(store: Store, files: list[str]) -> Iterator[dict[str, Any]]:
    for path, part in zip(files, _readable(store, files), strict=True):
        exchange, channel, symbol, file = path.split("/")
        manifest = part.manifest if part else None
        yield {
            "exchange": exchange,
            "channel": channel,
            "symbol": symbol,
            "date": file.removesuffix(".parquet"),
            "rows": manifest.rows if manifest else None,
            "first_ms": manifest.first_ms if manifest else None,
            "last_ms": manifest.last_ms if manifest else None,
            "complete": manifest.complete if manifest else None,
            "bytes": part.bytes if part else None,
            "source": manifest.source if manifest else "damaged",
            "sha256": manifest.sha256 if manifest else None,
        }


def _listed_series(store: Store, files: list[str]) -> Iterator[dict[str, Any]]:
    from tradebot.data.channels import channel_of

    for (exchange, channel, symbol), paths in groupby(files, key=lambda path: tuple(path.split("/")[:3])):
        own = list(paths)
        parts = [part for part in _readable(store, own) if part is not None]
        times = [t for p in parts for t in (p.manifest.first_ms, p.manifest.last_ms) if t is not None]
        first, last = (min(times), max(times)) if times else (None, None)
        rows = sum(part.manifest.rows for part in parts)
        step = channel_of(channel).step_ms
        yield {
            "exchange": exchange,
            "channel": channel,
            "symbol": symbol,
            "days": sum(bool(part.manifest.rows) for part in parts),
            "empty": sum(not part.manifest.rows for part in parts),
            "complete": sum(part.manifest.complete for part in parts),
            "rows": rows,
            "first": None if first is None else iso(first),
            "last": None if last is None else iso(last),
            "first_ms": first,
            "last_ms": last,
            "covered": None if first is None or last is None or step is None else rows / ((last - first) // step + 1),
            "bytes": sum(part.bytes for part in parts),
            "damaged": len(own) - len(parts),
        }


@app.command("verify")
def verify_data(
    exchange: ExchangeOption = None,
    channel: ChannelOption = None,
    symbol: SymbolOption = None,
    from_: FromOption = None,
    to: ToOption = None,
    as_json: JsonOption = False,
    root: RootOption = None,
    config: ConfigOption = None,
) -> None:
    """Look for damage, gaps, duplicates, impossible candles, books out of order or crossed. Exit code 65 when found.

    Locked books, gaps in books, and gaps that the source itself has are told and are no trouble.
    """
    store = _store(root, config)
    span = days_asked(from_, to)
    from tradebot.data.verify import verify

    files = stored_files(store, exchange, channel, symbol)
    bad = 0
    with Counting("verifying", len(files)) as counting:
        for problem in verify(store, exchange, channel, symbol, *span, looked=counting.step):
            bad += not problem.harmless
            if as_json:
                json_line(problem)
            else:
                verdict = paint("note", "dim") if problem.harmless else paint("bad ", "bad")
                line(f"{verdict} {problem.line()}")
        looked = counting.done
    if not looked:
        raise DataError(f"{store.root}: nothing stored matches these days; 'tradebot data ls' shows what there is")
    if bad:
        raise DataError(f"{bad} problems in {looked:,} files; 'tradebot data repair' asks the sources again")
    progress(f"{looked:,} files, all sound")


app.command("repair")(fetch.repair)


@app.command("import")
def import_data(
    paths: Annotated[list[str], typer.Argument(metavar="PATH…", help="Files or folders, or SYMBOL=FILE.")],
    format_: Annotated[
        Literal["parquet", "deeplob-npy"], typer.Option("--format", help="What the files are.")
    ] = "parquet",
    exchange: Annotated[
        str | None, typer.Option("--exchange", metavar="NAME", help="Where they are from, if not in the name.")
    ] = None,
    symbol: Annotated[str | None, typer.Option("--symbol", metavar="SYMBOL", help="Of an array without it.")] = None,
    layout: Annotated[
        Literal["levels", "blocks"] | None, typer.Option("--layout", help="Column order of an array without sidecar.")
    ] = None,
    as_json: JsonOption = False,
    root: RootOption = None,
    config: ConfigOption = None,
) -> None:
    """Take recorded files into the store: parquet candles, books, trades and funding, or DeepLOB arrays.

    Taking a file in again changes nothing. Exit code 65 when rows contradict stored ones, which then stand.
    """
    if format_ == "parquet" and (layout or symbol):
        raise UsageError("--layout and --symbol are for --format deeplob-npy; write SYMBOL=FILE for a parquet file")
    store = _store(root, config)
    files = _arrays(paths) if format_ == "deeplob-npy" else _parquet(paths)
    problems: list[str] = []
    with Counting("importing", len(files)) as counting:
        for file in files:
            for taken in _take(store, file, format_, exchange, symbol, layout):
                problems += taken.problems
                _show_taken(taken, as_json)
            counting.step(Path(file).name)
    if problems:
        raise DataError("\n".join(problems))


def _parquet(paths: list[str]) -> list[str]:
    from tradebot.data.importing import parquet_files

    return parquet_files(paths)


def _arrays(paths: list[str]) -> list[str]:
    found: list[str] = []
    for text in paths:
        path = Path(text)
        if not path.exists():
            raise DataError(f"{path}: no such file; check the path")
        from tradebot.data.deeplob import COMPANIONS

        beside = tuple(f".{name}.npy" for name in COMPANIONS)
        inside = [str(file) for file in sorted(path.rglob("*.npy")) if not file.name.endswith(beside)]
        if path.is_dir() and not inside:
            raise DataError(f"{path}: holds no .npy file")
        found += inside if path.is_dir() else [text]
    return found


def _take(
    store: Store,
    file: str,
    format_: str,
    exchange: str | None,
    symbol: str | None,
    layout: Literal["levels", "blocks"] | None,
) -> Iterator[Taken]:
    if format_ == "deeplob-npy":
        from tradebot.data.deeplob_import import import_deeplob

        yield import_deeplob(store, Path(file), exchange=exchange, symbol=symbol, layout=layout)
    else:
        from tradebot.data.importing import import_parquet

        yield from import_parquet(store, file, exchange)


def _show_taken(taken: Taken, as_json: bool) -> None:
    if as_json:
        json_line(
            {
                "file": str(taken.path),
                "series": str(taken.series),
                "rows": taken.rows,
                "added": taken.added,
                "problems": taken.problems,
            }
        )
    else:
        line(f"{taken.path.name}: {taken.series}: {taken.rows:,} rows, {taken.added:,} new")


@app.command("export")
def export_data(
    format_: Annotated[
        Format, typer.Option("--format", help="deeplob-npy: an (N, 43) array of books. csv: any channel.")
    ],
    symbols: SymbolsOption = None,
    exchange: Annotated[str, typer.Option("--exchange", metavar="NAME", help="Whose data.")] = "bitget",
    channel: Annotated[str, typer.Option("--channel", metavar="NAME", help="What, for csv.")] = "candle_5m",
    from_: Annotated[str | None, typer.Option("--from", metavar="TIME", help="First row, at or after.")] = None,
    to: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Rows before it; a day to its end.")] = None,
    layout: Annotated[
        Literal["levels", "blocks"],
        typer.Option("--layout", help="levels: ask_px_1, ask_sz_1, bid_px_1, bid_sz_1, … blocks: ten of each in turn."),
    ] = "levels",
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the files.")] = Path("export"),
    as_json: JsonOption = False,
    root: RootOption = None,
    config: ConfigOption = None,
) -> None:
    """Write stored rows for other programs, with columns, metadata.json (rows, range, gaps, SHA-256) and a README."""
    store = _store(root, config)
    span = span_asked(from_, to)
    chosen = [one.upper() for one in symbols or []] or list(settings_of(config).settings.symbols)
    with Counting("exporting", 0) as counting:
        for symbol in chosen:
            exported = _export(store, format_, exchange, channel, symbol, out, span, layout, counting)
            if as_json:
                json_line(exported)
            else:
                line(
                    f"{out / exported.file}: {exported.rows:,} rows, {iso(exported.first_ms)} to "
                    f"{iso(exported.last_ms)} UTC, {exported.gaps:,} gaps ({exported.missing_rows:,} rows missing)"
                )


def _export(
    store: Store,
    format_: Format,
    exchange: str,
    channel: str,
    symbol: str,
    out: Path,
    span: tuple[int | None, int | None],
    layout: Literal["levels", "blocks"],
    counting: Counting,
) -> Exported:
    from tradebot.data.exporting import export_csv, export_deeplob
    from tradebot.data.plan import Series

    if format_ == "csv":
        return export_csv(store, Series(exchange, channel, symbol), out, *span, looked=counting.step)
    return export_deeplob(store, exchange, symbol, out, *span, layout=layout, looked=counting.step)


@app.command("pull")
def pull_data(
    repo: Annotated[str, typer.Argument(metavar="hf:OWNER/NAME[@REVISION]", help="A data set of the Hub.")],
    include: Annotated[
        list[str] | None, typer.Option("--include", metavar="PATTERN", help="Only these files, e.g. 'BTC*.npy'.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Folder for the files (default: its name).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Download a data set from the HuggingFace Hub. Take it into the store with 'data import' afterwards.

    Needs the hub extra. What is there already is not downloaded again; HF_TOKEN opens private data sets.
    """
    from tradebot.data.hub import parse_repo, pull

    name, revision = parse_repo(repo)
    folder = out or Path(name.rpartition("/")[2])
    files = pull(name, revision, folder, include or ())
    for file in files:
        json_line({"file": str(file), "bytes": file.stat().st_size}) if as_json else line(str(file))
    progress(f"{folder}: {len(files)} files; take them in with: tradebot data import --format deeplob-npy {folder}")
