"""Which recorded files make a market: those that were named, those in a folder, and those that lie beside books.

The trades of books in ``NAME_1s_l10.parquet`` are looked for in ``NAME_trades.parquet``. The store keeps a day of
books in ``EXCHANGE/book_1s_l10/SYMBOL/DAY.parquet``: the trades of that day are in ``EXCHANGE/trade/SYMBOL``, and the
5-minute candles of that day and the days before it in ``EXCHANGE/candle_5m/SYMBOL``, or where there are none of that
time, those that the recorder kept in ``EXCHANGE/sealed_candle_5m/SYMBOL``. What is found that way is used
where nothing of its kind was named: trades of all the books or none, candles as history where they join the books.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from tradebot.data.files import FileKind, file_kind, split_argument, symbol_of
from tradebot.errors import DataError

BOOKS_NAME, TRADES_NAME = "_1s_l10.parquet", "_trades.parquet"


@dataclass(slots=True)
class Files:
    """The files of one symbol. ``candles_found``: nobody named the candles, they lay beside the books."""

    candles: list[Path] = field(default_factory=list)
    books: list[Path] = field(default_factory=list)
    trades: list[Path] = field(default_factory=list)
    candles_found: bool = False


@dataclass(slots=True)
class Given:
    """The files of all symbols."""

    symbols: dict[str, Files] = field(default_factory=dict)
    funding: list[Path] = field(default_factory=list)


def sorted_out(arguments: Sequence[str]) -> Given:
    """Files by symbol and kind, of arguments that name files or folders, as ``PATH`` or ``SYMBOL=PATH``.

    Raises DataError for what holds no market data, tells no symbol, or makes no market.
    """
    given = Given()
    taken: list[Path]
    for argument in [file for named in arguments for file in _files(named)]:
        path = split_argument(argument)[1]
        kind: FileKind = file_kind(path)
        if kind == "funding":
            taken = given.funding
        else:
            symbol, path = symbol_of(argument)
            taken = getattr(given.symbols.setdefault(symbol, Files()), kind)
        if path in taken:
            raise DataError(f"{path}: given twice; name it once")
        taken.append(path)
    for symbol, files in given.symbols.items():
        if not files.books and not files.candles:
            raise DataError(f"{files.trades[0]}: trades alone make no market of {symbol}; add its order books")
        if files.books and not files.trades:
            files.trades = _trades_beside(files.books)
        if files.books and not files.candles:
            files.candles, files.candles_found = _candles_beside(min(files.books, key=lambda path: path.name)), True
    return given


def _files(argument: str) -> list[str]:
    """The argument itself, or one for each file of the folder that it names."""
    symbol, folder = split_argument(argument)
    if not folder.is_dir():
        return [argument]
    found = sorted(folder.glob("*.parquet"))
    if not found:
        raise DataError(
            f"{folder}: no parquet file lies in this folder; name files, or the folder they lie in, for instance "
            "data/bitget/book_1s_l10/SOLUSDT"
        )
    return [str(file) if symbol is None else f"{symbol}={file}" for file in found]


def _trades_beside(books: Sequence[Path]) -> list[Path]:
    expected = [_trades_of(path) for path in books]
    found = [path for path in expected if path is not None and path.exists()]
    if found and len(found) < len(books):
        lacking = next(book for book, path in zip(books, expected, strict=True) if path is None or not path.exists())
        raise DataError(
            f"{lacking}: no trades lie beside these books, as {found[0]} does beside others; leave these books out, or "
            "name the files of trades to use"
        )
    return found


def _trades_of(books: Path) -> Path | None:
    """Where the trades of a file of books would be."""
    if books.name.endswith(BOOKS_NAME):
        return books.with_name(books.name.removesuffix(BOOKS_NAME) + TRADES_NAME)
    day = _stored_day(books)
    return None if day is None else _channel(books, "trade") / books.name


def _candles_beside(books: Path) -> list[Path]:
    """The store's candles of the day of the first books and of the unbroken days before it."""
    day = _stored_day(books)
    if day is None:
        return []
    return _days_up_to(_channel(books, "candle_5m"), day) or _days_up_to(_channel(books, "sealed_candle_5m"), day)


def _days_up_to(folder: Path, day: date) -> list[Path]:
    """The files of a day, or where it has none the day before, and of the unbroken days before that."""
    found: list[Path] = []
    if not (folder / f"{day}.parquet").exists():
        day -= timedelta(days=1)
    while (path := folder / f"{day}.parquet").exists():
        found.append(path)
        day -= timedelta(days=1)
    return found[::-1]


def _stored_day(books: Path) -> date | None:
    """The day of a file of the store's books, None for any other file."""
    if not books.absolute().parent.parent.name.startswith("book_"):
        return None
    try:
        return date.fromisoformat(books.stem)
    except ValueError:
        return None


def _channel(books: Path, name: str) -> Path:
    folder = books.absolute().parent
    return folder.parent.parent / name / folder.name
