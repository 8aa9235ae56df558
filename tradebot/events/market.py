"""Events about the market. Market data that feeds forecasts is float."""

from __future__ import annotations

from typing import Literal

from tradebot.events.base import Record
from tradebot.market.candle import Candle
from tradebot.market.instrument import Instrument


class InstrumentUpdated(Record, frozen=True, kw_only=True, tag="instrument"):
    instrument: Instrument


class CandleHistory(Record, frozen=True, kw_only=True, tag="history"):
    """Closed candles before the stream begins, oldest first, without a gap or a duplicate."""

    symbol: str
    interval: str
    candles: tuple[Candle, ...]


class CandleClosed(Record, frozen=True, kw_only=True, tag="candle"):
    """A candle whose interval has ended, sealed by the next one's start or by the clock and a REST check."""

    symbol: str
    interval: str
    candle: Candle


class BookSampled(Record, frozen=True, kw_only=True, tag="book"):
    """The book of one symbol on the 1 s grid, best level first; prices in USDT, sizes in base coin.

    The row stands for boundary ``boundary_ms``: the last state before it, ``age_ms`` old there. Rows equal to their
    predecessor are not sent. ``buy_volume`` and ``sell_volume`` are traded base coin since the previous row. ``stale``:
    there were trades while the book had not changed for a long time. While a feed is bad there are no rows.
    """

    symbol: str
    boundary_ms: int
    age_ms: int
    bid_px: tuple[float, ...]
    bid_sz: tuple[float, ...]
    ask_px: tuple[float, ...]
    ask_sz: tuple[float, ...]
    buy_volume: float = 0.0
    sell_volume: float = 0.0
    stale: bool = False


class VenueBook(Record, frozen=True, kw_only=True, tag="venue_book"):
    """The book of another venue on the 5 s grid, best level first; sizes in base coin. Read only: nothing trades there.

    The row stands for boundary ``boundary_ms``: the last state before it, ``age_ms`` old there. ``stale``: that state
    is old or its feed was broken at the boundary. There is a row at every boundary once the venue was heard.
    """

    venue: str
    symbol: str
    boundary_ms: int
    age_ms: int
    stale: bool
    bid_px: tuple[float, ...]
    bid_sz: tuple[float, ...]
    ask_px: tuple[float, ...]
    ask_sz: tuple[float, ...]


class BookTop(Record, frozen=True, kw_only=True, tag="top"):
    """Best bid and ask of one symbol when they changed (coalesced to the newest). Prices USDT, sizes base coin."""

    symbol: str
    ts_exchange_ms: int
    bid: float
    bid_size: float
    ask: float
    ask_size: float


class TickerUpdated(Record, frozen=True, kw_only=True, tag="ticker"):
    """Mark and index price (USDT), funding and open interest (base coin) of one symbol; 0: not told."""

    symbol: str
    ts_exchange_ms: int
    last: float
    mark: float
    index: float
    funding_rate: float = 0.0
    next_funding_ms: int = 0
    open_interest: float = 0.0


class FundingHistory(Record, frozen=True, kw_only=True, tag="funding_history"):
    """Settlements of before the run, oldest first: moment (ms) and rate (fraction of notional that longs paid)."""

    symbol: str
    settlements: tuple[tuple[int, float], ...]


FeedCause = Literal["", "line", "silence", "book", "behind"]
"""Why a symbol's market data are not to be trusted.

``line``: the connection is gone, nothing is heard at all; ``silence``: the connection lives and says nothing about the
symbol; ``book``: its book is wrong, unreadable or silent, other channels go on; ``behind``: everything comes, too late.
Empty: it is trusted, or the journal is older than the causes.
"""


class FeedStatus(Record, frozen=True, kw_only=True, tag="feed"):
    """A symbol's market data became trustworthy or stopped being so.

    ``reason`` says in words what ``cause`` is. ``since_ms`` is the last moment (bot's clock) at which what is missing
    was still heard: of ``line`` and ``silence`` anything at all, of ``book`` the book, of ``behind`` the moment it was
    noticed; 0 when nothing was ever heard, when the data are good, and in older journals.
    """

    symbol: str
    ok: bool
    reason: str = ""
    cause: FeedCause = ""
    since_ms: int = 0
