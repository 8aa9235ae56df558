"""What the store holds: the channels, their columns, and which column tells a row's time.

Exchanges are named in lower case: ``bitget`` (USDT perpetuals), other markets with their kind, as ``binance-perp``,
``binance-spot``, ``binance-coinm``, ``bybit-spot``. Symbols are the venue's own, in upper case. All times are int64 ms
since the epoch (UTC), prices in quote coin, sizes and volumes in base coin, everything fractional float64.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import pyarrow as pa

from tradebot.errors import DataError
from tradebot.market.candle import INTERVAL_MS

EXCHANGE_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
SYMBOL_NAME = re.compile(r"[A-Z0-9]{1,40}")

_CANDLE = re.compile(r"(?:mark_|sealed_)?candle_(\w+)")
_BOOK = re.compile(r"book_([1-9]\d*)s_l([1-9]\d*)")


@dataclass(frozen=True, slots=True)
class Channel:
    """One kind of rows.

    ``time`` is the column that tells a row's moment and its day. ``unique``: at most one row per moment (trades and
    recorded gaps repeat theirs). ``step_ms``: rows lie on the grid of this many ms (None: at any time). ``optional``
    columns may be missing from a whole partition, never from a part of it.
    """

    name: str
    schema: pa.Schema
    time: str
    unique: bool
    step_ms: int | None = None
    optional: frozenset[str] = frozenset()

    @property
    def required(self) -> tuple[str, ...]:
        """Columns that every partition has, in order."""
        return tuple(name for name in self.schema.names if name not in self.optional)

    def conform(self, table: pa.Table, what: str) -> pa.Table:
        """``table`` with this channel's columns in their order and types.

        Raises DataError (prefixed ``what``) for columns that are missing or unknown, for empty values, and for values
        that the column's type cannot hold exactly.
        """
        missing = [name for name in self.required if name not in table.column_names]
        unknown = [name for name in table.column_names if name not in self.schema.names]
        if missing or unknown:
            parts = [f"lacks {', '.join(missing[:4])}"] if missing else []
            parts += [f"has unknown {', '.join(unknown[:4])}"] if unknown else []
            raise DataError(f"{what}: not rows of {self.name}: {' and '.join(parts)}")
        present = [name for name in self.schema.names if name in table.column_names]
        chosen = table.select(present)
        for name in present:
            if chosen[name].null_count:
                raise DataError(f"{what}: {chosen[name].null_count} empty values in column {name}; drop those rows")
        try:
            return chosen.cast(pa.schema([self.schema.field(name) for name in present])).combine_chunks()
        except pa.ArrowException as error:
            raise DataError(f"{what}: not rows of {self.name}: {str(error).splitlines()[0]}") from None


def _columns(*fields: tuple[str, pa.DataType]) -> pa.Schema:
    return pa.schema([pa.field(name, kind) for name, kind in fields])


_CANDLE_SCHEMA = _columns(
    ("open_time", pa.int64()),
    *((name, pa.float64()) for name in ("open", "high", "low", "close", "volume", "quote_volume")),
)
_FIXED = {
    channel.name: channel
    for channel in (
        Channel(
            "trade",
            _columns(
                ("recv_ms", pa.int64()),
                ("trade_ms", pa.int64()),
                ("price", pa.float64()),
                ("size", pa.float64()),
                ("trade_id", pa.string()),
                ("buyer_is_maker", pa.bool_()),
            ),
            "recv_ms",
            unique=False,
            optional=frozenset({"trade_id", "buyer_is_maker"}),
        ),
        Channel(
            "funding",
            _columns(("funding_time", pa.int64()), ("funding_rate", pa.float64())),
            "funding_time",
            unique=True,
        ),
        Channel("open_interest", _columns(("ts_ms", pa.int64()), ("size", pa.float64())), "ts_ms", unique=True),
        Channel(
            "ticker",
            _columns(
                ("ts_ms", pa.int64()),
                *((name, pa.float64()) for name in ("last_px", "mark_px", "index_px", "funding_rate")),
            ),
            "ts_ms",
            unique=True,
        ),
        Channel(
            "gap",
            _columns(
                ("start_ms", pa.int64()), ("end_ms", pa.int64()), ("channel", pa.string()), ("reason", pa.string())
            ),
            "start_ms",
            unique=False,
        ),
    )
}


def book_columns(levels: int) -> tuple[str, ...]:
    """The columns of a book row, best level first, in the order of DeepLOB.

    >>> book_columns(1)
    ('ask_px_1', 'ask_sz_1', 'bid_px_1', 'bid_sz_1')
    """
    return tuple(f"{side}_{i}" for i in range(1, levels + 1) for side in ("ask_px", "ask_sz", "bid_px", "bid_sz"))


@cache
def channel_of(name: str) -> Channel:
    """The channel of a name.

    ``candle_5m``, ``mark_candle_5m`` and so on: closed candles by open time; ``sealed_candle_5m``: as the bot had them
    when it decided, before the exchange corrected any. ``book_1s_l10``: the book's best 10 levels just before each
    second, ``age_ms`` being the time since that was last heard to be so, and ``stale`` whether that was long or the
    feed was known to be broken. ``trade``, ``funding`` (settlements), ``open_interest``, ``ticker`` (prices and running
    funding rate), ``gap`` (stretches in which a recorder heard nothing of a channel). Raises DataError for any other.

    >>> channel_of("candle_5m").step_ms, channel_of("book_5s_l5").schema.names[:3]
    (300000, ['ts_ms', 'ask_px_1', 'ask_sz_1'])
    """
    if name in _FIXED:
        return _FIXED[name]
    candle = _CANDLE.fullmatch(name)
    if candle and candle[1] in INTERVAL_MS:
        return Channel(
            name,
            _CANDLE_SCHEMA,
            "open_time",
            unique=True,
            step_ms=INTERVAL_MS[candle[1]],
            optional=frozenset({"quote_volume"}),
        )
    book = _BOOK.fullmatch(name)
    if book and int(book[2]) <= 100:
        schema = _columns(
            ("ts_ms", pa.int64()),
            *((column, pa.float64()) for column in book_columns(int(book[2]))),
            ("age_ms", pa.int64()),
            ("stale", pa.bool_()),
        )
        return Channel(
            name, schema, "ts_ms", unique=True, step_ms=int(book[1]) * 1000, optional=frozenset({"age_ms", "stale"})
        )
    raise DataError(
        f"{name!r} is no channel; known are candle_5m (and other intervals), mark_candle_5m, book_1s_l10, "
        f"{', '.join(sorted(_FIXED))}"
    )
