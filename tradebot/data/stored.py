"""What the store holds as the columns that files give, checked by the same rules."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from tradebot.data.files import (
    CANDLE_COLUMNS,
    BookTable,
    CandleTable,
    FundingTable,
    TradeTable,
    books_of,
    candles_of,
    funding_of,
    trades_of,
)
from tradebot.data.store import Store
from tradebot.errors import DataError


def stored_candles(
    store: Store,
    exchange: str,
    symbol: str,
    interval: str,
    from_ms: int | None = None,
    to_ms: int | None = None,
    *,
    mark: bool = False,
) -> CandleTable:
    """Candles with ``from_ms <= open time < to_ms``. Raises DataError as :func:`~tradebot.data.files.read_candles`."""
    channel = f"{'mark_' if mark else ''}candle_{interval}"
    table = _rows(store, exchange, channel, symbol, from_ms, to_ms)
    return candles_of(table.select(CANDLE_COLUMNS), _place(store, exchange, channel, symbol))


def stored_books(
    store: Store,
    exchange: str,
    symbol: str,
    from_ms: int | None = None,
    to_ms: int | None = None,
    *,
    channel: str = "book_1s_l10",
) -> BookTable:
    """Book rows. Raises DataError as :func:`~tradebot.data.files.read_books`."""
    table = _rows(store, exchange, channel, symbol, from_ms, to_ms)
    return books_of(table, _place(store, exchange, channel, symbol))


def stored_trades(
    store: Store, exchange: str, symbol: str, from_ms: int | None = None, to_ms: int | None = None
) -> TradeTable:
    """Trades by receive time. Raises DataError as :func:`~tradebot.data.files.read_trades`."""
    return trades_of(_rows(store, exchange, "trade", symbol, from_ms, to_ms), _place(store, exchange, "trade", symbol))


def stored_funding(
    store: Store, exchange: str, symbol: str, from_ms: int | None = None, to_ms: int | None = None
) -> FundingTable:
    """Settled funding of one symbol. Raises DataError as :func:`~tradebot.data.files.read_funding`."""
    table = _rows(store, exchange, "funding", symbol, from_ms, to_ms)
    named = table.add_column(0, "symbol", pa.array([symbol] * table.num_rows, pa.string()))
    return funding_of(named, _place(store, exchange, "funding", symbol))


def _rows(store: Store, exchange: str, channel: str, symbol: str, from_ms: int | None, to_ms: int | None) -> pa.Table:
    table = store.read(exchange, channel, symbol, from_ms, to_ms)
    if not table.num_rows:
        raise DataError(
            f"{_place(store, exchange, channel, symbol)}: nothing stored for that time; "
            "'tradebot data ls' shows what there is, 'tradebot data fetch' gets more"
        )
    return table


def _place(store: Store, exchange: str, channel: str, symbol: str) -> Path:
    return Path(store.shown(f"{exchange}/{channel}/{symbol}"))
